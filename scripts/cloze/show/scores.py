"""What the evaluations of a report come to: scores over seeds, by class, beside baselines."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from cloze.show.sources import Sources
from cloze.show.stages import finetuning_facts
from cloze.tasks.evaluations import Evaluations, require_comparable
from cloze.tasks.resampled_scores import paired_difference
from cloze.tasks.statistics import wilson_interval
from cloze.tasks.task import Task

_LOWEST = {"matthews": -1.0, "pearson": -1.0, "spearman": -1.0, "pearson_and_spearman": -1.0}
# What `task_metrics` holds besides single numbers that describe the predictions.
_NO_MEASURES = {"score", "examples", "correct"}


def score(evaluations: Evaluations, metric: str) -> dict[str, Any]:
    """Return the headline score over the seeds: mean, std, ci95, per_seed."""
    return {"metric": metric, **_over_seeds(evaluations, "score", _LOWEST.get(metric, 0.0))}


def accuracy(evaluations: Evaluations) -> dict[str, Any]:
    """Return the accuracy over the seeds, also with Wilson's interval over the rows."""
    found = _over_seeds(evaluations, "accuracy", 0.0)
    rows = len(evaluations.labels)
    return {**found, "wilson_ci95": list(wilson_interval(found["mean"] * rows, rows))}


def scores_of(evaluations: Evaluations, task: Task) -> dict[str, Any]:
    """Return `score` and, of classes, `accuracy`."""
    found: dict[str, Any] = {"score": score(evaluations, task.metric)}
    if not task.is_regression:
        found["accuracy"] = accuracy(evaluations)
    return found


def _over_seeds(evaluations: Evaluations, key: str, lowest: float) -> dict[str, Any]:
    """A score has bounds, which a t interval does not know."""
    summary = evaluations.summary(key)
    bounds = summary.ci95
    return {
        "mean": summary.mean,
        "std": summary.std,
        "ci95": None if bounds is None else [max(lowest, bounds[0]), min(1.0, bounds[1])],
        "per_seed": evaluations.values(key),
    }


def measures(evaluations: Evaluations) -> dict[str, float]:
    """Return every single number that was measured, averaged over the seeds."""
    metrics = evaluations.seeds[0].metrics
    names = [
        name
        for name, value in metrics.items()
        if isinstance(value, int | float) and name not in _NO_MEASURES | {"truncated_texts"}
    ]
    return {name: evaluations.summary(name).mean for name in names}


def classification_report(evaluations: Evaluations, labels: list[str]) -> dict[str, Any]:
    """Return precision, recall and F1 of each class, averaged over the seeds, with support."""

    def mean(*keys: str) -> float:
        return evaluations.summary(*keys).mean

    per_class = {
        label: {
            **{name: mean("per_class", label, name) for name in ("precision", "recall", "f1")},
            "support": evaluations.seeds[0].metrics["per_class"][label]["support"],
        }
        for label in labels
    }
    return {
        "per_class": per_class,
        "macro_f1": mean("macro_f1"),
        "weighted_f1": mean("weighted_f1"),
    }


def confusion_matrix(evaluations: Evaluations) -> list[list[float]]:
    """Counts averaged over the seeds; rows are true labels."""
    matrices = [seed.metrics["confusion_matrix"] for seed in evaluations.seeds]
    return np.mean(matrices, axis=0).tolist()


def baselines(sources: Sources, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return each baseline's score and by how much the encoder is better, with an interval.

    `measured` is what baselines.py wrote. Raises `ClozeError` if the encoder without
    pretraining or the ceiling were evaluated on other rows.
    """
    found: dict[str, Any] = {}
    for name in ("majority", "tfidf_logistic_regression"):
        facts = dict(measured[name])
        predictions = np.array(facts.pop("predictions"))
        found[name] = {**facts, "paired_difference": _difference(sources, predictions[None])}
    if sources.scratch is not None:
        found["no_pretraining"] = _encoder(sources, sources.scratch)
    if sources.ceiling is not None:
        name, evaluations = sources.ceiling
        found["ceiling"] = {"name": name, **_encoder(sources, evaluations)}
    return found


def _encoder(sources: Sources, evaluations: Evaluations) -> dict[str, Any]:
    require_comparable(sources.evaluations, evaluations, sources.task.folder)
    return {
        **scores_of(evaluations, sources.task),
        "finetuning": finetuning_facts(evaluations),
        "paired_difference": _difference(sources, evaluations.predictions),
    }


def _difference(sources: Sources, predictions: np.ndarray) -> dict[str, Any]:
    ours, task = sources.evaluations, sources.task
    difference = paired_difference(
        task.metric, ours.labels, ours.predictions, predictions, len(task.labels)
    )
    return {**asdict(difference), "ci95": list(difference.ci95)}


def checkpoints(sources: Sources) -> list[dict[str, Any]]:
    """Return the score at each share of the pretraining budget, in percent, the last being 100.

    Raises `ClozeError` if one was evaluated on other rows.
    """
    if not sources.checkpoints:
        return []
    for evaluations in sources.checkpoints.values():
        require_comparable(sources.evaluations, evaluations, sources.task.folder)
    shares = {**sources.checkpoints, 100: sources.evaluations}
    return [
        {"percent": percent, "score": score(shares[percent], sources.task.metric)}
        for percent in sorted(shares)
    ]
