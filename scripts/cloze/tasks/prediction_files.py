"""What a classifier predicted for every text of a split, and the file that keeps it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloze.errors import ClozeError
from cloze.files import atomic_path, require_file
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
