"""The one number that a task is judged by."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cloze.errors import ClozeError
from cloze.tasks.classification import classification_metrics
from cloze.tasks.regression import regression_metrics

# What each metric is the mean of; the means are GLUE's (Wang et al. 2019, §2).
_PARTS = {
    "accuracy": ("accuracy",),
    "f1": ("f1",),
    "macro_f1": ("macro_f1",),
    "matthews": ("matthews",),
    "accuracy_and_f1": ("accuracy", "f1"),
    "pearson": ("pearson",),
    "spearman": ("spearman",),
    "pearson_and_spearman": ("pearson", "spearman"),
}
METRICS = tuple(_PARTS)
_OF_SCORES = ("pearson", "spearman")
_OF_TWO_CLASSES = ("f1", "accuracy_and_f1")


def metric_parts(metric: str) -> tuple[str, ...]:
    """Return the measures that a metric is the mean of."""
    return _PARTS[metric]


def default_metric(is_regression: bool) -> str:
    """Return the metric of a task that names none."""
    return "pearson_and_spearman" if is_regression else "accuracy"


def check_metric(metric: str, labels: Sequence[str]) -> None:
    """Raise `ClozeError` if a task with these labels (one: a score) has no such metric."""
    if (len(labels) == 1) != metric.startswith(_OF_SCORES):
        kind = "scores" if len(labels) == 1 else "classes"
        raise ClozeError(f"--metric {metric}: does not measure {kind}; choose another")
    if metric in _OF_TWO_CLASSES and len(labels) != 2:
        raise ClozeError(
            f"--metric {metric}: F1 is that of the second of two labels, and there are "
            f"{len(labels)}; use macro_f1"
        )


def task_metrics(
    labels: np.ndarray, predictions: np.ndarray, names: Sequence[str], metric: str
) -> dict[str, Any]:
    """Return every measure of the predictions, `metric` itself and the task's `score` by it.

    One name is a regression; see `classification_metrics` and `regression_metrics`.
    """
    if len(names) == 1:
        measured = regression_metrics(labels, predictions)
    else:
        measured = classification_metrics(labels, predictions, names)
    return {"metric": metric, "score": headline(measured, metric), **measured}


def headline(measured: Mapping[str, Any], metric: str) -> float:
    """Return the value of `metric`, a mean of one or two of what was measured."""
    return float(np.mean([measured[part] for part in metric_parts(metric)]))
