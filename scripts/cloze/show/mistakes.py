"""The rows that an encoder gets most wrong, and scores against predictions."""

from typing import Any

import numpy as np

from cloze.tasks.evaluations import Evaluations
from cloze.tasks.task import Task

MISTAKES = 10
_POINTS = 1_000


def worst_mistakes(evaluations: Evaluations, task: Task) -> list[dict[str, Any]]:
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
    worst = wrong[np.lexsort((wrong, -confidence))][:MISTAKES]
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
    worst = np.lexsort((np.arange(len(errors)), -errors))[:MISTAKES]
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


def scatter(evaluations: Evaluations) -> list[list[float]]:
    """Return [true score, mean predicted score] of at most 1,000 rows, evenly spread."""
    predicted = evaluations.predictions.mean(axis=0)
    rows = np.linspace(0, len(predicted) - 1, min(_POINTS, len(predicted))).astype(int)
    pairs = np.stack([evaluations.labels[rows], predicted[rows]], axis=1)
    return [[float(true), float(found)] for true, found in pairs.round(4)]
