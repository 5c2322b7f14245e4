"""What predicted scores are worth: correlations and errors."""

from typing import Any

import numpy as np
from scipy.stats import pearsonr, spearmanr


def regression_metrics(labels: np.ndarray, predictions: np.ndarray) -> dict[str, Any]:
    """Return what SciPy measures on float arrays [num_examples].

    Keys: `examples`, `pearson`, `spearman`, `mean_squared_error`, `mean_absolute_error`.
    What is constant correlates with nothing: 0, as scikit-learn has it for Matthews.
    """
    differences = predictions - labels
    varies = len(labels) > 1 and np.ptp(labels) > 0 and np.ptp(predictions) > 0
    return {
        "examples": len(labels),
        "pearson": float(pearsonr(labels, predictions).statistic) if varies else 0.0,
        "spearman": float(spearmanr(labels, predictions).statistic) if varies else 0.0,
        "mean_squared_error": float(np.mean(differences**2)),
        "mean_absolute_error": float(np.mean(np.abs(differences))),
    }
