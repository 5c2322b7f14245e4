"""What a model predicted for every text of a split: the files, and several seeds' together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloze.corpus.arrays import damage_named
from cloze.errors import ClozeError
from cloze.files import atomic_path, require_file
from cloze.metrics import read_metrics
from cloze.tasks.kind import Outcome
from cloze.tasks.lineage import Lineage, lineage_of, require_one_recipe
from cloze.tasks.statistics import Summary, summarise
from cloze.tasks.task import TaskSplit


@dataclass(frozen=True)
class Predictions:
    """What one model said of one split; rows in the split's order.

    `table` has a row for each text: `text`, `text_pair` in tasks of pairs, `label` and
    `prediction` of the kind's type, and what else the kind keeps. `statistics`: float64
    [num_rows, K] of `Outcome`, None of classes and scores.
    """

    table: pa.Table
    statistics: np.ndarray | None

    @cached_property
    def texts(self) -> list[str]:
        """The rows' texts."""
        return list(self.table["text"].to_pylist())

    @cached_property
    def pairs(self) -> list[str] | None:
        """The second text of each row, if the task has one."""
        has_pairs = "text_pair" in self.table.schema.names
        return self.table["text_pair"].to_pylist() if has_pairs else None

    @cached_property
    def labels(self) -> np.ndarray:
        """Of classes int64 [num_rows], of scores float64."""
        return self._numbers("label")

    @cached_property
    def predictions(self) -> np.ndarray:
        """Of classes int64 [num_rows], of scores float64."""
        return self._numbers("prediction")

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Of classes float32 [num_rows, num_labels], of scores [num_rows, 0]."""
        return np.array(self.table["probabilities"].to_pylist(), dtype=np.float32)

    @property
    def correct(self) -> np.ndarray:
        """bool [num_rows]: is the prediction the label?"""
        return self.labels == self.predictions

    def _numbers(self, column: str) -> np.ndarray:
        is_score = pa.types.is_floating(self.table.schema.field(column).type)
        return self.table[column].to_numpy().astype(np.float64 if is_score else np.int64)


def write_predictions(path: Path, split: TaskSplit, outcome: Outcome) -> None:
    """Write one row per text, atomically: row, text, text_pair, and what the outcome keeps."""
    columns = {
        "row": pa.array(np.arange(len(split)), pa.int32()),
        "text": pa.array(split.texts, pa.string()),
        **({} if split.pairs is None else {"text_pair": pa.array(split.pairs, pa.string())}),
        **outcome.columns,
    }
    if outcome.statistics is not None:
        columns["statistics"] = pa.array(list(outcome.statistics), pa.list_(pa.float64()))
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")


def read_predictions(folder: Path) -> Predictions:
    """Read `predictions.parquet` of an evaluation folder; raises `ClozeError` if it is broken."""
    path = require_file(folder / "predictions.parquet")
    with damage_named(path, "file of predictions", "evaluate again"):
        table = pq.read_table(path)
        table.validate(full=True)
    try:
        table.select(["text", "label", "prediction"])
        statistics = None
        if "statistics" in table.schema.names:
            statistics = np.array(table["statistics"].to_pylist(), dtype=np.float64)
        return Predictions(table, statistics)
    except (pa.ArrowException, KeyError, ValueError) as error:
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
    def statistics(self) -> np.ndarray | None:
        """Statistics of `Outcome`, float64 [num_seeds, num_examples, K]; None if it has none."""
        found = [seed.predictions.statistics for seed in self.seeds]
        given = [part for part in found if part is not None]
        return np.stack(given) if given else None

    @property
    def num_examples(self) -> int:
        """Rows that were evaluated."""
        return len(self.texts)

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
        content = read_metrics(folder / "metrics.json")
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
        split = read_metrics(folder / "metrics.json")["metrics"]["split"]
        by_split.setdefault(split, []).append(folder)
    return {split: read_evaluations(found) for split, found in by_split.items()}


def require_comparable(ours: Evaluations, theirs: Evaluations, folder: Path) -> None:
    """Raise `ClozeError` naming `folder` unless both were evaluated on the same rows."""
    _require_same_rows(folder, ours.seeds[0].predictions, theirs.seeds[0].predictions)


def _require_same_rows(folder: Path, expected: Predictions, found: Predictions) -> None:
    same = expected.texts == found.texts and expected.pairs == found.pairs
    same &= expected.table["label"].equals(found.table["label"])
    if same and "probabilities" in expected.table.schema.names:
        same = expected.probabilities.shape == found.probabilities.shape
    if not same:
        raise ClozeError(
            f"{folder}: was evaluated on other rows or classes than the other folders; "
            "run evaluate.py again on the same task and split"
        )
