"""What a task can be judged by."""

from collections.abc import Sequence

from cloze.errors import ClozeError

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
