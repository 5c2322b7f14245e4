"""The evaluations of one classifier over several seeds, read back from their folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cloze.errors import ClozeError
from cloze.files import read_json
from cloze.tasks.prediction_files import Predictions, read_predictions
from cloze.tasks.statistics import Summary, summarise


@dataclass(frozen=True)
class SeedEvaluation:
    """One evaluation folder; `seed` is the seed's number as text, or the folder's name."""

    seed: str
    folder: Path
    metrics: dict[str, Any]
    predictions: Predictions


@dataclass(frozen=True)
class Evaluations:
    """One recipe's evaluations on the same rows, one for each seed."""

    seeds: list[SeedEvaluation]

    @property
    def texts(self) -> list[str]:
        """The rows' texts."""
        return self.seeds[0].predictions.texts

    @property
    def labels(self) -> np.ndarray:
        """True labels, int64 [num_examples]; of scores float64."""
        return self.seeds[0].predictions.labels

    @property
    def predictions(self) -> np.ndarray:
        """Predicted labels, [num_seeds, num_examples], of the type of `labels`."""
        return np.stack([seed.predictions.predictions for seed in self.seeds])

    @property
    def correct(self) -> np.ndarray:
        """bool [num_seeds, num_examples]: is the prediction the label?"""
        return np.stack([seed.predictions.correct for seed in self.seeds])

    @property
    def mean_probabilities(self) -> np.ndarray:
        """Probabilities averaged over the seeds, float64 [num_examples, num_labels]."""
        return np.mean([seed.predictions.probabilities for seed in self.seeds], axis=0, dtype=float)

    def values(self, *keys: str) -> dict[str, Any]:
        """Return one number of `metrics.json` for each seed, None where it was not recorded."""
        found: dict[str, Any] = {}
        for seed in self.seeds:
            value: Any = seed.metrics
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            found[seed.seed] = value
        return found

    def summary(self, *keys: str) -> Summary:
        """Mean, deviation and interval over the seeds of a number that every seed recorded."""
        return summarise(list(self.values(*keys).values()))


def read_evaluations(folders: Sequence[Path]) -> Evaluations:
    """Read evaluation folders that `evaluate.py` wrote, at least one.

    Raises `ClozeError` if two of them are of the same seed, or if they were not made
    on the same rows of the same task.
    """
    seeds: list[SeedEvaluation] = []
    for folder in folders:
        metrics = read_json(folder / "metrics.json")["metrics"]
        seed = metrics.get("finetuning", {}).get("seed")
        name = folder.as_posix() if seed is None else str(seed)
        if any(name == other.seed for other in seeds):
            raise ClozeError(f"{folder}: seed {name} was given twice; name each folder once")
        predictions = read_predictions(folder)
        if seeds:
            _require_same_rows(folder, seeds[0].predictions, predictions)
        seeds.append(SeedEvaluation(name, folder, metrics, predictions))
    return Evaluations(seeds)


def read_splits(folders: Sequence[Path]) -> dict[str, Evaluations]:
    """Read evaluation folders of one split or several: split to its evaluations, in their order.

    Raises as `read_evaluations` does.
    """
    by_split: dict[str, list[Path]] = {}
    for folder in folders:
        split = read_json(folder / "metrics.json")["metrics"]["split"]
        by_split.setdefault(split, []).append(folder)
    return {split: read_evaluations(found) for split, found in by_split.items()}


def require_comparable(ours: Evaluations, theirs: Evaluations, folder: Path) -> None:
    """Raise `ClozeError` naming `folder` unless both were evaluated on the same rows."""
    _require_same_rows(folder, ours.seeds[0].predictions, theirs.seeds[0].predictions)


def _require_same_rows(folder: Path, expected: Predictions, found: Predictions) -> None:
    same_texts = expected.texts == found.texts and expected.pairs == found.pairs
    if not same_texts or not np.array_equal(expected.labels, found.labels):
        raise ClozeError(
            f"{folder}: was evaluated on other rows than the other folders; "
            "run evaluate.py again on the same task and split"
        )
