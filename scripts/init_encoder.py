"""Describe an encoder that has not been pretrained, for `finetune.py --from-scratch`.

Reads a tokenizer; writes a model folder without weights: config.json and the
tokenizer's files.

Try: python scripts/init_encoder.py --tokenizer tokenizer.json --output MODEL --hidden-size 128
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from cloze.cli import make_parser, run_script
from cloze.files import write_json
from cloze.model.config import EncoderConfig
from cloze.model.hf_config import config_to_hf
from cloze.settings.encoders import ArchitectureSettings
from cloze.settings.fields import add_flags, from_args
from cloze.tokens.tokenizer import load_tokenizer, special_ids, vocab_size
from cloze.tokens.tokenizer_folder import copy_tokenizer


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = make_parser(__doc__)
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument("--output", type=Path, required=True, help="model folder to write")
    add_flags(parser.add_argument_group("architecture"), ArchitectureSettings)
    return parser


def run(args: argparse.Namespace) -> None:
    """Write the folder."""
    tokenizer = load_tokenizer(args.tokenizer)
    pad_token_id = special_ids(tokenizer).pad
    shape = from_args(ArchitectureSettings, args)
    config = EncoderConfig(vocab_size(tokenizer), pad_token_id=pad_token_id, **asdict(shape))
    copy_tokenizer(args.tokenizer.parent, args.output, config.max_length)
    write_json(args.output / "config.json", config_to_hf(config))


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
