"""From files to documents: one small reader a format.

A reader takes the files of one split and yields documents, one in memory at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from cloze.corpus.documents import Document
from cloze.corpus.tables import Dialect, read_columns
from cloze.corpus.text_streams import read_blocks, read_lines, read_text, require_bounded
from cloze.errors import ClozeError
from cloze.fetch.archives import open_members
from cloze.files import Share, matching_files, readable_name


class Member(NamedTuple):
    """A file to read: its name in the corpus, its name in messages, its bytes."""

    source: str
    where: str
    stream: BinaryIO


class Columns(NamedTuple):
    """The columns that hold the text and, if any, the title, and how CSV and TSV are written."""

    text: str = "text"
    title: str | None = None
    dialect: Dialect = Dialect()


class Reader(Protocol):
    """The signature of every reader of files."""

    def __call__(self, members: Iterable[Member], columns: Columns) -> Iterator[Document]:
        """Yield the documents of `members` in order."""
        ...


def open_corpus(
    paths: Sequence[Path], pattern: str = "*", share: Share | None = None
) -> Iterator[Member]:
    """Yield the files that `paths` hold, each open until the next one is asked for.

    Folders are walked in order of path, without hidden files; archives and compressed
    files are read in place. `pattern`, a glob whose `*` also matches `/`, chooses among
    the files of a folder and the members of an archive. With a `share`, only that stretch
    of each folder's files is read. Raises `ClozeError` if a path is missing or nothing in
    it matches.
    """
    for path in paths:
        found = 0
        for file, prefix in _files_of(path, pattern, share):
            for name, stream in open_members(file, "*" if path.is_dir() else pattern):
                found += 1
                where = str(file) if name in (file.name, file.stem) else f"{file}: {name}"
                yield Member(readable_name(prefix + name), readable_name(where), stream)
        if not found:
            raise ClozeError(
                f"{path}: no file in it matches {pattern!r}, hidden ones left out; change --members"
            )


def _files_of(path: Path, pattern: str, share: Share | None) -> Iterator[tuple[Path, str]]:
    """Yield `(file, prefix of its name in the corpus)`."""
    if not path.is_dir():
        yield path, ""
        return
    names = matching_files(path, pattern)
    for name in share.of(names) if share else names:
        folder, _, _ = name.rpartition("/")
        yield path / name, f"{folder}/" if folder else ""


def read_files(members: Iterable[Member], columns: Columns) -> Iterator[Document]:
    """`text`: a file a document, its name without the last suffix the title."""
    for member in members:
        title = Path(member.source).stem
        yield Document(member.source, title, read_text(member.stream, member.where))


def read_paragraphs(members: Iterable[Member], columns: Columns) -> Iterator[Document]:
    """`paragraphs`: documents are separated by lines with nothing but white space."""
    for member in members:
        held: list[str] = []
        size = 0
        for block in read_blocks(member.stream, member.where):
            size = size + len(block) if held else len(block)
            require_bounded(
                size,
                member.where,
                "a document between blank lines",
                "set blank lines between documents, or read a document a line with --format lines",
            )
            for line in block.removesuffix("\n").split("\n"):
                if line and not line.isspace():
                    held.append(line)
                elif held:
                    yield Document(member.source, "", "\n".join(held))
                    held, size = [], 0
        if held:
            yield Document(member.source, "", "\n".join(held))


def read_single_lines(members: Iterable[Member], columns: Columns) -> Iterator[Document]:
    """`lines`: a line a document; lines with nothing but white space are none."""
    for member in members:
        for line in read_lines(member.stream, member.where):
            if not line.isspace():
                yield Document(member.source, "", line.removesuffix("\n"))


def read_table(members: Iterable[Member], columns: Columns, format: str) -> Iterator[Document]:
    """`csv`, `tsv`, `jsonl`, `parquet`: a row a document; see `tables.read_columns`."""
    names = [columns.text] if columns.title is None else [columns.text, columns.title]
    for member in members:
        for _, (text, *title) in read_columns(
            member.stream, member.where, format, names, columns.dialect
        ):
            yield Document(member.source, "".join(title), text)


read_csv = partial(read_table, format="csv")
read_tsv = partial(read_table, format="tsv")
read_jsonl = partial(read_table, format="jsonl")
read_parquet = partial(read_table, format="parquet")
