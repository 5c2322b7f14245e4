"""Average the reports of several tasks into one table, as GLUE does.

Reads the JSON of reports; writes each task's score and the averages, for the encoder and its
baselines, as text and as JSON. Several files after one --task count as their mean.

Try: python scripts/average_report.py --name glue --task results/sst2_report.json
--task results/mnli_report.json results/mnli-mismatched_report.json
--output-text /tmp/glue.txt --output-json /tmp/glue.json
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import make_parser, run_script
from cloze.files import read_object, write_sealed, write_text
from cloze.show.average import average_reports, render_average


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--name", required=True, help="name of the average, its title")
    parser.add_argument(
        "--task",
        type=Path,
        nargs="+",
        action="append",
        required=True,
        metavar="FILE",
        help="JSON of a task's report, of several the mean; repeatable",
    )
    parser.add_argument("--output-text", type=Path, required=True, help="text file to write")
    parser.add_argument("--output-json", type=Path, required=True, help="JSON file to write")
    return parser


def run(args: argparse.Namespace) -> None:
    """Read, average, write."""
    average = average_reports(
        args.name, [[read_object(path) for path in task] for task in args.task]
    )
    write_sealed(args.output_json, average)
    write_text(args.output_text, render_average(average))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
