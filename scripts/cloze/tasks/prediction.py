"""A classifier's probabilities for every text of a split, and the file that keeps them."""

from dataclasses import dataclass
from pathlib import Path

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
def predict_probabilities(
    model: SequenceClassifier, encoded: EncodedTexts, compute: Compute
) -> np.ndarray:
    """Return the softmax over the labels, float32 [num_texts, num_labels].

    The model is put into evaluation mode and left there.
    """
    model.eval()
    probabilities = np.empty((len(encoded.lengths), model.num_labels), dtype=np.float32)
    with progress(total=len(encoded.lengths), unit=" texts", description="predict") as bar:
        for batch, texts in packed_batches(encoded, _ROWS_AT_ONCE):
            with compute.autocast():
                logits = model(batch.to(compute.torch_device))
            probabilities[texts] = logits.float().softmax(dim=-1).cpu().numpy()
            bar.update(len(texts))
    return probabilities


@dataclass(frozen=True)
class Predictions:
    """What one model said of one split; rows in the split's order.

    labels, predictions: int64 [num_texts]; probabilities: float32 [num_texts, num_labels].
    """

    texts: list[str]
    labels: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """bool [num_texts]: is the prediction the label?"""
        return self.labels == self.predictions


def write_predictions(
    path: Path, split: TaskSplit, predictions: np.ndarray, probabilities: np.ndarray
) -> None:
    """Write one row per text, atomically: row, text, label, prediction, probabilities."""
    schema = pa.schema(
        [
            ("row", pa.int32()),
            ("text", pa.string()),
            ("label", pa.int32()),
            ("prediction", pa.int32()),
            ("probabilities", pa.list_(pa.float32())),
        ]
    )
    columns = {
        "row": np.arange(len(split)),
        "text": split.texts,
        "label": split.labels,
        "prediction": predictions,
        "probabilities": list(probabilities),
    }
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns, schema=schema), temporary, compression="zstd")


def read_predictions(folder: Path) -> Predictions:
    """Read `predictions.parquet` of an evaluation folder; raises `ClozeError` if it is broken."""
    path = require_file(folder / "predictions.parquet")
    try:
        table = pq.read_table(path)
        return Predictions(
            table["text"].to_pylist(),
            table["label"].to_numpy().astype(np.int64),
            table["prediction"].to_numpy().astype(np.int64),
            np.array(table["probabilities"].to_pylist(), dtype=np.float32),
        )
    except (pa.ArrowException, KeyError) as error:
        raise ClozeError(f"{path}: not a file of predictions ({error}); evaluate again") from error
