"""Labelled texts as they come: CSV, TSV, JSON Lines or parquet, read row by row."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cloze.corpus.tables import read_values
from cloze.errors import ClozeError
from cloze.fetch.archives import open_members

FORMATS = ("csv", "tsv", "jsonl", "parquet")


class LabelledRow(NamedTuple):
    """One row of a source file; `place` says where, as a person would look it up."""

    place: str
    text: str
    label: str


@dataclass(frozen=True)
class RowSource:
    """How to read one labelled file: its format and the two columns that count.

    `format` None means: by the file's suffix. Without a header (CSV and TSV only),
    columns are numbers counted from 0.
    """

    text_column: str
    label_column: str
    format: str | None = None
    header: bool = True

    def read(self, path: Path) -> Iterator[LabelledRow]:
        """Yield every row of `path`, a file or a compressed file or archive of one file.

        Raises `ClozeError` naming the file and the row at fault.
        """
        members: list[str] = []
        for name, stream in open_members(path):
            members.append(name)
            if len(members) > 1:
                raise ClozeError(
                    f"{path}: holds more than one file ({', '.join(members)}); "
                    "unpack it and name one"
                )
            kind = self.format or _format_of(path, name)
            if not self.header and kind not in ("csv", "tsv"):
                raise ClozeError(f"{path}: {kind} always names its columns; drop --no-header")
            columns = [self.text_column, self.label_column]
            for place, (text, label) in read_values(stream, str(path), kind, columns, self.header):
                yield LabelledRow(
                    place,
                    self._text(text, f"{path}: {place}"),
                    self._label(label, f"{path}: {place}"),
                )

    def _text(self, text: Any, where: str) -> str:
        if not isinstance(text, str):
            raise ClozeError(f"{where}: column {self.text_column!r} holds {_shown(text)}, no text")
        return text

    def _label(self, label: Any, where: str) -> str:
        if isinstance(label, bool):
            return str(label).lower()
        if isinstance(label, int):
            return str(label)
        if label is None or (isinstance(label, str) and not label.strip()):
            raise ClozeError(f"{where}: the label is missing; add it or leave the row out")
        if not isinstance(label, str):
            raise ClozeError(
                f"{where}: column {self.label_column!r} holds {_shown(label)}, "
                "neither a text nor a whole number"
            )
        return label.strip()


def _shown(value: Any) -> str:
    return json.dumps(value, default=repr)


def _format_of(path: Path, name: str) -> str:
    kind = Path(name).suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise ClozeError(
            f"{path}: the name does not say what the file is; give --format ({', '.join(FORMATS)})"
        )
    return kind
