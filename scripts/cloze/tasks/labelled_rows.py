"""Labelled texts as they come: CSV, TSV, JSON Lines or parquet, read row by row."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cloze.corpus.tables import read_values
from cloze.errors import ClozeError
from cloze.fetch.archives import open_members
from cloze.settings.tasks import TASK_FORMATS


class LabelledRow(NamedTuple):
    """One row of a source file; `place` says where, as a person would look it up.

    `label` is a class's name or number, or a score as it is written. `pair` is the second
    text and `group` what the row belongs to, where the source names columns for them.
    """

    place: str
    text: str
    label: str
    pair: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class RowSource:
    """How to read one labelled file: its format and the columns that count.

    `format` None means: by the file's suffix. Without a header (CSV and TSV only),
    columns are numbers counted from 0.
    """

    text_column: str
    label_column: str
    format: str | None = None
    header: bool = True
    text_pair_column: str | None = None
    group_column: str | None = None
    regression: bool = False

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
            named = (self.text_column, self.label_column, self.text_pair_column, self.group_column)
            columns = [column for column in named if column is not None]
            for place, values in read_values(stream, str(path), kind, columns, self.header):
                yield self._row(dict(zip(columns, values, strict=True)), path, place)

    def _row(self, values: dict[str, Any], path: Path, place: str) -> LabelledRow:
        where = f"{path}: {place}"
        pair, group = self.text_pair_column, self.group_column
        return LabelledRow(
            place,
            self._text(self.text_column, values, where),
            self._label(values[self.label_column], where),
            None if pair is None else self._text(pair, values, where),
            None if group is None else self._group(values[group], where),
        )

    def _text(self, column: str, values: dict[str, Any], where: str) -> str:
        text = values[column]
        if not isinstance(text, str):
            raise ClozeError(f"{where}: column {column!r} holds {_shown(text)}, no text")
        return text

    def _group(self, group: Any, where: str) -> str:
        if not isinstance(group, str | int) or not str(group).strip():
            raise ClozeError(
                f"{where}: column {self.group_column!r} holds {_shown(group)}, which names no "
                "group; a text or a whole number does"
            )
        return str(group).strip()

    def _label(self, label: Any, where: str) -> str:
        if isinstance(label, bool):
            return str(label).lower()
        if isinstance(label, int) or (self.regression and isinstance(label, float)):
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
    if kind not in TASK_FORMATS:
        raise ClozeError(
            f"{path}: the name does not say what the file is; "
            f"give --format ({', '.join(TASK_FORMATS)})"
        )
    return kind
