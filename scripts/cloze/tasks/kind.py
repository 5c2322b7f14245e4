"""How one kind of task is read from files, kept as parquet and judged.

A kind is a class in a module of `cloze.tasks`, named in `settings.tasks.TASK_KINDS`, and an
objective of the same name in `cloze.objectives`, which trains it.
"""

import contextlib
import importlib
from abc import ABC, abstractmethod
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol

import numpy as np
import pyarrow as pa

from cloze.corpus.tables import Dialect, read_values
from cloze.errors import ClozeError
from cloze.fetch.archives import open_members
from cloze.settings.tasks import TASK_FORMATS, TASK_KINDS

if TYPE_CHECKING:
    from cloze.tasks.task import Task, TaskSplit


TABLES = ("csv", "tsv", "jsonl", "parquet")
"""The formats of tables, of `settings.tasks.TASK_FORMATS`."""

_FORMATS_BY_SUFFIX = {"json": ("squad", "jsonl"), "ndjson": ("jsonl",)}
"""What a file may be whose suffix is no format: the first one that the kind of task reads."""


class Row(Protocol):
    """One row of a source file; `place` says where, as a person would look it up."""

    @property
    def place(self) -> str:
        """Its line or row."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What predictions of a split are worth, whoever made them.

    `metrics`: the task's `metric`, its `score` by it (higher is better, at most 1) and every other
    measure. `columns`: what is kept of each row, `label` and `prediction` among them.
    `statistics`: float64 [num_rows, K], numbers whose sums over any rows give the score by
    `scores.score_of_sums`, so that rows can be drawn again; None for classes and scores, which
    `resampled_scores` counts from labels and predictions.
    """

    metrics: dict[str, Any]
    columns: dict[str, pa.Array]
    statistics: np.ndarray | None = None


@dataclass(frozen=True)
class Baseline:
    """What a baseline gives on each evaluation split, and facts for a report."""

    outcomes: dict[str, Outcome]
    facts: dict[str, Any] = field(default_factory=dict)


class RowError(ClozeError):
    """What is wrong with one row alone; `place` says which."""

    def __init__(self, path: Path, place: str, message: str) -> None:
        super().__init__(f"{path}: {place}: {message}")
        self.place = place


class UnlabelledError(ClozeError):
    """A row has no label."""


class LeftOut:
    """The rows of a task's files that are left out, as its settings allow.

    `unlabelled`: how many rows without a label, by file, where `unlabelled` is drop; `bad`: of
    each row that could not be read its `file`, `place` and the `reason`, up to `max_bad_rows`.
    """

    def __init__(self, settings: Namespace) -> None:
        self._drops_unlabelled = settings.unlabelled == "drop"
        self._max_bad_rows = settings.max_bad_rows
        self.unlabelled = Counter[Path]()
        self.bad: list[dict[str, str]] = []

    @contextlib.contextmanager
    def row(self, path: Path, place: str) -> Iterator[None]:
        """Leave out a row whose reading, in the block, raises `ClozeError`, or raise it."""
        try:
            yield
        except UnlabelledError:
            if not self._drops_unlabelled:
                raise
            self.unlabelled[path] += 1
        except ClozeError as error:
            self.add(path, place, error)

    def add(self, path: Path, place: str, error: ClozeError) -> None:
        """Take note of a bad row; raises its error once there are more than are allowed."""
        if len(self.bad) >= self._max_bad_rows:
            if not self._max_bad_rows:
                raise error
            raise ClozeError(
                f"{error}; it is bad row {len(self.bad) + 1}, and --max-bad-rows allows "
                f"{self._max_bad_rows}"
            ) from error
        self.bad.append({"file": str(path), "place": place, "reason": str(error)})


