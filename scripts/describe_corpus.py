"""Write a page that shows a corpus and the data set that was made of it.

Reads a documents folder, a data set folder and their tokenizer; writes OUTPUT/corpus.html (one
file, no network), the same facts as OUTPUT/corpus.json, and its figures as OUTPUT/corpus_*.svg.

Try: python scripts/describe_corpus.py --documents results/sample/documents
--dataset results/sample/uncased-4k/sentences-128
--tokenizer results/sample/uncased-4k/tokenizer.json --output /tmp/page
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import key_value, make_parser, run_script
from cloze.files import write_json, write_text
from cloze.show.corpus import describe_corpus
from cloze.show.corpus_page import draw_figures, render_page
from cloze.show.figures import for_a_file


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--documents", type=Path, required=True, help="documents folder")
    parser.add_argument("--dataset", type=Path, required=True, help="data set folder")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument(
        "--recipe",
        type=key_value,
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="names to print, such as corpus=wikitext-2 tokenizer=cased-8k",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser


def run(args: argparse.Namespace) -> None:
    """Count, draw, write."""
    facts = describe_corpus(args.documents, args.dataset, args.tokenizer, dict(args.recipe))
    figures = draw_figures(facts)
    for name, svg in figures.items():
        write_text(args.output / f"corpus_{name}.svg", for_a_file(svg))
    write_json(args.output / "corpus.json", facts)
    write_text(args.output / "corpus.html", render_page(facts, figures))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
