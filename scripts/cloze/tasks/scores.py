"""The one number that a task is judged by, and all that is measured beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cloze.tasks.classification import classification_metrics
from cloze.tasks.metric_names import metric_parts
from cloze.tasks.regression import regression_metrics


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
