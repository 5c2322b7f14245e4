"""The documents that the settings of a corpus stand for."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from cloze.cli import progress
from cloze.corpus.cleaning import Cleaning, Decontamination, Filters
from cloze.corpus.documents import Document
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
    read_single_lines,
    read_tsv,
)
from cloze.corpus.tables import Dialect
from cloze.corpus.wikitext import read_wikitext
from cloze.errors import ClozeError
from cloze.files import Share
from cloze.metrics import plain
from cloze.settings.corpora import PartSettings
from cloze.settings.fields import keys_of

READERS: dict[str, tuple[Reader, str]] = {
    "wikitext": (read_wikitext, "articles that start with a line ' = Title = '"),
    "wikitext-tokens": (read_wikitext, "articles that start with a line ' = Title = '"),
    "text": (read_files, "a document in each file"),
    "paragraphs": (read_paragraphs, "documents separated by blank lines"),
    "lines": (read_single_lines, "a document in each line"),
    "jsonl": (read_jsonl, "a document in each line, an object with --text-column"),
    "csv": (read_csv, "a document in each row, in --text-column"),
    "tsv": (read_tsv, "a document in each row, in --text-column"),
    "parquet": (read_parquet, "a document in each row, in --text-column"),
}
PYTHON_DOCS = "python-docs"
# How files of some formats can be read as more documents.
_FINER = {
    "text": "read what stands between blank lines as documents with --format paragraphs, or a "
    "document a line with --format lines",
    "paragraphs": "read a document a line with --format lines",
}
# Two extractions that agree in these read the same documents from the same files.
_RECIPE = (*(key.name for key in keys_of(PartSettings)), "decontaminate")


def add_decontamination_flag(parser: argparse._ActionsContainer) -> None:
    """Add `--decontaminate`, the folders of tasks."""
    parser.add_argument(
        "--decontaminate",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="remove the paragraphs that hold evaluation sentences of these tasks",
    )


def cleaning_of(args: argparse.Namespace) -> Cleaning:
    """Return how documents are judged; raises `ClozeError` where a task has no rows."""
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
        dialect = Dialect(args.header, args.delimiter, args.quoting)
        columns = Columns(args.text_column, args.title_column, dialect)
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


def advice_for_few(args: argparse.Namespace) -> str:
    """Say what helps a corpus of too few documents that is not done already."""
    ways = ["add documents"]
    if args.format in _FINER:
        ways.append(_FINER[args.format])
    if not args.validation:
        ways.append("give --train and --validation files of their own")
    return ", or ".join(ways)
