"""Task folders: a labelled data set in one shape, with what is known about its origin.

A folder holds `train.parquet`, `validation.parquet` and, where the source has labels for
it, `test.parquet` (columns `text` string, `label` int32) and `task.json`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloze.errors import ClozeError
from cloze.files import atomic_path, read_json, require_file
from cloze.tasks.containment import ContainmentIndex, words_of
from cloze.tasks.labelled_rows import LabelledRow

SPLITS = ("train", "validation", "test")
_TEXTS_AT_ONCE = 1024
_SCHEMA = pa.schema([("text", pa.string()), ("label", pa.int32())])


@dataclass(frozen=True)
class TaskSplit:
    """Texts and their labels, int64 [num_rows], in the order of the source."""

    texts: list[str]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> "TaskSplit":
        """Return the rows with these numbers."""
        return TaskSplit([self.texts[row] for row in rows], self.labels[rows])


@dataclass(frozen=True)
class Task:
    """A task folder that has been opened; `facts` is the whole of its `task.json`."""

    folder: Path
    name: str
    labels: list[str]
    facts: dict[str, Any]

    def split_path(self, split: str) -> Path:
        """Return the parquet file of a split; raises `ClozeError` if there is none."""
        path = self.folder / f"{split}.parquet"
        if not path.is_file():
            there = ", ".join(s for s in SPLITS if (self.folder / f"{s}.parquet").is_file())
            raise ClozeError(f"{path}: no such file; this task has the splits: {there or 'none'}")
        return path

    def split(self, split: str) -> TaskSplit:
        """Read one split; raises `ClozeError` if it is missing, empty or not of this task."""
        path = self.split_path(split)
        try:
            table = pq.read_table(path, schema=_SCHEMA)
        except pa.ArrowException as error:
            raise ClozeError(f"{path}: not a task's split ({error}); prepare it again") from error
        labels = table["label"].to_numpy().astype(np.int64)
        if not labels.size:
            raise ClozeError(f"{path}: has no rows")
        if labels.min() < 0 or labels.max() >= len(self.labels):
            raise ClozeError(f"{path}: holds labels that task.json does not name; prepare it again")
        return TaskSplit(table["text"].to_pylist(), labels)

    def iterate_texts(self, split: str) -> Iterator[str]:
        """Yield the texts of one split, with a few in memory; raises as `split` does."""
        path = self.split_path(split)
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_TEXTS_AT_ONCE, columns=["text"]):
                    yield from batch.column("text").to_pylist()
        except (pa.ArrowException, KeyError) as error:
            raise ClozeError(f"{path}: not a task's split ({error}); prepare it again") from error


def load_task(folder: Path) -> Task:
    """Open a task folder; raises `ClozeError` if `task.json` is missing or incomplete."""
    path = folder / "task.json"
    facts = read_json(require_file(path))
    for key in ("name", "labels", "origin"):
        if key not in facts:
            raise ClozeError(f"{path}: has no key {key!r}; run prepare_task.py again")
    return Task(folder, facts["name"], list(facts["labels"]), facts)


def write_split(path: Path, split: TaskSplit) -> None:
    """Write one split as parquet, atomically; the same rows give the same bytes."""
    table = pa.table({"text": split.texts, "label": split.labels}, schema=_SCHEMA)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


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
    return TaskSplit([row.text for row in rows], labels)


def describe_split(split: TaskSplit, names: Sequence[str]) -> dict[str, Any]:
    """Return row counts of a split for `task.json`: in all, by label, without any word."""
    counts = Counter(split.labels.tolist())
    return {
        "rows": len(split),
        "rows_by_label": {name: counts[index] for index, name in enumerate(names)},
        "empty_texts": sum(not text.strip() for text in split.texts),
    }


def overlap_with_train(train: TaskSplit, other: TaskSplit) -> dict[str, int]:
    """Count the rows of `other` that stand in the training split.

    `equal`: word for word, case folded, as a whole row; `inside`: anywhere in a row.
    """
    train_rows = {tuple(words_of(text)) for text in train.texts}
    return {
        "equal": sum(tuple(words_of(text)) in train_rows for text in other.texts),
        "inside": int(ContainmentIndex(other.texts).find(train.texts).sum()),
    }


def _is_whole_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
