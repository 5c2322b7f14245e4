"""Cut each document's token stream into samples of equal length and pack these into rows.

A sample is `[CLS] … [SEP]` with the next --max-length less two tokens of one document;
the last one of a document is as short as it comes. With --whole-words no cut falls
within a word. A row holds whole samples.

Reads DOCUMENTS/train.parquet, DOCUMENTS/validation.parquet and a tokenizer.json; writes
OUTPUT/{train,validation}-*.{msgpack.gz,parquet}, OUTPUT/manifest.json (after the shards)
and OUTPUT/metrics.json.

Try: python scripts/split_tokens.py --documents results/sample/documents \\
         --tokenizer results/sample/wordpiece/tokenizer.json --output /tmp/tokens
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import make_parser, run_script
from cloze.settings.datasets import SplitTokensSettings
from cloze.tokens.dataset import add_dataset_flags, run_method
from cloze.tokens.samples import SplitTokens


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    add_dataset_flags(parser, SplitTokensSettings)
    return parser


def run(args: argparse.Namespace) -> None:
    """Build the data set."""
    run_method(args, SplitTokens(whole_words=args.whole_words), Path(__file__))


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
