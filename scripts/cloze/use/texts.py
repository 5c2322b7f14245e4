"""The texts that a model is asked about: from arguments, files or standard input, one by one."""

import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, Self, cast

from cloze.contents import HEAD_BYTES, not_text, refuse
from cloze.corpus.tables import Dialect, opened_parquet, read_columns
from cloze.corpus.text_streams import read_lines
from cloze.errors import ClozeError
from cloze.fetch.archives import open_members
from cloze.files import require_file

FORMATS = ("text", "csv", "tsv", "jsonl", "parquet")
_SUFFIXES = {
    ".txt": "text",
    ".csv": "csv",
    ".tsv": "tsv",
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    ".parquet": "parquet",
}
_COUNTED_BYTES = 1 << 20


class Text(NamedTuple):
    """A text, or a pair of two, and where it was read: "reviews.csv: line 7"."""

    first: str
    second: str | None
    where: str

    @property
    def parts(self) -> list[str]:
        """The one or two texts."""
        return [self.first] if self.second is None else [self.first, self.second]


@dataclass(frozen=True)
class TextSource:
    """Where texts come from; iterated, it reads them as they are asked for, again each time.

    `texts` are used as they are, if `paired` two at a time. Where there are none, `files` are read
    (`-`: standard input). A file of `format` `text` holds a text a line, an empty one for a blank
    line, so that line n and result n belong together; of any other format, a text or a pair a
    row, in `columns`; `dialect`: how CSV and TSV are written. `format` None follows the file's
    suffix, and one that is not known is refused. Packed files (`.gz`, `.xz`, `.zst`) are read in
    place.
    """

    texts: Sequence[str]
    files: Sequence[Path]
    columns: Sequence[str]
    format: str | None = None
    paired: bool = False
    dialect: Dialect = field(default_factory=Dialect)

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        files: Sequence[Path],
        columns: Sequence[str],
        format: str | None,
        paired: bool = False,
        dialect: Dialect = Dialect(),  # noqa: B008
    ) -> Self:
        """Return the source that a command line names: texts, else files, else standard input.

        paired: two texts each make one. Raises `ClozeError` for texts beside files, for an odd
        number of them where they are paired, and for columns that are too many or too few.
        """
        if paired and len(texts) % 2:
            raise ClozeError(f"{texts[-1]!r} has no second text; give texts in twos")
        if paired and len(columns) != 2:
            raise ClozeError("--column: names one column; name that of the second text, too")
        if texts and files:
            raise ClozeError("--input: texts were given as arguments too; give one of the two")
        if len(columns) > 2:
            raise ClozeError(f"--column: {len(columns)} names; a text has one, a pair two")
        places = files if texts or files else [Path("-")]
        return cls(texts, places, columns, format, paired, dialect)

    def __iter__(self) -> Iterator[Text]:
        """Yield the texts in order; raises `ClozeError` for what cannot be read as text."""
        texts = [_whole(text, f"text {number}") for number, text in enumerate(self.texts, start=1)]
        pairs = (
            zip(texts[::2], texts[1::2], strict=True) if self.paired else ((t, None) for t in texts)
        )
        for number, (first, second) in enumerate(pairs, start=1):
            yield Text(first, second, f"text {number}")
        for file in self.files:
            if str(file) == "-":
                yield from self._read(sys.stdin.buffer, "standard input", self.format or "text")
                continue
            for name, stream in open_members(file):
                format = self.format or _format_of(name, str(file), stream)
                yield from self._read(stream, str(file), format)

    def count(self) -> int | None:
        """Return about how many texts there are, None if only reading them would tell."""
        if self.texts:
            return len(self.texts) // (2 if self.paired else 1)
        total = 0
        for file in self.files:
            format = _SUFFIXES.get(file.suffix.lower())
            if format is None:
                return None
            total += _count(file, self.format or format)
        return total

    def _read(self, stream: BinaryIO, where: str, format: str) -> Iterator[Text]:
        if format == "text":
            for number, line in enumerate(read_lines(stream, where), start=1):
                yield Text(line.removesuffix("\n"), None, f"{where}: line {number}")
            return
        for place, values in read_columns(stream, where, format, self.columns, self.dialect):
            yield Text(values[0], values[1] if len(values) == 2 else None, f"{where}: {place}")


def _format_of(name: str, where: str, stream: BinaryIO) -> str:
    """Return the format that the name of a stream says, or raise `ClozeError`."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in _SUFFIXES:
        refuse(where, not_text(cast(io.BufferedReader, stream).peek(HEAD_BYTES)[:HEAD_BYTES]))
        raise ClozeError(
            f"{where}: the name does not say what the file is; give --format "
            f"({', '.join(FORMATS)}; text: a text a line)"
        )
    return _SUFFIXES[suffix]


def _count(file: Path, format: str) -> int:
    """Rows of a parquet file, lines of any other."""
    require_file(file)
    if format == "parquet":
        with open(file, "rb") as rows, opened_parquet(rows, str(file)) as parquet:
            return int(parquet.metadata.num_rows)
    with open(file, "rb") as stream:
        blocks: Iterable[bytes] = iter(partial(stream.read, _COUNTED_BYTES), b"")
        return sum(block.count(b"\n") for block in blocks)


def _whole(text: str, where: str) -> str:
    """Return an argument of the command line; what is no UTF-8 there comes as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ClozeError(f"{where}: is not valid UTF-8; check the terminal's encoding") from error
    return text
