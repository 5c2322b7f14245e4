"""Extract one part of a corpus, so that the parts of a large one can be made side by side.

Reads files, archives and folders; writes OUTPUT, an Arrow file with documents that
extract_documents.py --from-parts puts together. All parts of a corpus, in order, become
the very documents that extract_documents.py makes of the same files by itself.

Try: python scripts/extract_part.py --format wikitext --input articles.txt --output part.arrow
"""

import argparse
import re
import sys
from pathlib import Path

from cloze.cli import make_parser, run_script
from cloze.corpus.arrays import use_system_memory
from cloze.corpus.disk_estimate import PART_CODEC, DiskEstimate, estimated_text_bytes
from cloze.corpus.parts import write_part
from cloze.corpus.reading import (
    add_decontamination_flag,
    check_format,
    cleaning_of,
    read_batches,
    recipe_of,
)
from cloze.files import Share, sha256_file
from cloze.settings.corpora import PartSettings, ReadingSettings
from cloze.settings.fields import add_flags


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--input", type=Path, nargs="+", required=True, metavar="PATH", help="files or folders"
    )
    parser.add_argument("--output", type=Path, required=True, help="Arrow file to write")
    parser.add_argument(
        "--share",
        type=share,
        metavar="K/N",
        help="read only the K-th of N stretches of each folder's files; unset: all",
    )
    add_flags(parser, ReadingSettings)
    drops = parser.add_argument_group("drops")
    add_flags(drops, PartSettings, beside=ReadingSettings)
    add_decontamination_flag(drops)
    return parser


def share(text: str) -> Share:
    """argparse type: `K/N`, K from 1 to N."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 2/8")
    return Share(int(found[1]) - 1, int(found[2]))


def run(args: argparse.Namespace) -> None:
    """Extract the part."""
    use_system_memory()
    check_format(args, args.input)
    inputs = {
        str(path): None if path.is_dir() else sha256_file(path)
        for path in args.input
        if path.exists()
    }
    total = estimated_text_bytes(args.input, args.members, args.text_column, args.share)
    batches = read_batches(args, cleaning_of(args), args.input, args.share)
    watched = DiskEstimate(args.output, PART_CODEC, total).watch(batches)
    write_part(args.output, watched, recipe_of(args), inputs)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
