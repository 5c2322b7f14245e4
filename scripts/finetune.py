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
import sys
from pathlib import Path

from cloze.cli import (
    add_threads,
    make_parser,
    non_negative_float,
    non_negative_int,
    positive_float,
    positive_int,
    probability,
    run_script,
)
from cloze.model.device import COMPILE_MODES, DEVICES, PRECISIONS
from cloze.model.heads import POOLINGS
from cloze.objectives.texts import TRUNCATIONS
from cloze.train.budget import duration
from cloze.train.finetuning import finetune

CLASS_WEIGHTS = ("none", "balanced")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder to start from")
    parser.add_argument("--task", type=Path, required=True, help="task folder")
    parser.add_argument("--output", type=Path, required=True, help="model folder to write")
    parser.add_argument(
        "--run-dir", type=Path, help="folder for work in progress; unset: OUTPUT/.runs"
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
    recipe.add_argument("--max-steps", type=positive_int, help="optimizer steps, instead of passes")
    recipe.add_argument(
        "--budget", type=duration, help="time from start to end such as 5m, instead of passes"
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
    compute.add_argument("--compile", choices=COMPILE_MODES, default="off", help="torch.compile")
    compute.add_argument(
        "--checkpoint-seconds",
        type=non_negative_float,
        default=120.0,
        help="time between checkpoints: what a kill can cost",
    )
    compute.add_argument(
        "--gradient-accumulation-steps",
        type=positive_int,
        help="parts in which a process computes its texts; default: all at once",
    )
    compute.add_argument(
        "--gradient-checkpointing",
        action="store_true",
        help="keep only the inputs of layers and compute the rest again: slower, less memory",
    )
    add_threads(compute)
    return parser


def run(args: argparse.Namespace) -> None:
    """Train, or go on, or publish what is finished."""
    finetune(args, Path(__file__))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
