"""Fine-tune an encoder on a task: a new classification head, every weight trained.

Reads a model folder (`config.json`, `model.safetensors`, `tokenizer.json`) and a task
folder's training split; the validation split is never opened. Writes a model folder with a
classification head that `transformers` loads too, and `metrics.json`. With --run-dir the
finished work is also kept there, under a fingerprint of the recipe and the inputs' bytes: the
same command publishes it again without a step. What has no default follows the size of the
task and of the encoder.

Try: python scripts/finetune.py --model MODEL_FOLDER --task TASK_FOLDER --output /tmp/classifier
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np

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
from cloze.errors import ClozeError
from cloze.files import atomic_folder, require_file, sha256_file
from cloze.metrics import Stopwatch, write_metrics
from cloze.model.device import DEVICES, PRECISIONS, resolve_compute
from cloze.model.heads import DEFAULT_POOLING, POOLINGS
from cloze.model.hf_config import config_from_folder
from cloze.model.model_io import save_model
from cloze.objectives.prediction import predict_logits, predictions_of
from cloze.objectives.texts import encode_texts
from cloze.objectives.truncation import TRUNCATIONS, check_max_length
from cloze.settings.code_key import code_key
from cloze.tasks.hold_out import hold_out
from cloze.tasks.scores import task_metrics
from cloze.tasks.task import Task, TaskSplit, load_task
from cloze.tokens.tokenizer import load_tokenizer
from cloze.train.finetuning import (
    HeldOut,
    build_classifier,
    train_classifier,
)
from cloze.train.finetuning_recipe import (
    CLASS_WEIGHTS,
    Recipe,
    default_epochs,
    default_learning_rate,
)
from cloze.train.run_directory import open_run

_HELD_OUT_FRACTION = 0.1
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
        "--learning-rate",
        type=positive_float,
        help="peak learning rate of AdamW; unset: by the width, 4.8e-4 for 128 and 3.3e-5 for 768",
    )
    recipe.add_argument(
        "--num-train-epochs",
        type=positive_int,
        help="passes over the training split; unset: 10 below 10,000 rows, 3 below 200,000, else 2",
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
        "--layerwise-lr-decay",
        type=probability,
        default=1.0,
        help="learning rate of each layer as a share of that of the layer above it",
    )
    recipe.add_argument(
        "--class-weights",
        choices=CLASS_WEIGHTS,
        default="none",
        help="balanced: each class counts alike in the loss, whatever its rows",
    )
    recipe.add_argument(
        "--early-stopping-patience",
        type=non_negative_int,
        default=0,
        help="end after this many epochs without a better score on a tenth held out of the "
        "training split, and keep the best epoch; 0: never",
    )
    recipe.add_argument(
        "--classifier-pooling",
        choices=POOLINGS,
        help="what the head reads of a text; unset: mean (modernbert), cls (bert, always)",
    )
    recipe.add_argument(
        "--dropout", type=probability, default=0.1, help="on hidden states and attention"
    )
    recipe.add_argument(
        "--classifier-dropout", type=probability, default=0.1, help="before the last layer"
    )
    recipe.add_argument(
        "--max-length", type=positive_int, default=128, help="tokens kept of a text or a pair"
    )
    recipe.add_argument(
        "--truncation", choices=TRUNCATIONS, default="head", help="what a longer text keeps"
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
    train = task.split("train")
    tokenizer = load_tokenizer(args.model / "tokenizer.json")
    encoded = encode_texts(
        tokenizer,
        train.texts,
        args.max_length,
        config.vocab_size,
        pairs=train.pairs,
        truncation=args.truncation,
    )
    recipe = _recipe(args, len(train), config.hidden_size)
    model = build_classifier(
        config,
        len(task.labels),
        classifier_dropout=args.classifier_dropout,
        seed=args.seed,
        pretrained=None if args.from_scratch else args.model,
        pooling=args.classifier_pooling or DEFAULT_POOLING[config.layout],
    )
    held_out = _held_out(task, train, recipe) if recipe.early_stopping_patience else None
    result = train_classifier(model, encoded, train.labels, recipe, compute, held_out)
    predictions = predictions_of(predict_logits(model, encoded, compute))
    fitted = task_metrics(train.labels, predictions, task.labels, task.metric)
    metrics: dict[str, Any] = {
        "task": task.name,
        "seed": args.seed,
        "from_scratch": args.from_scratch,
        "recipe": {
            **dataclasses.asdict(recipe),
            "dropout": args.dropout,
            "classifier_dropout": args.classifier_dropout,
            "classifier_pooling": model.pooling,
            "max_length": args.max_length,
            "truncation": args.truncation,
        },
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "train_examples": len(train) - (0 if held_out is None else len(held_out.texts)),
        "train_score": fitted["score"],
        **({} if task.is_regression else {"train_accuracy": fitted["accuracy"]}),
        "train_loss_last_epoch": result.mean_loss,
        "held_out_scores": result.held_out_scores,
        "best_epoch": result.best_epoch,
        "truncated_texts": encoded.truncated,
        "steps": result.steps,
        "tokens": result.tokens,
        "train_seconds": result.seconds,
        "tokens_per_second": result.tokens / result.seconds,
        "device": compute.device,
        "precision": compute.precision,
    }
    log.info("training %s %.4f, %d steps", task.metric, fitted["score"], result.steps)
    save_model(output, model, args.model, task.labels)
    write_metrics(
        output / "metrics.json",
        metrics=metrics,
        args=args,
        inputs=_inputs(args),
        script=Path(__file__),
        seconds=stopwatch.read(),
    )


def _recipe(args: argparse.Namespace, num_rows: int, hidden_size: int) -> Recipe:
    return Recipe(
        learning_rate=args.learning_rate or default_learning_rate(hidden_size),
        num_train_epochs=args.num_train_epochs or default_epochs(num_rows),
        train_batch_size=args.train_batch_size,
        warmup_ratio=args.warmup_ratio,
        weight_decay=args.weight_decay,
        max_grad_norm=args.max_grad_norm,
        seed=args.seed,
        layerwise_lr_decay=args.layerwise_lr_decay,
        class_weights=args.class_weights,
        early_stopping_patience=args.early_stopping_patience,
    )


def _held_out(task: Task, train: TaskSplit, recipe: Recipe) -> HeldOut:
    """Hold out the part of the training split on which the best epoch is chosen."""
    rows = hold_out(train, _HELD_OUT_FRACTION, recipe.seed)
    if not rows.held_out.size or not rows.train.size:
        raise ClozeError(
            f"{task.split_path('train')}: {len(train)} rows are too few or too repetitive to hold "
            "a part out; set --early-stopping-patience 0"
        )
    log.info("early stopping: %s", rows.describe(task.labels))
    kept_out = np.union1d(rows.held_out, rows.removed)
    is_scored = np.isin(kept_out, rows.held_out)
    labels = train.labels[rows.held_out]

    def score(logits: np.ndarray) -> float:
        predictions = predictions_of(logits[is_scored])
        return float(task_metrics(labels, predictions, task.labels, task.metric)["score"])

    return HeldOut(kept_out, score)


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
