"""What a classifier predicted for every text of a split: the files, and several seeds' together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloze.errors import ClozeError
from cloze.files import atomic_path, read_json, require_file
from cloze.tasks.lineage import Lineage, lineage_of, require_one_recipe
from cloze.tasks.statistics import Summary, summarise
from cloze.tasks.task import TaskSplit


@dataclass(frozen=True)
class Predictions:
    """What one model said of one split; rows in the split's order.

    labels, predictions: int64 [num_texts], or float64 where the task is a score;
    probabilities: float32 [num_texts, num_labels], 0 labels for a score. `pairs`: the
    second text of each row, if the task has one.
    """

    texts: list[str]
    labels: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray
    pairs: list[str] | None = None

    @property
    def correct(self) -> np.ndarray:
        """bool [num_texts]: is the prediction the label?"""
        return self.labels == self.predictions


def write_predictions(
    path: Path, split: TaskSplit, predictions: np.ndarray, probabilities: np.ndarray
) -> None:
    """Write one row per text, atomically: row, text, label, prediction, probabilities.

    A task of pairs has the column `text_pair` too; a task of scores has no probabilities.
    """
    number = pa.float64() if split.labels.dtype.kind == "f" else pa.int32()
    columns: list[tuple[str, pa.DataType, Any]] = [
        ("row", pa.int32(), np.arange(len(split))),
        ("text", pa.string(), split.texts),
        ("text_pair", pa.string(), split.pairs),
        ("label", number, split.labels),
        ("prediction", number, predictions),
        ("probabilities", pa.list_(pa.float32()), list(probabilities)),
    ]
    columns = [column for column in columns if column[2] is not None]
    table = pa.table(
        [pa.array(values, kind) for _, kind, values in columns],
        names=[name for name, _, _ in columns],
    )
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_predictions(folder: Path) -> Predictions:
    """Read `predictions.parquet` of an evaluation folder; raises `ClozeError` if it is broken."""
    path = require_file(folder / "predictions.parquet")
    try:
        table = pq.read_table(path)
        is_score = pa.types.is_floating(table.schema.field("label").type)
        kind = np.float64 if is_score else np.int64
        return Predictions(
            table["text"].to_pylist(),
            table["label"].to_numpy().astype(kind),
            table["prediction"].to_numpy().astype(kind),
            np.array(table["probabilities"].to_pylist(), dtype=np.float32),
            table["text_pair"].to_pylist() if "text_pair" in table.column_names else None,
        )
    except (pa.ArrowException, KeyError) as error:
        raise ClozeError(f"{path}: not a file of predictions ({error}); evaluate again") from error


@dataclass(frozen=True)
class SeedEvaluation:
    """One evaluation folder; `seed` is the seed's number as text, or the folder's name."""

    seed: str
    folder: Path
    content: dict[str, Any]
    """Its `metrics.json`."""
    predictions: Predictions

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured."""
        found: dict[str, Any] = self.content["metrics"]
        return found


@dataclass(frozen=True)
class Evaluations:
    """One recipe's evaluations on the same rows, one for each seed."""

    seeds: list[SeedEvaluation]

    @property
    def lineage(self) -> Lineage:
        """What all of them were made of, their seeds apart."""
        return lineage_of(self.seeds[0].content)

    @property
    def texts(self) -> list[str]:
        """The rows' texts."""
        return self.seeds[0].predictions.texts

    @property
    def labels(self) -> np.ndarray:
        """True labels, int64 [num_examples]; of scores float64."""
        return self.seeds[0].predictions.labels

    @property
    def num_labels(self) -> int:
        """The task's classes, whether these rows hold them or not; 1 for scores."""
        return max(1, self.seeds[0].predictions.probabilities.shape[1])

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
    on the same rows of the same task, with the same classes, by one recipe from what lies
    there now (see `cloze.tasks.lineage`).
    """
    seeds: list[SeedEvaluation] = []
    for folder in folders:
        content = read_json(folder / "metrics.json")
        seed = content["metrics"].get("finetuning", {}).get("seed")
        name = folder.as_posix() if seed is None else str(seed)
        if any(name == other.seed for other in seeds):
            raise ClozeError(f"{folder}: seed {name} was given twice; name each folder once")
        predictions = read_predictions(folder)
        if seeds:
            _require_same_rows(folder, seeds[0].predictions, predictions)
        seeds.append(SeedEvaluation(name, folder, content, predictions))
    require_one_recipe({seed.folder: seed.content for seed in seeds})
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
    same_classes = expected.probabilities.shape[1] == found.probabilities.shape[1]
    if not (same_texts and same_classes and np.array_equal(expected.labels, found.labels)):
        raise ClozeError(
            f"{folder}: was evaluated on other rows or classes than the other folders; "
            "run evaluate.py again on the same task and split"
        )
