"""Cut documents into samples of whole sentences and pack these into rows of token ids.

A sample is `[CLS] … [SEP]` with as many consecutive sentences of one document as fit
into --max-length; only a longer sentence is cut, between words. A sentence never spans
two paragraphs, a row holds whole samples.

Reads DOCUMENTS/train.parquet, DOCUMENTS/validation.parquet and a tokenizer.json; writes
OUTPUT/{train,validation}-*.{msgpack.gz,parquet}, OUTPUT/manifest.json (after the shards)
and OUTPUT/metrics.json.

Try: python scripts/segment_text.py --documents results/sample/documents \\
         --tokenizer results/sample/wordpiece/tokenizer.json --output /tmp/segments
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import make_parser, run_script
from cloze.settings.datasets import SegmentTextSettings
from cloze.tokens.dataset import add_dataset_flags, run_method
from cloze.tokens.samples import SegmentText


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    add_dataset_flags(parser, SegmentTextSettings)
    return parser


def run(args: argparse.Namespace) -> None:
    """Build the data set."""
    run_method(args, SegmentText(language=args.language), Path(__file__), args.next_sentence)


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
