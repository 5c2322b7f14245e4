"""A classifier's probabilities for every text of a split, and the file that keeps them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from cloze.cli import progress
from cloze.encoder.device import Compute
from cloze.encoder.heads import SequenceClassifier
from cloze.errors import ClozeError
from cloze.files import atomic_path, require_file
from cloze.tasks.sentence_batches import EncodedTexts, packed_batches
from cloze.tasks.task import TaskSplit

_ROWS_AT_ONCE = 16


@torch.inference_mode()
def predict_logits(
    model: SequenceClassifier,
    encoded: EncodedTexts,
    compute: Compute,
    texts: np.ndarray | None = None,
) -> np.ndarray:
    """Return the logits of the texts with these numbers, all by default, float32 [n, num_labels].

    The model is put into evaluation mode and left there.
    """
    model.eval()
    logits = np.empty((len(encoded.lengths), model.num_labels), dtype=np.float32)
    total = len(encoded.lengths) if texts is None else len(texts)
    with progress(total=total, unit=" texts", description="predict") as bar:
        for batch, numbers in packed_batches(encoded, _ROWS_AT_ONCE, texts):
            with compute.autocast():
                found = model(batch.to(compute.torch_device))
            logits[numbers] = found.float().cpu().numpy()
            bar.update(len(numbers))
    return logits if texts is None else logits[texts]


def predictions_of(logits: np.ndarray) -> np.ndarray:
    """Return the likeliest class of each row, int64 [n]; of one label the score, float64 [n]."""
    return logits[:, 0].astype(np.float64) if logits.shape[1] == 1 else logits.argmax(axis=1)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities over the labels, float32 [n, num_labels], of logits like that."""
    return torch.from_numpy(logits).softmax(dim=-1).numpy()


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
