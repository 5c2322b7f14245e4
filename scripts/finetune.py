"""Fine-tune an encoder on a task: a new classification head, every weight trained.

Reads a model folder (`config.json`, `model.safetensors`, `tokenizer.json`) and a task
folder's training split; the validation split is never opened. Writes a model folder with a
classification head that `transformers` loads too, and `metrics.json`. With --run-dir the
finished work is also kept there, under a fingerprint of the recipe and the inputs' bytes: the
same command publishes it again without a step.

Try: python scripts/finetune.py --model MODEL_FOLDER --task TASK_FOLDER --output /tmp/classifier
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from cloze.cli import (
    add_threads,
    capped_threads,
    log,
    make_parser,
    non_negative_float,
    non_negative_int,
    positive_float,
    positive_int,
    probability,
    run_script,
)
from cloze.codekey import code_key
from cloze.data.tokenizer import load_tokenizer
from cloze.encoder.device import DEVICES, PRECISIONS, resolve_compute
from cloze.encoder.hf_config import config_from_folder
from cloze.encoder.model_io import save_model
from cloze.files import atomic_folder, require_file, sha256_file
from cloze.metrics import Stopwatch, write_metrics
from cloze.pretraining.run_directory import open_run
from cloze.tasks.finetuning import Recipe, build_classifier, check_max_length, train_classifier
from cloze.tasks.prediction import predict_probabilities
from cloze.tasks.sentence_batches import encode_texts
from cloze.tasks.task import load_task

_NOT_IN_IDENTITY = frozenset(
    {"model", "task", "output", "run_dir", "log", "device", "precision", "threads"}
)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder to start from")
    parser.add_argument("--task", type=Path, required=True, help="task folder")
    parser.add_argument("--output", type=Path, required=True, help="model folder to write")
    parser.add_argument(
        "--run-dir", type=Path, help="folder that keeps finished work; unset: none is kept"
    )
    parser.add_argument(
        "--from-scratch",
        action="store_true",
        help="take the architecture and tokenizer of --model but draw its weights from the seed",
    )
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, help="draws the new weights, order and dropout"
    )
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument(
        "--learning-rate", type=positive_float, default=1e-4, help="peak learning rate of AdamW"
    )
    recipe.add_argument(
        "--num-train-epochs", type=positive_int, default=3, help="passes over the training split"
    )
    recipe.add_argument(
        "--train-batch-size", type=positive_int, default=32, help="sentences of one step"
    )
    recipe.add_argument(
        "--warmup-ratio",
        type=probability,
        default=0.06,
        help="share of the steps in which the learning rate rises; it then falls linearly to 0",
    )
    recipe.add_argument(
        "--weight-decay",
        type=non_negative_float,
        default=0.01,
        help="decoupled weight decay; biases and norms are exempt",
    )
    recipe.add_argument(
        "--max-grad-norm", type=positive_float, default=1.0, help="clip the gradient at this norm"
    )
    recipe.add_argument(
        "--dropout", type=probability, default=0.1, help="on hidden states and attention"
    )
    recipe.add_argument(
        "--classifier-dropout", type=probability, default=0.1, help="before the last layer"
    )
    recipe.add_argument(
        "--max-length", type=positive_int, default=128, help="tokens kept of a text, from its start"
    )
    compute = parser.add_argument_group("compute")
    compute.add_argument("--device", choices=DEVICES, default="auto", help="where to compute")
    compute.add_argument(
        "--precision", choices=PRECISIONS, default="auto", help="of the matrix products"
    )
    add_threads(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    """Train, or publish what is finished already."""
    if args.run_dir is None:
        _train(args, args.output)
        return
    with open_run(args.run_dir, _identity(args)) as kept:
        if kept.final.is_dir():
            log.info("this very run is finished; publishing it again without a step")
        else:
            with atomic_folder(kept.final) as folder:
                _train(args, folder)
        kept.publish(args.output)


def _identity(args: argparse.Namespace) -> dict[str, Any]:
    """Everything that decides the weights, up to rounding: flags, the bytes read, the code."""
    flags = {key: value for key, value in vars(args).items() if key not in _NOT_IN_IDENTITY}
    inputs = {path.name: sha256_file(require_file(path)) for path in _inputs(args)}
    return {**flags, "inputs": inputs, "code": code_key(Path(__file__))}


def _train(args: argparse.Namespace, output: Path) -> None:
    """Train, measure on the training split, save."""
    stopwatch = Stopwatch()
    compute = resolve_compute(args.device, args.precision, "off", capped_threads(args), 0.0)
    task = load_task(args.task)
    config = config_from_folder(args.model).with_dropout(args.dropout)
    check_max_length(args.max_length, config.max_position_embeddings)
    model = build_classifier(
        config,
        len(task.labels),
        classifier_dropout=args.classifier_dropout,
        seed=args.seed,
        pretrained=None if args.from_scratch else args.model,
    )
    train = task.split("train")
    tokenizer = load_tokenizer(args.model / "tokenizer.json")
    encoded = encode_texts(tokenizer, train.texts, args.max_length, config.vocab_size)
    recipe = _recipe(args)
    result = train_classifier(model, encoded, train.labels, recipe, compute)
    predictions = predict_probabilities(model, encoded, compute).argmax(axis=1)
    metrics: dict[str, Any] = {
        "task": task.name,
        "seed": args.seed,
        "from_scratch": args.from_scratch,
        "recipe": {
            **dataclasses.asdict(recipe),
            "dropout": args.dropout,
            "classifier_dropout": args.classifier_dropout,
            "max_length": args.max_length,
        },
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "train_examples": len(train),
        "train_accuracy": float((predictions == train.labels).mean()),
        "train_loss_last_epoch": result.mean_loss,
        "truncated_texts": encoded.truncated,
        "steps": result.steps,
        "tokens": result.tokens,
        "train_seconds": result.seconds,
        "tokens_per_second": result.tokens / result.seconds,
        "device": compute.device,
        "precision": compute.precision,
    }
    log.info("training accuracy %.4f, %d steps", metrics["train_accuracy"], result.steps)
    save_model(output, model, args.model, task.labels)
    write_metrics(
        output / "metrics.json",
        metrics=metrics,
        args=args,
        inputs=_inputs(args),
        script=Path(__file__),
        seconds=stopwatch.read(),
    )


def _recipe(args: argparse.Namespace) -> Recipe:
    return Recipe(
        learning_rate=args.learning_rate,
        num_train_epochs=args.num_train_epochs,
        train_batch_size=args.train_batch_size,
        warmup_ratio=args.warmup_ratio,
        weight_decay=args.weight_decay,
        max_grad_norm=args.max_grad_norm,
        seed=args.seed,
    )


def _inputs(args: argparse.Namespace) -> list[Path]:
    names = ["config.json", "tokenizer.json"]
    if not args.from_scratch:
        names.append("model.safetensors")
    return [args.model / name for name in names] + [
        args.task / "task.json",
        args.task / "train.parquet",
    ]


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
