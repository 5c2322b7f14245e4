"""Fine-tune an encoder on a task: a new classification head, every weight trained.

Reads a model folder (`config.json`, `model.safetensors`, `tokenizer.json`) and a task
folder's training split; the validation split is never opened. Writes a model folder with a
classification head that `transformers` loads too, and `metrics.json`. The work in progress lies
in --run-dir under a fingerprint of the recipe and the inputs' bytes: the same command goes on
where a killed one stopped, and publishes a finished run again without a step. What has no
default follows the size of the task and of the encoder. Several processes share the work when
`torchrun` starts them.

Try: python scripts/finetune.py --model MODEL_FOLDER --task TASK_FOLDER --output /tmp/classifier
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import make_parser, run_script
from cloze.settings.fields import add_flags
from cloze.settings.finetuning import FinetuningLength, FinetuningSettings
from cloze.settings.machine import MachineSettings
from cloze.train.finetuning import finetune


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
    recipe = parser.add_argument_group("recipe")
    add_flags(recipe.add_mutually_exclusive_group(), FinetuningLength)
    add_flags(recipe, FinetuningSettings, beside=FinetuningLength)
    add_flags(parser.add_argument_group("machine"), MachineSettings, compile="off")
    return parser


def run(args: argparse.Namespace) -> None:
    """Train, or go on, or publish what is finished."""
    finetune(args, Path(__file__))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
