"""Turn a corpus of any supported form into documents, split into train, validation and test.

Reads files, archives and folders (python-docs: the running Python's library); writes
OUTPUT/{train,validation,test}.parquet, a row a document with the columns document_id, source,
title and text, and OUTPUT/metrics.json with what each split holds and what was dropped.

Try: python scripts/extract_documents.py --format python-docs --output /tmp/python-docs
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from cloze.cli import make_parser, non_negative_int, probability, progress, run_script
from cloze.corpus.document_splits import Draw, Drops, Part, write_splits
from cloze.corpus.documents import Document
from cloze.corpus.python_docs import read_python_docs
from cloze.corpus.readers import (
    Columns,
    Reader,
    open_corpus,
    read_csv,
    read_files,
    read_jsonl,
    read_paragraphs,
    read_parquet,
    read_tsv,
)
from cloze.corpus.wikitext import read_wikitext
from cloze.errors import ClozeError
from cloze.metrics import Stopwatch, write_metrics

READERS: dict[str, tuple[Reader, str]] = {
    "wikitext": (read_wikitext, "articles that start with a line ' = Title = '"),
    "wikitext-tokens": (read_wikitext, "articles that start with a line ' = Title = '"),
    "text": (read_files, "a document in each file"),
    "paragraphs": (read_paragraphs, "documents separated by blank lines"),
    "jsonl": (read_jsonl, "a document in each line, an object with --text-column"),
    "csv": (read_csv, "a document in each row, in --text-column"),
    "tsv": (read_tsv, "a document in each row, in --text-column"),
    "parquet": (read_parquet, "a document in each row, in --text-column"),
}
PYTHON_DOCS = "python-docs"


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--format",
        required=True,
        choices=[*READERS, PYTHON_DOCS],
        help="form of the corpus; wikitext and wikitext-tokens: articles under ' = Title = ' "
        "lines; text: a file a document; paragraphs: documents between blank lines",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")

    files = parser.add_argument_group("files (none for python-docs)")
    for flag, about in {
        "--input": "files or folders to split by document",
        "--train": "the source's own training split",
        "--validation": "its validation split; unset: drawn from --train",
        "--test": "its test split; unset: no test documents",
    }.items():
        files.add_argument(flag, type=Path, nargs="+", default=[], metavar="PATH", help=about)
    files.add_argument(
        "--members", default="*", help="glob on the files of a folder or an archive to read"
    )

    columns = parser.add_argument_group("columns (jsonl, csv, tsv, parquet)")
    columns.add_argument("--text-column", default="text", help="column with the text")
    columns.add_argument("--title-column", help="column with the title; unset: no titles")
    columns.add_argument(
        "--no-header",
        dest="header",
        action="store_false",
        help="csv and tsv without a header row: columns are numbers from 0",
    )

    choice = parser.add_argument_group("split and drops")
    choice.add_argument(
        "--validation-fraction",
        type=probability,
        default=0.01,
        help="share of the documents, chosen by a hash of their text",
    )
    choice.add_argument(
        "--test-fraction",
        type=probability,
        default=0.01,
        help="the same for test (with --input and python-docs only)",
    )
    choice.add_argument(
        "--min-characters",
        type=non_negative_int,
        default=0,
        help="drop shorter documents, white space at both ends not counted",
    )
    choice.add_argument(
        "--keep-duplicates",
        action="store_true",
        help="keep documents whose text occurred before, in a held-out split or the same one",
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Extract, split and write the documents."""
    watch = Stopwatch()
    check_choices(args)
    takes_own_splits = bool(args.train)
    draw = Draw(args.validation_fraction, 0.0 if takes_own_splits else args.test_fraction)
    metrics = write_splits(
        args.output,
        parts_of(args),
        draw,
        Drops(args.min_characters, args.keep_duplicates),
        describe(args),
    )
    write_metrics(
        args.output / "metrics.json",
        metrics=metrics,
        args=args,
        inputs=input_paths(args),
        script=Path(__file__),
        seconds=watch.read(),
    )


def check_choices(args: argparse.Namespace) -> None:
    """Raise `ClozeError` unless the flags describe one corpus."""
    paths = input_paths(args)
    if args.format == PYTHON_DOCS:
        if paths:
            raise ClozeError(f"{paths[0]}: python-docs reads no files; leave it out")
    elif not args.input and not args.train:
        raise ClozeError(f"--format {args.format} needs --input, or --train and --validation")
    elif args.input and len(paths) > len(args.input):
        raise ClozeError("--input is split by Cloze: give it, or --train and --validation")
    if not args.train and (args.validation or args.test):
        raise ClozeError("--validation and --test are a source's own splits and need --train")
    if args.validation_fraction == 0 and not args.validation:
        raise ClozeError(
            "--validation-fraction is 0, but pretraining needs validation documents; "
            "raise it or give --validation"
        )
    if args.validation_fraction + args.test_fraction >= 1:
        raise ClozeError("--validation-fraction and --test-fraction leave nothing for train")


def input_paths(args: argparse.Namespace) -> list[Path]:
    """Return every file and folder to read."""
    return [*args.input, *args.train, *args.validation, *args.test]


def parts_of(args: argparse.Namespace) -> Iterator[Part]:
    """Yield the parts of the corpus, held-out splits first.

    So a text that a source has in several splits stays in test, or else in validation.
    """
    for split in ("test", "validation"):
        if paths := getattr(args, split):
            yield Part(read(args, paths), split)
    own_split = "train" if args.validation else None
    yield Part(read(args, args.train or args.input), own_split)


def read(args: argparse.Namespace, paths: list[Path]) -> Iterator[Document]:
    """Yield the documents of `paths` under a progress bar."""
    if args.format == PYTHON_DOCS:
        documents = read_python_docs()
    else:
        reader, _ = READERS[args.format]
        columns = Columns(args.text_column, args.title_column, args.header)
        documents = reader(open_corpus(paths, args.members), columns)
    yield from progress(documents, unit=" documents", description="extract")


def describe(args: argparse.Namespace) -> str:
    """Name the corpus in messages: its files and what its reader looks for."""
    if args.format == PYTHON_DOCS:
        return "python-docs"
    names = ", ".join(map(str, input_paths(args)))
    _, looks_for = READERS[args.format]
    return f"{names}: --format {args.format} looks for {looks_for}"


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
