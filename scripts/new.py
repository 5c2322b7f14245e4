"""Propose a configuration for texts of your own and a task, after a look at both.

Reads the names and the first megabyte of a folder or a file of texts and, with --task, of a file
of labelled rows, tagged words or questions; finds out format, columns, labels, sizes and, where
py3langid is installed, the language. Writes NAME.yaml to lay over config.yaml, with a comment on
all that it went by. Nothing is trained and nothing is fetched.

Try: python scripts/new.py --texts resources/sample/corpus.txt
--task resources/sample/reviews-train.tsv --output /tmp/mine.yaml
"""

import argparse
import re
import sys
from pathlib import Path

from cloze.cli import log, make_parser, run_script
from cloze.errors import ClozeError
from cloze.files import write_text
from cloze.settings.config import load_config
from cloze.show.new_config import propose


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--texts", type=Path, required=True, help="folder or file of texts")
    parser.add_argument("--task", type=Path, help="file of a task")
    parser.add_argument("--output", type=Path, required=True, help="YAML file to write")
    return parser


def run(args: argparse.Namespace) -> None:
    """Look, propose, check, write."""
    if args.output.exists():
        raise ClozeError(f"--output {args.output}: exists already; remove it or name another")
    name = args.output.stem
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ClozeError(f"--output {args.output}: name it by letters, digits, - and _ alone")
    text = propose(name, args.texts, args.task)
    write_text(args.output, text)
    load_config([Path("config.yaml"), args.output])
    sys.stdout.write(text)
    log.info(
        "wrote %s; read it, then: snakemake --cores all --configfile %s", args.output, args.output
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
