"""Several labels at once: each row has any number of the task's labels."""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from cloze.errors import ClozeError, shortened
from cloze.settings.tasks import METRICS_OF
from cloze.tasks.kind import Baseline, LeftOut, Outcome, RowError, TaskKind, read_table
from cloze.tasks.labels import (
    group_of,
    is_whole_number,
    label_indices,
    listed,
    shown,
    shown_files,
    text_of,
)
from cloze.tasks.task import Task, TaskSplit

_YES = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False, "": False}


class RowOfSeveral(NamedTuple):
    """One row of a source file."""

    place: str
    text: str
    labels: list[str]
    pair: str | None = None
    group: str | None = None


class LabelSets(TaskKind):
    """Several labels a row; labels are bool [num_rows, num_labels]."""

    metrics = METRICS_OF["multi_label_classification"]

    def read(self, settings: Namespace, path: Path, left_out: LeftOut) -> Iterator[RowOfSeveral]:
        """Yield every row of a table; labels are a column of lists or a column each."""
        text, pair, group = (
            settings.text_column,
            settings.text_pair_column,
            settings.group_column,
        )
        of_labels = settings.label_columns or [settings.label_column]
        columns = [name for name in (text, pair, group, *of_labels) if name is not None]
        for place, values in read_table(settings, path, columns, left_out):
            where = f"{path}: {place}"
            with left_out.row(path, place):
                if settings.label_columns:
                    labels = [name for name in of_labels if _flag(values[name], name, where)]
                else:
                    labels = self._listed(values[of_labels[0]], settings, where)
                yield RowOfSeveral(
                    place,
                    text_of(values[text], text, where),
                    labels,
                    None if pair is None else text_of(values[pair], pair, where),
                    None if group is None else group_of(values[group], group, where),
                )

    def _listed(self, value: Any, settings: Namespace, where: str) -> list[str]:
        """Return the labels that a cell lists, or has a 1 for where it has one for each label."""
        column = settings.label_column
        if value is None:
            return []
        if isinstance(value, str):
            parts = (part.strip() for part in value.split(settings.label_separator))
            return [part for part in parts if part]
        if not isinstance(value, list):
            raise ClozeError(
                f"{where}: column {column!r} holds {shown(value)}, no list of labels; a task with "
                "one label a row is objective classification"
            )
        names = settings.labels or []
        if len(value) == len(names) and all(str(part) in _YES and part != "" for part in value):
            given = [_flag(part, column, where) for part in value]
            return [name for name, has_it in zip(names, given, strict=True) if has_it]
        for part in value:
            if not isinstance(part, str | int) or isinstance(part, bool):
                raise ClozeError(f"{where}: column {column!r} holds {shown(part)}, no label")
        return [str(part).strip() for part in value]

    def label_names(self, settings: Namespace, train: Sequence[RowOfSeveral]) -> list[str]:
        """Return the labels of the settings or else of the training rows, sorted."""
        found = {label for row in train for label in row.labels}
        if settings.label_columns:
            names = list(settings.label_columns)
        elif settings.labels:
            names = list(settings.labels)
        else:
            whole = all(map(is_whole_number, found))
            names = sorted(found, key=lambda name: (int(name), name) if whole else (0, name))
        if len(set(names)) != len(names):
            raise ClozeError(f"--labels: a label is given twice ({', '.join(names)})")
        if len(names) < 2 and train:
            raise ClozeError(
                f"{shown_files(settings.train)}: a task of several labels needs two or more, this "
                f"one has {', '.join(names) or 'none'}; check --label-column and --label-separator"
            )
        return names

    def encode(self, path: Path, rows: Sequence[RowOfSeveral], names: Sequence[str]) -> TaskSplit:
        """Return the rows with a column of flags for each label."""
        if not rows:
            raise ClozeError(f"{path}: has no rows")
        index_of = label_indices(names)
        labels = np.zeros((len(rows), len(names)), dtype=bool)
        for number, row in enumerate(rows):
            for label in row.labels:
                if label not in index_of:
                    raise RowError(
                        path,
                        row.place,
                        f"label {shortened(label)} is not one of the task's labels "
                        f"({listed(names)}); mend the row, declare the label with --labels, or say "
                        "with --label-separator what stands between labels",
                    )
                labels[number, index_of[label]] = True
        pairs = [row.pair for row in rows if row.pair is not None]
        groups = [row.group for row in rows if row.group is not None]
        return TaskSplit(
            [row.text for row in rows],
            labels,
            pairs if len(pairs) == len(rows) else None,
            groups if len(groups) == len(rows) else None,
        )

    def describe(self, split: TaskSplit, names: Sequence[str]) -> dict[str, Any]:
        """Return the rows that have each label, and those that have none."""
        counts = split.labels.sum(axis=0).tolist()
        return {
            "rows_by_label": dict(zip(names, counts, strict=True)),
            "rows_without_label": int((~split.labels.any(axis=1)).sum()),
        }

    def labels_from_arrow(self, column: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
        """Return bool [num_rows, num_labels]."""
        labels = np.zeros((len(column), len(names)), dtype=bool)
        for number, found in enumerate(column.cast(pa.list_(pa.int32())).to_pylist()):
            if found and (min(found) < 0 or max(found) >= len(names)):
                raise ValueError("holds labels that task.json does not name")
            labels[number, found] = True
        return labels

    def baselines(
        self, task: Task, train: TaskSplit, splits: Mapping[str, TaskSplit], seed: int
    ) -> dict[str, Baseline]:
        """Return the most frequent labels, and TF-IDF with a logistic regression a label."""
        from cloze.tasks.baselines import tfidf_logistic_regression

        shares = train.labels.mean(axis=0)
        # The label sets of all rows alike: those of most rows, or the most frequent one.
        usual = shares >= min(0.5, shares.max())
        judge = partial(label_sets_outcome, task)
        outcomes = {
            name: judge(split.labels, np.tile(usual, (len(split), 1)))
            for name, split in splits.items()
        }
        facts = {"labels": [task.labels[index] for index in np.flatnonzero(usual)]}
        return {
            "majority": Baseline(outcomes, facts),
            "tfidf_logistic_regression": tfidf_logistic_regression(train, splits, seed, judge),
        }


def _flag(value: Any, column: str, where: str) -> bool:
    found = _YES.get(str(value).strip().lower() if value is not None else "")
    if found is None:
        raise ClozeError(f"{where}: column {column!r} holds {shown(value)}, neither 0 nor 1")
    return found


def label_sets_outcome(
    task: Task,
    labels: np.ndarray,
    predictions: np.ndarray,
    probabilities: np.ndarray | None = None,
) -> Outcome:
    """Return what predicted sets of labels are worth, as scikit-learn measures them.

    labels, predictions: bool [num_rows, num_labels]; probabilities: float32 of that shape, kept
    where given. `metrics`: `micro_f1`, `macro_f1` (labels that no row has and nobody predicts
    count 0), `exact_match` and, `per_type`, precision, recall and F1 of each label with `support`.
    """
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions, average=None, zero_division=0.0
    )
    micro = precision_recall_fscore_support(labels, predictions, average="micro", zero_division=0.0)
    metrics: dict[str, Any] = {
        "examples": len(labels),
        "micro_f1": float(micro[2]),
        "micro_precision": float(micro[0]),
        "micro_recall": float(micro[1]),
        "macro_f1": float(f1.mean()),
        "exact_match": float((labels == predictions).all(axis=1).mean()),
        "per_type": {
            name: {
                "precision": float(precision[index]),
                "recall": float(recall[index]),
                "f1": float(f1[index]),
                "support": int(support[index]),
            }
            for index, name in enumerate(task.labels)
        },
    }
    # Of each label, or of all together: right, predicted, true.
    counts = np.stack([labels & predictions, predictions, labels], axis=2).astype(np.float64)
    if task.metric == "micro_f1":
        counts = counts.sum(axis=1, keepdims=True)
    kind = pa.list_(pa.int32())
    columns = {
        "label": pa.array([np.flatnonzero(row) for row in labels], kind),
        "prediction": pa.array([np.flatnonzero(row) for row in predictions], kind),
    }
    if probabilities is not None:
        columns["probabilities"] = pa.array(list(probabilities), pa.list_(pa.float32()))
    metrics = {"metric": task.metric, "score": metrics[task.metric], **metrics}
    return Outcome(metrics, columns, counts.reshape(len(labels), -1))
