"""What a classifier's predictions are worth: accuracy, per-class scores, confusion matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import (
    confusion_matrix,
    matthews_corrcoef,
    precision_recall_fscore_support,
)


def classification_metrics(
    labels: np.ndarray, predictions: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """Return what scikit-learn measures on integer arrays [num_examples].

    Keys: `examples`, `correct`, `accuracy`, `per_class` (name to precision, recall, f1,
    support), `macro_f1`, `weighted_f1`, `matthews` (correlation coefficient), of two classes
    also `f1` (that of the second), and `confusion_matrix` (rows are true labels, columns
    predictions). A label that is never predicted has precision 0.
    """
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
        "confusion_matrix": confusion_matrix(labels, predictions, labels=indices).tolist(),
    }
