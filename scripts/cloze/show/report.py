"""The report of one task as data: what the JSON holds, and text and page are written from."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from cloze.show.sources import (
    Sources,
    corpus_facts,
    dataset_facts,
    finetuning_facts,
    pretraining_facts,
    provenance,
    read_baselines,
    read_contamination,
    require_task,
)
from cloze.tasks.evaluations import Evaluations, require_comparable
from cloze.tasks.resampled_scores import paired_difference
from cloze.tasks.statistics import wilson_interval
from cloze.tasks.task import Task

_LOWEST = {"matthews": -1.0, "pearson": -1.0, "spearman": -1.0, "pearson_and_spearman": -1.0}
# What `task_metrics` holds besides single numbers that describe the predictions.
_NO_MEASURES = {"score", "examples", "correct", "truncated_texts"}
_MISTAKES = 10
_POINTS = 1_000


def build_report(name: str, sources: Sources, *others: Sources) -> dict[str, Any]:
    """Return the whole report of a split, and the scores on others; accuracies lie within 0 and 1.

    Raises `ClozeError` if the evaluations, the baselines and the task do not belong together.
    """
    evaluations, task = sources.evaluations, sources.task
    return {
        "name": name,
        "task": {
            "name": task.name,
            "origin": task.facts["origin"],
            "labels": task.labels,
            "is_regression": task.is_regression,
            "splits": task.facts["splits"],
            "hold_out": task.facts.get("hold_out"),
        },
        **_of_split(sources),
        "other_splits": {other.split: _of_split(other) for other in others},
        "model": None if sources.pretraining is None else sources.pretraining.as_posix(),
        "recipe": dict(sources.recipe),
        "corpus": corpus_facts(sources.documents),
        "dataset": dataset_facts(sources.dataset),
        "pretraining": pretraining_facts(sources.pretraining),
        "finetuning": finetuning_facts(evaluations),
        **_in_detail(evaluations, task),
        "checkpoints": _checkpoints(sources),
        "mistakes": _worst_mistakes(evaluations, task),
        "provenance": provenance(
            {
                "documents": sources.documents,
                "data set": sources.dataset,
                "encoder": sources.pretraining,
                "task": task.folder,
                "evaluation of the first seed": evaluations.seeds[0].folder,
            }
        ),
    }


def _of_split(sources: Sources) -> dict[str, Any]:
    """What is told of every split: scores, alone and beside baselines, and overlaps."""
    evaluations, task, split = sources.evaluations, sources.task, sources.split
    require_task(sources)
    beside = _baselines(sources, read_baselines(sources))
    return {
        "split": split,
        "examples": len(evaluations.labels),
        **_scores_of(evaluations, task),
        "measures": _measures(evaluations),
        "baselines": beside,
        "paired_difference": beside.get("no_pretraining", {}).get("paired_difference"),
        "overlap": {
            "with_training_split": task.facts["overlap_with_train"].get(split),
            "with_pretraining_text": read_contamination(sources),
        },
    }


def _in_detail(evaluations: Evaluations, task: Task) -> dict[str, Any]:
    if task.is_regression:
        return {"scatter": _scatter(evaluations)}
    matrices = [seed.metrics["confusion_matrix"] for seed in evaluations.seeds]
    return {
        "classification_report": _classification_report(evaluations, task.labels),
        # Counts averaged over the seeds; rows are true labels.
        "confusion_matrix": np.mean(matrices, axis=0).tolist(),
    }


def _score(evaluations: Evaluations, metric: str) -> dict[str, Any]:
    return {"metric": metric, **_over_seeds(evaluations, "score", _LOWEST.get(metric, 0.0))}


def _scores_of(evaluations: Evaluations, task: Task) -> dict[str, Any]:
    """Return `score` and, of classes, `accuracy` also with Wilson's interval over the rows."""
    found = {"score": _score(evaluations, task.metric)}
    if not task.is_regression:
        accuracy, rows = _over_seeds(evaluations, "accuracy", 0.0), len(evaluations.labels)
        wilson = wilson_interval(accuracy["mean"] * rows, rows)
        found["accuracy"] = {**accuracy, "wilson_ci95": list(wilson)}
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


def _measures(evaluations: Evaluations) -> dict[str, float]:
    """Return every single number that was measured, averaged over the seeds."""
    return {
        name: evaluations.summary(name).mean
        for name, value in evaluations.seeds[0].metrics.items()
        if isinstance(value, int | float) and name not in _NO_MEASURES
    }


