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

from cloze.cli import Number, make_parser, percentage, run_script
from cloze.settings.encoders import ArchitectureSettings
from cloze.settings.fields import add_flags
from cloze.settings.machine import MachineSettings
from cloze.settings.pretraining import (
    AdaptationSettings,
    PretrainingLength,
    PretrainingSettings,
)
from cloze.show.doctor import watch
from cloze.train.pretraining import pretrain


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = make_parser(__doc__)
    files = parser.add_argument_group("files")
    files.add_argument("--dataset", type=Path, required=True, help="data set folder")
    files.add_argument("--tokenizer", type=Path, required=True, help="its tokenizer.json")
    files.add_argument("--output", type=Path, required=True, help="model folder to write")
    files.add_argument("--run-dir", type=Path, required=True, help="folder for work in progress")
    start = files.add_mutually_exclusive_group()
    start.add_argument("--init-from", type=Path, help="model folder whose encoder to start from")
    start.add_argument(
        "--adapt",
        type=Path,
        help="model folder to go on from, with its shape, its heads and its tokenizer or one that "
        "extend_tokenizer.py made of it",
    )
    files.add_argument(
        "--trained-length",
        type=Number(int, minimum=1),
        metavar="TOKENS",
        help="longest texts that the encoder of --init-from has seen: go on in its own shape, the "
        "architecture's flags apart, with its positions extended where the data set's are longer",
    )

    add_flags(parser.add_argument_group("architecture"), ArchitectureSettings)
    length = parser.add_argument_group("budget").add_mutually_exclusive_group(required=True)
    add_flags(length, PretrainingLength)
    add_flags(parser.add_argument_group("recipe"), PretrainingSettings, beside=PretrainingLength)

    add_flags(
        parser.add_argument_group("adaptation"), AdaptationSettings, beside=PretrainingSettings
    )
    machine = parser.add_argument_group("machine (no part of the recipe)")
    add_flags(machine, MachineSettings)
    machine.add_argument(
        "--publish-at",
        type=percentage,
        metavar="PERCENT",
        help="of a finished run, write to --output the model as --keep-at kept it",
    )
    machine.add_argument(
        "--wandb", metavar="PROJECT", help="also send measurements to this W&B project"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Train, or go on, or publish what is finished."""
    pretrain(args, Path(__file__), watch)


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
