"""What predictions are worth: every measure, and the one number that a task is judged by.

scikit-learn and SciPy are imported where something is measured: scripts that only ask which
metrics there are start a second earlier.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cloze.errors import ClozeError
from cloze.settings.tasks import METRICS_OF_TWO_CLASSES

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
# Of more labels nobody reads a table of all pairs, whose size is their square.
MATRIX_LABELS = 30
_OF_SCORES = ("pearson", "spearman")


def metric_parts(metric: str) -> tuple[str, ...]:
    """Return the measures that a metric is the mean of."""
    return _PARTS[metric]


def score_of_sums(metric: str, sums: np.ndarray) -> np.ndarray:
    """Return the score of each draw of rows from the sums of their statistics [R, K], float64 [R].

    `entity_f1` and `micro_f1` sum what is right, predicted and true; `macro_f1` these three for
    each label, one label after the other; any other metric its value and 1.
    """
    if metric in ("entity_f1", "micro_f1", "macro_f1"):
        right, predicted, true = (sums[:, part::3] for part in range(3))
        f1: np.ndarray = 2 * right / np.maximum(predicted + true, 1)
        return f1.mean(axis=1)
    return np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)


def check_metric(metric: str, labels: Sequence[str]) -> None:
    """Raise `ClozeError` if a task with these labels (one: a score) has no such metric."""
    if (len(labels) == 1) != metric.startswith(_OF_SCORES):
        kind = "scores" if len(labels) == 1 else "classes"
        raise ClozeError(f"--metric {metric}: does not measure {kind}; choose another")
    if metric in METRICS_OF_TWO_CLASSES and len(labels) != 2:
        raise ClozeError(
            f"--metric {metric}: F1 is that of the second of two labels, and there are "
            f"{len(labels)}; use macro_f1"
        )


def classification_metrics(
    labels: np.ndarray, predictions: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """Return what scikit-learn measures on integer arrays [num_examples].

    Keys: `examples`, `correct`, `accuracy`, `per_class` (name to precision, recall, f1,
    support), `macro_f1`, `weighted_f1`, `matthews` (correlation coefficient), of two classes
    also `f1` (that of the second), and, of up to `MATRIX_LABELS`, `confusion_matrix` (rows are
    true labels, columns predictions). A label that is never predicted has precision 0.
    """
    from sklearn.metrics import (
        confusion_matrix,
        matthews_corrcoef,
        precision_recall_fscore_support,
    )

    indices = list(range(len(names)))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions, labels=indices, zero_division=0.0
    )
    correct = int((labels == predictions).sum())
    return {
        "examples": len(labels),
        "correct": correct,
        "accuracy": correct / len(labels),
        "macro_f1": float(f1.mean()),
        "weighted_f1": float(np.average(f1, weights=support)),
        "matthews": float(matthews_corrcoef(labels, predictions)),
        **({"f1": float(f1[1])} if len(names) == 2 else {}),
        "per_class": {
            name: {
                "precision": float(precision[index]),
                "recall": float(recall[index]),
                "f1": float(f1[index]),
                "support": int(support[index]),
            }
            for index, name in enumerate(names)
        },
        **(
            {"confusion_matrix": confusion_matrix(labels, predictions, labels=indices).tolist()}
            if len(names) <= MATRIX_LABELS
            else {}
        ),
    }


def regression_metrics(labels: np.ndarray, predictions: np.ndarray) -> dict[str, Any]:
    """Return what SciPy measures on float arrays [num_examples].

    Keys: `examples`, `pearson`, `spearman`, `mean_squared_error`, `mean_absolute_error`.
    What is constant correlates with nothing: 0, as scikit-learn has it for Matthews.
    """
    from scipy.stats import pearsonr, spearmanr

    differences = predictions - labels
    varies = len(labels) > 1 and np.ptp(labels) > 0 and np.ptp(predictions) > 0
    return {
        "examples": len(labels),
        "pearson": float(pearsonr(labels, predictions).statistic) if varies else 0.0,
        "spearman": float(spearmanr(labels, predictions).statistic) if varies else 0.0,
        "mean_squared_error": float(np.mean(differences**2)),
        "mean_absolute_error": float(np.mean(np.abs(differences))),
    }


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
    score = float(np.mean([measured[part] for part in metric_parts(metric)]))
    return {"metric": metric, "score": score, **measured}
