"""Classes and scores of texts or pairs: one label a row."""

import json
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from cloze.cli import log
from cloze.errors import ClozeError, shortened
from cloze.settings.tasks import METRICS_OF
from cloze.tasks.kind import (
    Baseline,
    LeftOut,
    Outcome,
    RowError,
    TaskKind,
    UnlabelledError,
    read_table,
)
from cloze.tasks.scores import check_metric, task_metrics
from cloze.tasks.task import Task, TaskSplit

NO_LABELS = frozenset(("-1", "-"))
"""What published files of classes write where a row has no label."""
_WHOLE_FLOAT = re.compile(r"(-?\d+)\.0+")
_FLAGS = {"false": 0, "true": 1}
_NAMES_SHOWN, _CHARACTERS_SHOWN = 20, 80
# More are an id, which is a name, and more than Python makes a number of.
_MOST_DIGITS = 18


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


class _Labelled(TaskKind):
    """What classes and scores share: tables with a column of labels."""

    _admits_floats: ClassVar[bool]

    def read(self, settings: Namespace, path: Path, left_out: LeftOut) -> Iterator[LabelledRow]:
        """Yield every row of a table that has a label."""
        names = (
            settings.text_column,
            settings.label_column,
            settings.text_pair_column,
            settings.group_column,
        )
        text, label, pair, group = names
        columns = [name for name in names if name is not None]
        for place, values in read_table(settings, path, columns, left_out):
            where = f"{path}: {place}"
            with left_out.row(path, place):
                yield LabelledRow(
                    place,
                    text_of(values[text], text, where),
                    self._label(values[label], settings, where),
                    None if pair is None else text_of(values[pair], pair, where),
                    None if group is None else group_of(values[group], group, where),
                )

    def _label(self, label: Any, settings: Namespace, where: str) -> str:
        if label is None or label != label or (isinstance(label, str) and not label.strip()):
            raise UnlabelledError(
                f"{where}: the label is missing; add it, or leave such rows out with "
                "--unlabelled drop"
            )
        if isinstance(label, bool):
            return str(label).lower()
        if isinstance(label, float) and label.is_integer() and not self._admits_floats:
            # Tables of numbers with a gap in one row hold floats in all.
            label = int(label)
        if isinstance(label, int) or (self._admits_floats and isinstance(label, float)):
            label = str(label)
        if not isinstance(label, str):
            raise ClozeError(
                f"{where}: column {settings.label_column!r} holds {shown(label)}, neither a text "
                "nor a whole number"
            )
        label = label.strip()
        if settings.unlabelled == "drop" and label in self._no_labels(settings):
            raise UnlabelledError(f"{where}: the label is {label!r}")
        return label

    def _no_labels(self, settings: Namespace) -> frozenset[str]:
        """Return what stands for a missing label where rows without one are left out."""
        return NO_LABELS - set(settings.labels or ())

    def check_metric(self, metric: str, names: Sequence[str]) -> None:
        """Raise `ClozeError` if a task with these labels cannot be judged by `metric`."""
        check_metric(metric, names)

    def baselines(
        self, task: Task, train: TaskSplit, splits: Mapping[str, TaskSplit], seed: int
    ) -> dict[str, Baseline]:
        """Return the majority class, or mean score, and TF-IDF with a linear model."""
        from cloze.tasks.baselines import majority_class, tfidf_logistic_regression

        return {
            "majority": majority_class(task, train, splits),
            "tfidf_logistic_regression": tfidf_logistic_regression(
                train, splits, seed, partial(labels_outcome, task)
            ),
        }