def _classification_report(evaluations: Evaluations, labels: list[str]) -> dict[str, Any]:
    """Return precision, recall and F1 of each class, averaged over the seeds, with support."""

    def mean(*keys: str) -> float:
        return evaluations.summary(*keys).mean

    support = evaluations.seeds[0].metrics["per_class"]
    per_class = {
        label: {
            **{name: mean("per_class", label, name) for name in ("precision", "recall", "f1")},
            "support": support[label]["support"],
        }
        for label in labels
    }
    averages = {name: mean(name) for name in ("macro_f1", "weighted_f1")}
    return {"per_class": per_class, **averages}


def _baselines(sources: Sources, measured: Mapping[str, Any]) -> dict[str, Any]:
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
        **_scores_of(evaluations, sources.task),
        "finetuning": finetuning_facts(evaluations),
        "paired_difference": _difference(sources, evaluations.predictions),
    }


def _difference(sources: Sources, predictions: np.ndarray) -> dict[str, Any]:
    ours, task = sources.evaluations, sources.task
    difference = paired_difference(
        task.metric, ours.labels, ours.predictions, predictions, len(task.labels)
    )
    return {**asdict(difference), "ci95": list(difference.ci95)}


def _checkpoints(sources: Sources) -> list[dict[str, Any]]:
    """Return the score at each share of the pretraining budget, in percent, the last being 100.

    Raises `ClozeError` if one was evaluated on other rows.
    """
    if not sources.checkpoints:
        return []
    for evaluations in sources.checkpoints.values():
        require_comparable(sources.evaluations, evaluations, sources.task.folder)
    shares = {**sources.checkpoints, 100: sources.evaluations}
    return [
        {"percent": percent, "score": _score(shares[percent], sources.task.metric)}
        for percent in sorted(shares)
    ]


def _worst_mistakes(evaluations: Evaluations, task: Task) -> list[dict[str, Any]]:
    """Return the rows that are most confidently wrong, of scores the furthest off, worst first.

    Probabilities and predicted scores are averaged over the seeds. Keys: `row`, `text`,
    `text_pair` if the task has pairs, `label`, `prediction`; of classes also `probability` and
    `seeds_wrong`.
    """
    if task.is_regression:
        return _furthest_off(evaluations)
    return _most_confidently_wrong(evaluations, task.labels)


def _most_confidently_wrong(evaluations: Evaluations, labels: list[str]) -> list[dict[str, Any]]:
    probabilities = evaluations.mean_probabilities
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != evaluations.labels)
    confidence = probabilities[wrong, predicted[wrong]]
    worst = wrong[np.lexsort((wrong, -confidence))][:_MISTAKES]
    seeds_wrong = (~evaluations.correct).sum(axis=0)
    return [
        {
            **_texts(evaluations, row),
            "label": labels[evaluations.labels[row]],
            "prediction": labels[predicted[row]],
            "probability": float(probabilities[row, predicted[row]]),
            "seeds_wrong": int(seeds_wrong[row]),
        }
        for row in worst
    ]


def _furthest_off(evaluations: Evaluations) -> list[dict[str, Any]]:
    predicted = evaluations.predictions.mean(axis=0)
    errors = np.abs(predicted - evaluations.labels)
    worst = np.lexsort((np.arange(len(errors)), -errors))[:_MISTAKES]
    return [
        {
            **_texts(evaluations, row),
            "label": float(evaluations.labels[row]),
            "prediction": float(predicted[row]),
        }
        for row in worst
    ]


def _texts(evaluations: Evaluations, row: int) -> dict[str, Any]:
    found = {"row": int(row), "text": evaluations.texts[row]}
    pairs = evaluations.seeds[0].predictions.pairs
    return found if pairs is None else {**found, "text_pair": pairs[row]}


def _scatter(evaluations: Evaluations) -> list[list[float]]:
    """Return [true score, mean predicted score] of at most 1,000 rows, evenly spread."""
    predicted = evaluations.predictions.mean(axis=0)
    rows = np.linspace(0, len(predicted) - 1, min(_POINTS, len(predicted))).astype(int)
    pairs = np.stack([evaluations.labels[rows], predicted[rows]], axis=1)
    return [[float(true), float(found)] for true, found in pairs.round(4)]