class TaskKind(ABC):
    """One kind of task."""

    metrics: ClassVar[tuple[str, ...]]
    """What it can be judged by."""
    columns: ClassVar[Mapping[str, pa.DataType]] = {}
    """What a split holds of each row besides text, label, second text and group."""
    joins_first_texts: ClassVar[bool] = True
    """Whether a hold-out keeps rows with the same first text together."""

    @abstractmethod
    def read(self, settings: Namespace, path: Path, left_out: LeftOut) -> Iterator[Row]:
        """Yield every row of a file; raises `ClozeError` naming file and row at fault."""

    @abstractmethod
    def label_names(self, settings: Namespace, train: Sequence[Any]) -> list[str]:
        """Return the task's labels in order; raises `ClozeError` if they make no task."""

    @abstractmethod
    def encode(self, path: Path, rows: Sequence[Any], names: Sequence[str]) -> "TaskSplit":
        """Return the rows with labels as numbers.

        Raises `RowError` for a row with a label that the task has not.
        """

    @abstractmethod
    def describe(self, split: "TaskSplit", names: Sequence[str]) -> dict[str, Any]:
        """Return what `task.json` says of a split besides its rows and empty texts."""

    @abstractmethod
    def labels_from_arrow(self, column: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
        """Return the labels of a split as they are trained on; `ValueError` if they cannot be."""

    @abstractmethod
    def baselines(
        self, task: "Task", train: "TaskSplit", splits: Mapping[str, "TaskSplit"], seed: int
    ) -> dict[str, Baseline]:
        """Fit on the training split; return what each baseline gives on the others, by name."""

    def default_metric(self, settings: Namespace, names: Sequence[str]) -> str:
        """Return the metric of a task that names none."""
        return self.metrics[0]

    def check_metric(self, metric: str, names: Sequence[str]) -> None:
        """Raise `ClozeError` if a task with these labels cannot be judged by `metric`."""
        if metric not in self.metrics:
            raise ClozeError(
                f"--metric {metric}: does not measure this kind of task; use one of "
                f"{', '.join(self.metrics)}"
            )

    def facts(self, settings: Namespace) -> dict[str, Any]:
        """Return what else `task.json` says of the task once all files are read."""
        return {}


def kind_of(name: str) -> TaskKind:
    """Return the kind of task with this name in `TASK_KINDS`."""
    module, _, attribute = TASK_KINDS[name].partition(":")
    kind: type[TaskKind] = getattr(importlib.import_module(module), attribute)
    return kind()


def read_table(
    settings: Namespace, path: Path, columns: Sequence[str], left_out: LeftOut
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place of each row of a table and its values by column, null as None.

    `path`: CSV, TSV, JSONL or parquet by `settings.format` or the name's end, also compressed.
    Raises `ClozeError` naming file and row.
    """
    dialect = Dialect(settings.header, settings.delimiter, settings.quoting)
    on_bad_row = partial(left_out.add, path)
    for kind, stream in open_single(settings, path, TABLES):
        rows = read_values(stream, str(path), kind, columns, dialect, on_bad_row)
        for place, values in rows:
            yield place, dict(zip(columns, values, strict=True))


def open_single(
    settings: Namespace, path: Path, formats: Sequence[str]
) -> Iterator[tuple[str, BinaryIO]]:
    """Yield, once, the format and the stream of a file or of an archive of one file.

    Raises `ClozeError` for a format that is none of `formats`.
    """
    members: list[str] = []
    for name, stream in open_members(path):
        members.append(name)
        if len(members) > 1:
            raise ClozeError(
                f"{path}: holds more than one file ({', '.join(members)}); unpack it and name one"
            )
        kind = settings.format or _format_of(path, name, formats)
        if kind not in formats:
            raise ClozeError(
                f"{path}: {kind} is no format of this kind of task; it is read from "
                f"{', '.join(formats)}"
            )
        if not settings.header and kind not in ("csv", "tsv"):
            raise ClozeError(f"{path}: {kind} always names its columns; drop --no-header")
        if settings.delimiter is not None and kind not in ("csv", "tsv"):
            raise ClozeError(f"{path}: {kind} has no delimiter; drop --delimiter")
        yield kind, stream


def _format_of(path: Path, name: str, formats: Sequence[str]) -> str:
    suffix = Path(name).suffix.lower().removeprefix(".")
    possible = _FORMATS_BY_SUFFIX.get(suffix, (suffix,))
    kind = next((format for format in possible if format in formats), possible[0])
    if kind not in TASK_FORMATS:
        raise ClozeError(
            f"{path}: the name does not say what the file is; give --format ({', '.join(formats)})"
        )
    return kind