class Classes(_Labelled):
    """One of several classes a row; labels are their numbers, int64 [num_rows]."""

    metrics = METRICS_OF["classification"]
    _admits_floats = False

    def label_names(self, settings: Namespace, train: Sequence[LabelledRow]) -> list[str]:
        """Return the labels of the settings or else of the training rows, two or more."""
        names = list(settings.labels) if settings.labels else label_names(train)
        if len(set(names)) != len(names):
            raise ClozeError(f"--labels: a label is given twice ({', '.join(names)})")
        if len(names) < 2 and train:
            raise ClozeError(
                f"{shown_files(settings.train)}: a task needs two labels or more, this one has "
                f"{', '.join(names)}; check --label-column"
            )
        if not settings.labels and (odd := sorted(NO_LABELS & set(names))):
            log.warning(
                "%s: the label %r is taken for a class; if such rows have no label, leave them "
                "out with --unlabelled drop",
                shown_files(settings.train),
                odd[0],
            )
        return names

    def encode(self, path: Path, rows: Sequence[LabelledRow], names: Sequence[str]) -> TaskSplit:
        """Return the rows with labels as indices into `names`; see `encode_labels`."""
        return encode_labels(path, rows, names)

    def describe(self, split: TaskSplit, names: Sequence[str]) -> dict[str, Any]:
        """Return the number of rows of each label."""
        counts = Counter(split.labels.tolist())
        return {"rows_by_label": {name: counts[index] for index, name in enumerate(names)}}

    def labels_from_arrow(self, column: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
        """Return int64 [num_rows]."""
        labels = column.cast(pa.int32()).to_numpy().astype(np.int64)
        if labels.size and (labels.min() < 0 or labels.max() >= len(names)):
            raise ValueError("holds labels that task.json does not name")
        return labels


class Scores(_Labelled):
    """A number a row, float64 [num_rows]."""

    metrics = METRICS_OF["regression"]
    _admits_floats = True

    def _no_labels(self, settings: Namespace) -> frozenset[str]:
        return frozenset("-")

    def label_names(self, settings: Namespace, train: Sequence[LabelledRow]) -> list[str]:
        """Return the one name of the score."""
        if settings.labels and len(settings.labels) != 1:
            raise ClozeError("--labels: a task of scores has one, the score's name, or none")
        return list(settings.labels or ["score"])

    def encode(self, path: Path, rows: Sequence[LabelledRow], names: Sequence[str]) -> TaskSplit:
        """Return the rows with labels as numbers; see `encode_scores`."""
        return encode_scores(path, rows)

    def describe(self, split: TaskSplit, names: Sequence[str]) -> dict[str, Any]:
        """Return range and mean of the scores."""
        low, high, mean = split.labels.min(), split.labels.max(), split.labels.mean()
        return {"scores": {"min": float(low), "max": float(high), "mean": float(mean)}}

    def labels_from_arrow(self, column: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
        """Return float64 [num_rows]."""
        return column.cast(pa.float64()).to_numpy().astype(np.float64)


def labels_outcome(
    task: Task, labels: np.ndarray, predictions: np.ndarray, probabilities: np.ndarray | None = None
) -> Outcome:
    """Return what predicted classes or scores [num_rows] are worth.

    probabilities: float32 [num_rows, num_labels], 0 labels for a score; None: not kept.
    """
    measured = task_metrics(labels, predictions, task.labels, task.metric)
    return Outcome(measured, label_columns(labels, predictions, probabilities))


def label_columns(
    labels: np.ndarray, predictions: np.ndarray, probabilities: np.ndarray | None = None
) -> dict[str, pa.Array]:
    """Return what is kept of predicted classes or scores; see `labels_outcome`."""
    number = pa.float64() if labels.dtype.kind == "f" else pa.int32()
    columns = {"label": pa.array(labels, number), "prediction": pa.array(predictions, number)}
    if probabilities is not None:
        columns["probabilities"] = pa.array(list(probabilities), pa.list_(pa.float32()))
    return columns


def text_of(value: Any, column: str, where: str) -> str:
    """Return a cell that must hold text; raises `ClozeError` naming `where` and the column."""
    if not isinstance(value, str):
        raise ClozeError(f"{where}: column {column!r} holds {shown(value)}, no text")
    return value


def group_of(value: Any, column: str, where: str) -> str:
    """Return a cell that must name a group; raises `ClozeError` naming `where` and the column."""
    if not isinstance(value, str | int) or not str(value).strip():
        raise ClozeError(
            f"{where}: column {column!r} holds {shown(value)}, which names no group; a text or a "
            "whole number does"
        )
    return str(value).strip()


def listed(names: Sequence[str]) -> str:
    """Return the names of labels for a message: the first ones, where there are many."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def shown(value: Any) -> str:
    """Return the start of a cell as JSON writes it."""
    try:
        text = json.dumps(value, default=repr)
    except RecursionError:
        text = shortened(value)
    return text if len(text) <= _CHARACTERS_SHOWN else f"{text[:_CHARACTERS_SHOWN]}…"


def label_names(rows: Iterable[LabelledRow]) -> list[str]:
    """Return the distinct labels, by value if all are whole numbers, else by alphabet.

    Where some are written as whole numbers are in a column of floats, 1.0, all are those numbers.
    """
    found = {row.label for row in rows}
    whole = {_as_whole(label) for label in found}
    if all(map(is_whole_number, whole)):
        return sorted(whole, key=lambda label: (int(label), label))
    return sorted(found)


def label_indices(names: Sequence[str]) -> dict[str, int]:
    """Return the index of each label as a file may write it: a name or, if none is a number, it."""
    index_of = {name: index for index, name in enumerate(names)}
    if not any(is_whole_number(name) for name in names):
        index_of |= {str(index): index for index in range(len(names))}
    if len(names) == 2 and not any(name.lower() in _FLAGS for name in names):
        for flag, number in _FLAGS.items():
            index_of |= dict.fromkeys((flag, flag.title(), flag.upper()), number)
    return index_of


def _as_whole(label: str) -> str:
    """Return a whole number that is written as a float as such, anything else as it is."""
    found = _WHOLE_FLOAT.fullmatch(label)
    return found[1] if found else label


def index_of_label(label: str, index_of: Mapping[str, int]) -> int | None:
    """Return the index of a label as it is written, by `label_indices`; None: there is none."""
    return index_of.get(label, index_of.get(_as_whole(label)))


def shown_files(files: Sequence[Path]) -> str:
    """Return the names of files for a message."""
    return ", ".join(map(str, files))


def encode_labels(path: Path, rows: Sequence[LabelledRow], names: Sequence[str]) -> TaskSplit:
    """Return the rows with labels as indices into `names`.

    A label is one of the names; where no name is a number, a whole number is taken as
    an index into the names, which is how most published tasks store their labels.
    Raises `ClozeError` naming file, row, label and the known labels, or if `path`
    gave no rows.
    """
    _require_labels(path, rows)
    index_of = label_indices(names)
    labels = np.empty(len(rows), dtype=np.int64)
    for position, row in enumerate(rows):
        index = index_of_label(row.label, index_of)
        if index is None:
            raise RowError(
                path,
                row.place,
                f"label {shortened(row.label)} is not one of the task's labels ({listed(names)}); "
                "mend the row or declare the label with --labels"
                + (", or leave such rows out with --unlabelled drop" * (row.label in NO_LABELS)),
            )
        labels[position] = index
    return _split(rows, labels)


def encode_scores(path: Path, rows: Sequence[LabelledRow]) -> TaskSplit:
    """Return the rows with labels as numbers.

    Raises `ClozeError` naming file, row and label if one is none, or if there are no rows.
    """
    _require_labels(path, rows)
    scores = np.empty(len(rows), dtype=np.float64)
    for position, row in enumerate(rows):
        try:
            scores[position] = float(row.label)
        except ValueError:
            scores[position] = np.nan
        if not np.isfinite(scores[position]):
            raise RowError(
                path,
                row.place,
                f"label {shortened(row.label)} is not a number, which --regression asks for; "
                "mend the row or leave --regression out",
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


def is_whole_number(text: str) -> bool:
    """Is this how a whole number is written?"""
    digits = text.removeprefix("-")
    return digits.isdecimal() and len(digits) <= _MOST_DIGITS


def _require_labels(path: Path, rows: Sequence[LabelledRow]) -> None:
    if not rows:
        raise ClozeError(f"{path}: has no rows")
    # Benchmarks such as GLUE publish test rows with -1 for a label.
    if all(row.label == "-1" for row in rows):
        raise ClozeError(
            f"{path}: no row has a label (all are -1), so nothing can be measured there; leave "
            "the file out"
        )
