"""Print a table of all results of each task below a folder, with only the columns that differ.

`compare.py RESULTS` reads each `metrics.json` and `baselines.json` below the folder. Score is
each task's own measure as the mean over seeds, std its sample standard deviation. A terminal
gets the columns that fit, or with --all every one. Evaluations of weights or rows that are no
longer there are left out and named; every recipe's report is listed. --output writes the same as a
page that sorts itself, as Markdown or as CSV.

`compare.py diff A B` compares two results on the same rows: the settings that differ, the
difference with its bootstrap interval, a permutation test and McNemar's, on the split that
--split names.

Try: python scripts/compare.py results/ --sort score --output results/comparison.html
"""

import argparse
import shutil
import sys
from pathlib import Path

from cloze.cli import log, make_parser, run_script
from cloze.errors import ClozeError
from cloze.show.comparison import compare_results, render_tables, sort_rows, write_table
from cloze.show.difference import describe_difference


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "what",
        type=Path,
        nargs="+",
        metavar="RESULTS | diff A B",
        help="folder of results; or the word diff and two folders of one result each",
    )
    parser.add_argument(
        "--sort", metavar="COLUMN", help="column to sort by, highest first; unset: score"
    )
    parser.add_argument("--all", action="store_true", help="show columns that do not fit too")
    parser.add_argument("--split", default="validation", help="split on which diff compares")
    parser.add_argument(
        "--output",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="also write the table to files ending in .html, .md, .csv or .txt",
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Collect, sort and print, or compare two."""
    if args.what[0] == Path("diff"):
        if len(args.what) != 3:
            raise ClozeError("diff: give two folders of results, as in compare.py diff A B")
        _, first, second = args.what
        sys.stdout.write(describe_difference(first, second, args.split))
        return
    if len(args.what) > 1:
        raise ClozeError(f"{args.what[1]}: one folder of results at a time; name one above both")
    comparison = sort_rows(compare_results(args.what[0]), args.sort)
    is_narrow = sys.stdout.isatty() and not args.all
    width = shutil.get_terminal_size().columns if is_narrow else None
    sys.stdout.write(render_tables(comparison, width, args.sort))
    for path in args.output:
        write_table(comparison, path)
        log.info("wrote %s", path)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
