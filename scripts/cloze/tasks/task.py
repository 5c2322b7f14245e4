"""Labelled texts: files in the forms people have them, and task folders in one shape.

A folder holds `train.parquet`, `validation.parquet` and, where the source has labels for
it, `test.parquet`, and `task.json`. Columns: `text` string; `label`, int32 or, where the
task is to predict a score, float64; `text_pair` string in a task of pairs; `group` string
where rows that belong together must stay in one split.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloze.corpus.contamination import ContainmentIndex, normalized_words
from cloze.corpus.text_streams import read_values
from cloze.errors import ClozeError
from cloze.fetch.archives import open_members
from cloze.files import atomic_path, read_json, require_file
from cloze.settings.tasks import TASK_FORMATS, default_objective
from cloze.tasks.scores import default_metric

_TEXTS_AT_ONCE = 1024
_OPTIONAL = ("text_pair", "group")


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


class Columns(NamedTuple):
    """The columns of a labelled file that count; without a header, numbers counted from 0."""

    text: str
    label: str
    text_pair: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class RowSource:
    """How to read one labelled file.

    `format` None means: by the file's suffix. Only CSV and TSV can be without a header.
    `regression`: the label may be any number.
    """

    columns: Columns
    format: str | None = None
    header: bool = True
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
            columns = [column for column in self.columns if column is not None]
            for place, values in read_values(stream, str(path), kind, columns, self.header):
                yield self._row(dict(zip(columns, values, strict=True)), path, place)

    def _row(self, values: dict[str, Any], path: Path, place: str) -> LabelledRow:
        where = f"{path}: {place}"
        text, label, pair, group = self.columns
        return LabelledRow(
            place,
            self._text(text, values, where),
            self._label(values[label], where),
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
                f"{where}: column {self.columns.group!r} holds {_shown(group)}, which names no "
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
                f"{where}: column {self.columns.label!r} holds {_shown(label)}, "
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


@dataclass(frozen=True)
class TaskSplit:
    """Texts and their labels, int64 [num_rows], in the order of the source.

    Labels of a task of scores are float64. `pairs`: each row's second text, if the task has
    one; `groups`: what each row belongs to, if the source says so.
    """

    texts: list[str]
    labels: np.ndarray
    pairs: list[str] | None = None
    groups: list[str] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def whole_texts(self) -> list[str]:
        """Each row as one text, a pair on two lines."""
        if self.pairs is None:
            return self.texts
        return [f"{first}\n{second}" for first, second in zip(self.texts, self.pairs, strict=True)]

    def take(self, rows: np.ndarray) -> "TaskSplit":
        """Return the rows with these numbers."""
        return TaskSplit(
            [self.texts[row] for row in rows],
            self.labels[rows],
            None if self.pairs is None else [self.pairs[row] for row in rows],
            None if self.groups is None else [self.groups[row] for row in rows],
        )


@dataclass(frozen=True)
class Task:
    """A task folder that has been opened; `facts` is the whole of its `task.json`."""

    folder: Path
    name: str
    labels: list[str]
    facts: dict[str, Any]

    @property
    def is_regression(self) -> bool:
        """Whether the task is to predict a score: it has one label, as in Hugging Face."""
        return len(self.labels) == 1

    @property
    def objective(self) -> str:
        """What is learnt, one of `settings.tasks.FINETUNING_OBJECTIVES`."""
        return str(self.facts.get("objective") or default_objective(self.is_regression))

    @property
    def metric(self) -> str:
        """The measure that the task is judged by, one of `METRICS`."""
        return str(self.facts.get("metric") or default_metric(self.is_regression))

    @property
    def splits(self) -> list[str]:
        """The names of its splits, `train` first."""
        return list(self.facts["splits"])

    @property
    def evaluation_splits(self) -> list[str]:
        """The splits that a model can be evaluated on: all that nothing is trained on."""
        return [split for split in self.splits if split != "train"]

    def split_path(self, split: str) -> Path:
        """Return the parquet file of a split; raises `ClozeError` if there is none."""
        if split not in self.splits:
            raise ClozeError(
                f"{self.folder}: has no split {split!r}; this task has the splits: "
                f"{', '.join(self.splits) or 'none'}"
            )
        return require_file(self.folder / f"{split}.parquet")

    def split(self, split: str) -> TaskSplit:
        """Read one split; raises `ClozeError` if it is missing, empty or not of this task."""
        path = self.split_path(split)
        kind = pa.float64() if self.is_regression else pa.int32()
        try:
            names = pq.read_schema(path).names
            optional = [(name, pa.string()) for name in _OPTIONAL if name in names]
            schema = pa.schema([("text", pa.string()), ("label", kind), *optional])
            table = pq.read_table(path, schema=schema)
        except pa.ArrowException as error:
            raise ClozeError(f"{path}: not a task's split ({error}); prepare it again") from error
        labels = table["label"].to_numpy().astype(np.float64 if self.is_regression else np.int64)
        if not labels.size:
            raise ClozeError(f"{path}: has no rows")
        if not self.is_regression and (labels.min() < 0 or labels.max() >= len(self.labels)):
            raise ClozeError(f"{path}: holds labels that task.json does not name; prepare it again")
        pairs, groups = (table[name].to_pylist() if name in names else None for name in _OPTIONAL)
        return TaskSplit(table["text"].to_pylist(), labels, pairs, groups)

    def text_columns(self, split: str) -> list[str]:
        """Return the columns of a split that hold text: one, or two if its rows are pairs.

        Raises `ClozeError` if the task has no such split, `pa.ArrowException` if its file is
        no parquet.
        """
        names = pq.read_schema(self.split_path(split)).names
        return ["text", *(["text_pair"] if "text_pair" in names else [])]

    def iterate_texts(self, split: str) -> Iterator[str]:
        """Yield the texts of one split, each of a pair by itself, with a few in memory.

        Raises as `split` does.
        """
        path = self.split_path(split)
        try:
            columns = self.text_columns(split)
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_TEXTS_AT_ONCE, columns=columns):
                    rows = (column.to_pylist() for column in batch.columns)
                    for texts in zip(*rows, strict=True):
                        yield from texts
        except (pa.ArrowException, KeyError) as error:
            raise ClozeError(f"{path}: not a task's split ({error}); prepare it again") from error


def load_task(folder: Path) -> Task:
    """Open a task folder; raises `ClozeError` if `task.json` is missing or incomplete."""
    path = folder / "task.json"
    facts = read_json(require_file(path))
    for key in ("name", "labels", "origin", "splits"):
        if key not in facts:
            raise ClozeError(f"{path}: has no key {key!r}; run prepare_task.py again")
    return Task(folder, facts["name"], list(facts["labels"]), facts)


def write_split(path: Path, split: TaskSplit) -> None:
    """Write one split as parquet, atomically; the same rows give the same bytes."""
    is_score = split.labels.dtype.kind == "f"
    columns = {"text": pa.array(split.texts, pa.string())}
    columns["label"] = pa.array(split.labels, pa.float64() if is_score else pa.int32())
    for name, values in zip(_OPTIONAL, (split.pairs, split.groups), strict=True):
        if values is not None:
            columns[name] = pa.array(values, pa.string())
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")


def label_names(rows: Iterable[LabelledRow]) -> list[str]:
    """Return the distinct labels, by value if all are whole numbers, else by alphabet."""
    found = {row.label for row in rows}
    if all(_is_whole_number(label) for label in found):
        return sorted(found, key=int)
    return sorted(found)


def encode_labels(path: Path, rows: Sequence[LabelledRow], names: Sequence[str]) -> TaskSplit:
    """Return the rows with labels as indices into `names`.

    A label is one of the names; where no name is a number, a whole number is taken as
    an index into the names, which is how most published tasks store their labels.
    Raises `ClozeError` naming file, row, label and the known labels, or if `path`
    gave no rows.
    """
    if not rows:
        raise ClozeError(f"{path}: has no rows")
    index_of = {name: index for index, name in enumerate(names)}
    if not any(_is_whole_number(name) for name in names):
        index_of |= {str(index): index for index in range(len(names))}
    labels = np.empty(len(rows), dtype=np.int64)
    for position, row in enumerate(rows):
        if row.label not in index_of:
            raise ClozeError(
                f"{path}: {row.place}: label {row.label!r} is not one of the task's labels "
                f"({', '.join(names)}); mend the row or declare the label with --labels"
            )
        labels[position] = index_of[row.label]
    return _split(rows, labels)


def encode_scores(path: Path, rows: Sequence[LabelledRow]) -> TaskSplit:
    """Return the rows with labels as numbers.

    Raises `ClozeError` naming file, row and label if one is none, or if there are no rows.
    """
    if not rows:
        raise ClozeError(f"{path}: has no rows")
    scores = np.empty(len(rows), dtype=np.float64)
    for position, row in enumerate(rows):
        try:
            scores[position] = float(row.label)
        except ValueError:
            scores[position] = np.nan
        if not np.isfinite(scores[position]):
            raise ClozeError(
                f"{path}: {row.place}: label {row.label!r} is not a number, which --regression "
                "asks for; mend the row or leave --regression out"
            )
    return _split(rows, scores)


def _split(rows: Sequence[LabelledRow], labels: np.ndarray) -> TaskSplit:
    return TaskSplit(
        [row.text for row in rows],
        labels,
        _column([row.pair for row in rows]),
        _column([row.group for row in rows]),
    )


def _column(values: list[str | None]) -> list[str] | None:
    given = [value for value in values if value is not None]
    return given if len(given) == len(values) else None


def describe_split(split: TaskSplit, names: Sequence[str]) -> dict[str, Any]:
    """Return what `task.json` says of a split: rows, by label too, and those without any word.

    Of a task of scores: their range and mean instead of the rows by label.
    """
    facts: dict[str, Any] = {"rows": len(split)}
    if split.labels.dtype.kind == "f":
        low, high, mean = split.labels.min(), split.labels.max(), split.labels.mean()
        facts["scores"] = {"min": float(low), "max": float(high), "mean": float(mean)}
    else:
        counts = Counter(split.labels.tolist())
        facts["rows_by_label"] = {name: counts[index] for index, name in enumerate(names)}
    return {**facts, "empty_texts": sum(not text.strip() for text in split.whole_texts)}


def overlap_with_train(train: TaskSplit, other: TaskSplit) -> dict[str, int]:
    """Count the rows of `other` that stand in the training split.

    `equal`: word for word, case folded, as a whole row; `inside`: anywhere in a row, of
    pairs each text by itself anywhere in one; `same_group`, where rows have groups: those
    whose group has rows in the training split.
    """
    train_rows = {tuple(normalized_words(text)) for text in train.whole_texts}
    counts = {
        "equal": sum(tuple(normalized_words(text)) in train_rows for text in other.whole_texts),
        "inside": int(_stand_inside(train, other).sum()),
    }
    if train.groups is not None and other.groups is not None:
        groups = set(train.groups)
        counts["same_group"] = sum(group in groups for group in other.groups)
    return counts


def _stand_inside(train: TaskSplit, other: TaskSplit) -> np.ndarray:
    """bool [num_rows of other]: do its texts stand inside texts of the training split?"""
    train_texts = [*train.texts, *(train.pairs or ())]
    found = ContainmentIndex(other.texts).find(train_texts)
    return found if other.pairs is None else found & ContainmentIndex(other.pairs).find(train_texts)


def _is_whole_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
