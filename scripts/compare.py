"""Print one table of every result below a folder, with only the columns that differ.

Reads each `metrics.json` and `baselines.json` below the folder; writes to standard output.
Accuracy is the mean over seeds, std its sample standard deviation.

Try: python scripts/compare.py results/ --sort accuracy
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import make_parser, run_script
from cloze.report.comparison import collect_rows, render_table, sort_rows


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("results", type=Path, help="folder of results")
    parser.add_argument(
        "--sort", default="accuracy", metavar="COLUMN", help="column to sort by, highest first"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Collect, sort, print."""
    sys.stdout.write(render_table(sort_rows(collect_rows(args.results), args.sort)))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
