"""A classifier's logits and probabilities for every text of a split."""

import numpy as np
import torch

from cloze.cli import progress
from cloze.model.device import Compute
from cloze.model.heads import SequenceClassifier
from cloze.objectives.texts import EncodedTexts, packed_batches

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
