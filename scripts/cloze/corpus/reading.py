"""The flags that say how a corpus is read and filtered, and the documents they stand for."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from cloze.cli import non_negative_int, probability, progress
from cloze.corpus.cleaning import Cleaning, Decontamination, Filters
from cloze.corpus.documents import Document
from cloze.corpus.folders import Share
from cloze.corpus.parts import cleaned_batches
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
from cloze.metrics import plain

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
# Two extractions that agree in these read the same documents from the same files.
_RECIPE = (
    *("format", "members", "text_column", "title_column", "header"),
    *("min_characters", "max_repeated_lines", "min_compression_ratio", "max_compression_ratio"),
    *("near_duplicate_threshold", "decontaminate"),
)


def add_reading_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how files become documents."""
    parser.add_argument(
        "--format",
        required=True,
        choices=[*READERS, PYTHON_DOCS],
        help="form of the corpus; wikitext and wikitext-tokens: articles under ' = Title = ' "
        "lines; text: a file a document; paragraphs: documents between blank lines",
    )
    parser.add_argument(
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


def add_cleaning_flags(group: argparse._ArgumentGroup) -> None:
    """Add the flags that drop documents for what they hold; see `filters` for the measures."""
    group.add_argument(
        "--min-characters",
        type=non_negative_int,
        default=0,
        help="drop shorter documents, white space at both ends not counted",
    )
    group.add_argument(
        "--max-repeated-lines",
        type=probability,
        help="drop a document if more of its characters stand in lines that repeat earlier ones; "
        "0.3 is usual; unset: none",
    )
    group.add_argument(
        "--min-compression-ratio",
        type=probability,
        help="drop a document that zlib compresses better than this, which repeats itself; "
        "0.2 is cautious; unset: none",
    )
    group.add_argument(
        "--max-compression-ratio",
        type=probability,
        help="drop a document that zlib compresses worse than this, which is short or noise; "
        "0.7 is cautious for documents of 1,000 characters and more; unset: none",
    )
    group.add_argument(
        "--near-duplicate-threshold",
        type=probability,
        help="drop documents at least this similar to an earlier one: share of five words in a "
        "row that both have of those that one has; 0.8 is usual; unset: none",
    )
    group.add_argument(
        "--decontaminate",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="remove the paragraphs that hold evaluation sentences of these tasks",
    )


def cleaning_of(args: argparse.Namespace) -> Cleaning:
    """Return what `add_cleaning_flags` ask for; raises `ClozeError` where a task has no rows."""
    filters = Filters(
        args.min_characters,
        args.max_repeated_lines,
        args.min_compression_ratio,
        args.max_compression_ratio,
    )
    decontamination = Decontamination(args.decontaminate) if args.decontaminate else None
    return Cleaning(filters, decontamination, args.near_duplicate_threshold is not None)


def recipe_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the flags that a part and the extraction it belongs to must have in common."""
    return {key: plain(getattr(args, key)) for key in _RECIPE}


def read_batches(
    args: argparse.Namespace,
    cleaning: Cleaning,
    paths: Sequence[Path],
    share: Share | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the documents of `paths`, or of a share of each folder there, as part batches."""
    return cleaned_batches(_documents(args, paths, share), cleaning)


def _documents(
    args: argparse.Namespace, paths: Sequence[Path], share: Share | None
) -> Iterator[Document]:
    if args.format == PYTHON_DOCS:
        documents = read_python_docs()
    else:
        reader, _ = READERS[args.format]
        columns = Columns(args.text_column, args.title_column, args.header)
        documents = reader(open_corpus(paths, args.members, share), columns)
    return iter(progress(documents, unit=" documents", description="extract"))


def check_format(args: argparse.Namespace, paths: Sequence[Path]) -> None:
    """Raise `ClozeError` if python-docs is given files."""
    if args.format == PYTHON_DOCS and paths:
        raise ClozeError(f"{paths[0]}: python-docs reads no files; leave it out")


def describe(args: argparse.Namespace, paths: Sequence[Path]) -> str:
    """Name a corpus in messages: its files and what its reader looks for."""
    if args.format == PYTHON_DOCS:
        return PYTHON_DOCS
    names = ", ".join(map(str, paths))
    _, looks_for = READERS[args.format]
    return f"{names}: --format {args.format} looks for {looks_for}"
