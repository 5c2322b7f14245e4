"""Pretrain an encoder by masked-language modelling.

Reads a data set folder (segment_text.py or split_tokens.py) and its tokenizer; writes a
model folder: config.json, model.safetensors, the tokenizer's files, metrics.json,
metrics.jsonl, masked_examples.jsonl (guesses while it learned), and best/, the same model as
it was at its lowest validation loss; show_pretraining.py draws them. The work in progress lies in
`--run-dir` under a fingerprint of the recipe and the data: the same command goes on
where a killed one stopped, and publishes a finished run again without a step.
Several processes share the work when `torchrun` starts them.

Try: python scripts/pretrain.py --dataset DATASET --tokenizer tokenizer.json \\
         --output MODEL --run-dir MODEL/.runs --max-steps 1000
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import (
    add_threads,
    make_parser,
    non_negative_float,
    non_negative_int,
    percentage,
    positive_float,
    positive_int,
    probability,
    run_script,
)
from cloze.model.device import COMPILE_MODES, DEVICES, PRECISIONS
from cloze.model.flags import add_architecture_flags
from cloze.objectives.cooccurrence import EMBEDDING_INITS
from cloze.show.doctor import watch
from cloze.train.budget import duration
from cloze.train.optimization import OPTIMIZERS
from cloze.train.run import pretrain_and_publish
from cloze.train.schedules import COOLDOWN_FRACTION, SCHEDULES


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = make_parser(__doc__)
    files = parser.add_argument_group("files")
    files.add_argument("--dataset", type=Path, required=True, help="data set folder")
    files.add_argument("--tokenizer", type=Path, required=True, help="its tokenizer.json")
    files.add_argument("--output", type=Path, required=True, help="model folder to write")
    files.add_argument("--run-dir", type=Path, required=True, help="folder for work in progress")
    files.add_argument("--init-from", type=Path, help="model folder whose encoder to start from")

    add_architecture_flags(parser)

    length = parser.add_argument_group("budget").add_mutually_exclusive_group(required=True)
    length.add_argument("--max-steps", type=positive_int, help="optimizer steps")
    length.add_argument("--max-tokens", type=positive_int, help="tokens to see, padding apart")
    length.add_argument(
        "--budget", type=duration, help="time from start to end, such as 90s, 20m or 1.5h"
    )

    recipe = parser.add_argument_group("recipe")
    recipe.add_argument(
        "--train-batch-size",
        type=positive_int,
        help="rows a step over all processes; default: 32, or fitted to the tokens of the budget",
    )
    recipe.add_argument(
        "--optimizer",
        choices=OPTIMIZERS,
        default="adamw",
        help="muon: for the weights of hidden layers, beside AdamW for the rest",
    )
    recipe.add_argument(
        "--learning-rate", type=positive_float, help="peak; default: by the hidden size"
    )
    recipe.add_argument(
        "--muon-learning-rate",
        type=positive_float,
        help="peak of Muon, whose updates are as large as AdamW's; default: learning_rate",
    )
    recipe.add_argument(
        "--lr-scheduler-type", choices=SCHEDULES, default="linear", help="after the warm-up"
    )
    recipe.add_argument(
        "--warmup-steps",
        type=non_negative_float,
        default=0.06,
        help="linear warm-up: steps, or below 1 a share of the run",
    )
    recipe.add_argument(
        "--cooldown-fraction",
        type=probability,
        default=COOLDOWN_FRACTION,
        help="share of the run in which warmup_stable_decay falls",
    )
    recipe.add_argument(
        "--weight-decay", type=non_negative_float, default=0.01, help="not on biases and norms"
    )
    recipe.add_argument("--adam-beta1", type=probability, default=0.9, help="AdamW beta 1")
    recipe.add_argument("--adam-beta2", type=probability, default=0.98, help="AdamW beta 2")
    recipe.add_argument("--adam-epsilon", type=positive_float, default=1e-6, help="AdamW epsilon")
    recipe.add_argument("--max-grad-norm", type=positive_float, default=1.0, help="clipping")
    recipe.add_argument(
        "--mlm-probability",
        type=probability,
        nargs="+",
        help="share of tokens predicted; several: one for each of as many equal shares of the "
        "run; default: 0.15, or 0.2 with a budget in time",
    )
    recipe.add_argument(
        "--embedding-init",
        choices=EMBEDDING_INITS,
        default="cooccurrence",
        help="token embeddings and the bias of the predictions at the start: counted in the corpus "
        "(no effect with --init-from), or drawn at random and 0",
    )
    recipe.add_argument(
        "--mask-whole-words",
        action="store_true",
        help="predict all tokens of a word or none of them",
    )
    recipe.add_argument(
        "--next-sentence",
        action="store_true",
        help="also predict whether the second text of a pair follows the first (layout bert, and "
        "a data set with next_sentence)",
    )
    recipe.add_argument("--dropout", type=probability, default=0.0, help="while pretraining")
    recipe.add_argument(
        "--eval-steps",
        type=positive_int,
        help="steps between validations; default: 250, or a tenth of a budget in time",
    )
    recipe.add_argument("--seed", type=non_negative_int, default=0, help="weights, order, masks")
    recipe.add_argument(
        "--keep-at",
        type=percentage,
        nargs="+",
        default=[],
        metavar="PERCENT",
        help="keep the weights after these shares of the run, before the learning rate has fallen",
    )

    machine = parser.add_argument_group("machine (no part of the recipe)")
    machine.add_argument("--device", choices=DEVICES, default="auto", help="where to compute")
    machine.add_argument("--precision", choices=PRECISIONS, default="auto", help="of products")
    machine.add_argument("--compile", choices=COMPILE_MODES, default="auto", help="torch.compile")
    machine.add_argument(
        "--checkpoint-seconds",
        type=non_negative_float,
        default=120.0,
        help="time between checkpoints: what a kill can cost",
    )
    machine.add_argument(
        "--gradient-accumulation-steps",
        type=positive_int,
        help="parts in which a process computes its rows; default: as few as fit into a GPU",
    )
    machine.add_argument(
        "--gradient-checkpointing",
        action="store_true",
        help="keep only the inputs of layers and compute the rest again: slower, less memory",
    )
    machine.add_argument(
        "--publish-at",
        type=percentage,
        metavar="PERCENT",
        help="of a finished run, write to --output the model as --keep-at kept it",
    )
    machine.add_argument(
        "--wandb", metavar="PROJECT", help="also send measurements to this W&B project"
    )
    add_threads(machine)
    return parser


def run(args: argparse.Namespace) -> None:
    """Train, or go on, or publish what is finished."""
    pretrain_and_publish(args, Path(__file__), watch)


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
