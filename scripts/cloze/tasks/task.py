"""Task folders: the splits of a task in one shape, whatever its kind.

A folder holds `train.parquet`, `validation.parquet` and, where the source has labels for
it, `test.parquet`, and `task.json`. Columns: `text` string; `label` of the kind's type, int32 of
classes and float64 of scores; `text_pair` string in a task of pairs; `group` string where rows
that belong together must stay in one split; and what else the kind of the task has. Where rows
are queries, `{split}-documents.parquet` has what they search: `id` and `text`.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloze.corpus.arrays import damage_named
from cloze.corpus.contamination import ContainmentIndex, normalized_words
from cloze.errors import ClozeError, shortened
from cloze.files import atomic_path, read_json, require_file
from cloze.settings.tasks import TASK_KINDS, default_objective
from cloze.tasks.kind import TaskKind, kind_of

_TEXTS_AT_ONCE = 1024
_OPTIONAL = ("text_pair", "group")
_AGAIN = "prepare it again"
# Of task.json.
_FACTS: dict[str, Callable[[Any], bool]] = {
    "name": lambda value: isinstance(value, str),
    "labels": lambda value: isinstance(value, list) and all(isinstance(n, str) for n in value),
    "origin": lambda value: isinstance(value, str),
    "splits": lambda value: (
        isinstance(value, dict) and all(isinstance(part, dict) for part in value.values())
    ),
}


class Documents(NamedTuple):
    """What the queries of a split search: ids and texts, in the order of the source."""

    ids: list[str]
    texts: list[str]


@dataclass(frozen=True)
class TaskSplit:
    """Texts and their labels, in the order of the source.

    `labels` [num_rows, …]: int64 classes, float64 scores, bool [num_rows, num_labels] where a
    row has several; of other kinds an object a row, of the arrow type `label_type`. `pairs`: each
    row's second text, if the task has one; `groups`: what each row belongs to, if the source
    says so; `columns`: what else the kind has of each row, by name; `joins_first_texts`: as in
    `TaskKind`; `documents`: what the rows search, where they are queries.
    """

    texts: list[str]
    labels: np.ndarray
    pairs: list[str] | None = None
    groups: list[str] | None = None
    columns: Mapping[str, pa.Array] = field(default_factory=dict)
    label_type: pa.DataType | None = None
    joins_first_texts: bool = True
    documents: Documents | None = None

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
            {name: values.take(pa.array(rows)) for name, values in self.columns.items()},
            self.label_type,
            self.joins_first_texts,
            self.documents,
        )

    def label_array(self) -> pa.Array:
        """Return the labels as they are stored."""
        if self.labels.dtype.kind == "b":
            return pa.array([np.flatnonzero(row) for row in self.labels], pa.list_(pa.int32()))
        if self.labels.dtype.kind == "O":
            return pa.array(list(self.labels), self.label_type)
        return pa.array(self.labels, pa.float64() if self.labels.dtype.kind == "f" else pa.int32())


def joined(parts: Sequence[TaskSplit]) -> TaskSplit:
    """Return the rows of several files as one split.

    Raises `ClozeError` for queries that search different documents.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if any(part.documents != first.documents for part in parts):
        raise ClozeError(
            "the files of one split judge different documents; give each collection a split"
        )

    def chained(lists: Sequence[list[str] | None]) -> list[str] | None:
        given = [values for values in lists if values is not None]
        return list(itertools.chain.from_iterable(given)) if len(given) == len(lists) else None

    return replace(
        first,
        texts=chained([part.texts for part in parts]) or [],
        labels=np.concatenate([part.labels for part in parts]),
        pairs=chained([part.pairs for part in parts]),
        groups=chained([part.groups for part in parts]),
        columns={
            name: pa.concat_arrays([part.columns[name] for part in parts]) for name in first.columns
        },
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
        """Whether the task is to predict a score."""
        return self.objective == "regression"

    @property
    def objective(self) -> str:
        """What is learnt, one of `settings.tasks.FINETUNING_OBJECTIVES`."""
        # One label is a regression, as in Hugging Face.
        return str(self.facts.get("objective") or default_objective(len(self.labels) == 1))

    @property
    def kind(self) -> TaskKind:
        """How such tasks are read, kept and judged."""
        return kind_of(self.objective)

    @property
    def metric(self) -> str:
        """The measure that the task is judged by, one of `METRICS`."""
        return str(self.facts.get("metric") or self.kind.metrics[0])

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
        path, kind = self.split_path(split), self.kind
        with _split_named(path):
            table = pq.read_table(path)
            table.validate(full=True)
            texts, pairs, groups = (_texts(table, name) for name in ("text", *_OPTIONAL))
            if table["label"].null_count:
                raise ValueError("has rows without a label")
            labels = kind.labels_from_arrow(table["label"], self.labels)
            columns = {name: table[name].combine_chunks() for name in kind.columns}
        if not texts:
            raise ClozeError(f"{path}: has no rows")
        return TaskSplit(
            texts,
            labels,
            pairs,
            groups,
            columns,
            table.schema.field("label").type,
            kind.joins_first_texts,
            self._documents(split),
        )

    def _documents(self, split: str) -> Documents | None:
        if "documents" not in self.facts["splits"][split]:
            return None
        path = require_file(documents_path(self.split_path(split)))
        with _split_named(path):
            table = pq.read_table(path)
            table.validate(full=True)
            return Documents(_texts(table, "id") or [], _texts(table, "text") or [])

    def text_columns(self, split: str) -> list[str]:
        """Return the columns of a split that hold text: one, or two if its rows are pairs.

        Raises `ClozeError` if the task has no such split or its file is no parquet.
        """
        path = self.split_path(split)
        with _split_named(path):
            names = pq.read_schema(path).names
        return ["text", *(["text_pair"] if "text_pair" in names else [])]

    def iterate_texts(self, split: str) -> Iterator[str]:
        """Yield the texts of one split, each of a pair by itself, with a few in memory.

        Raises as `split` does.
        """
        path, columns = self.split_path(split), self.text_columns(split)
        with _split_named(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_TEXTS_AT_ONCE, columns=columns):
                rows = (column.to_pylist() for column in batch.columns)
                for texts in zip(*rows, strict=True):
                    yield from texts


def load_task(folder: Path) -> Task:
    """Open a task folder; raises `ClozeError` if `task.json` is missing or incomplete."""
    path = folder / "task.json"
    facts = read_json(require_file(path))
    for key, is_sound in _FACTS.items():
        if not isinstance(facts, dict) or key not in facts:
            raise ClozeError(f"{path}: has no key {key!r}; run prepare_task.py again")
        if not is_sound(facts[key]):
            raise ClozeError(
                f"{path}: {key} {shortened(facts[key])} is not what prepare_task.py writes; run it "
                "again"
            )
    task = Task(folder, facts["name"], list(facts["labels"]), facts)
    if task.objective not in TASK_KINDS or task.metric not in task.kind.metrics:
        raise ClozeError(
            f"{path}: objective {shortened(task.objective)} and metric "
            f"{shortened(facts.get('metric'))} do not go together here; run prepare_task.py again"
        )
    return task


@contextlib.contextmanager
def _split_named(path: Path) -> Iterator[None]:
    """Raise `ClozeError` where a file turns out in the block to be none of a task's rows."""
    with damage_named(path, "split of a task", _AGAIN):
        try:
            yield
        except (KeyError, TypeError) as error:
            raise ClozeError(f"{path}: not a task's split ({error}); {_AGAIN}") from error
        except (pa.ArrowInvalid, UnicodeDecodeError):
            raise
        except ValueError as error:
            raise ClozeError(f"{path}: {error}; {_AGAIN}") from error


def _texts(table: pa.Table, name: str) -> list[str] | None:
    """Return a column of texts; None if it is not there, which only optional ones may be."""
    if name in _OPTIONAL and name not in table.column_names:
        return None
    column = table[name]
    if column.null_count or not pa.types.is_string(column.type):
        raise ValueError(f"has rows without text in the column {name!r}")
    return list(column.to_pylist())


def write_split(path: Path, split: TaskSplit) -> None:
    """Write one split as parquet, atomically; the same rows give the same bytes."""
    columns = {"text": pa.array(split.texts, pa.string()), "label": split.label_array()}
    for name, values in zip(_OPTIONAL, (split.pairs, split.groups), strict=True):
        if values is not None:
            columns[name] = pa.array(values, pa.string())
    with atomic_path(path) as temporary:
        pq.write_table(pa.table({**columns, **split.columns}), temporary, compression="zstd")
    if split.documents is not None:
        ids, texts = (pa.array(values, pa.string()) for values in split.documents)
        with atomic_path(documents_path(path)) as temporary:
            pq.write_table(pa.table({"id": ids, "text": texts}), temporary, compression="zstd")


def documents_path(split: Path) -> Path:
    """Return where the documents lie that the queries of a split's file search."""
    return split.with_name(f"{split.stem}-documents.parquet")


def describe_split(split: TaskSplit, names: Sequence[str], kind: TaskKind) -> dict[str, Any]:
    """Return what `task.json` says of a split: rows, wordless ones, and what `kind` adds."""
    empty = sum(not text.strip() for text in split.whole_texts)
    return {"rows": len(split), **kind.describe(split, names), "empty_texts": empty}


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
