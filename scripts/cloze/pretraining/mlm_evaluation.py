"""Masked-language-modelling loss over a whole validation split, beside what it must beat."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from cloze.data.shards import Rows
from cloze.encoder.device import Compute
from cloze.encoder.model import MaskedLM
from cloze.pretraining.batches import RowBatches

EVALUATION_BATCH_SIZE = 32


@dataclass(frozen=True)
class MLMScores:
    """Means over every predicted token of the split; losses in nats a token."""

    validation_loss: float
    validation_accuracy: float

    def as_dict(self) -> dict[str, float]:
        """Return the scores by name."""
        return asdict(self)


@torch.no_grad()
def evaluate_mlm(model: MaskedLM, batches: RowBatches, compute: Compute) -> MLMScores:
    """Score every row once, with masks that never change; holds one batch of logits at a time."""
    model.eval()
    loss = correct = predicted = 0.0
    for batch in batches.evaluation_batches(EVALUATION_BATCH_SIZE):
        batch = batch.to(compute.torch_device)
        with compute.autocast():
            logits = model(batch.packed, batch.positions)
        kept = batch.weights > 0
        logits, labels = logits[kept].float(), batch.labels[kept]
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        correct += (logits.argmax(-1) == labels).sum().item()
        predicted += labels.numel()
    model.train()
    return MLMScores(loss / predicted, correct / predicted)


def unigram_entropy(
    train: Rows, validation: RowBatches, special_token_ids: frozenset[int]
) -> float:
    """Return the loss, in nats a token, of predicting by the training split's token frequencies.

    It is taken on the very positions that `evaluate_mlm` predicts, with add-one
    smoothing and without special tokens, which are never predicted: an encoder whose
    loss stays here has learnt nothing from context.
    """
    counts = np.bincount(train.input_ids, minlength=train.vocab_size) + 1.0
    counts[sorted(special_token_ids)] = 1.0
    log_probability = np.log(counts / counts.sum())
    total = predicted = 0.0
    for batch in validation.evaluation_batches(EVALUATION_BATCH_SIZE):
        labels = batch.labels[batch.weights > 0].numpy()
        total -= log_probability[labels].sum()
        predicted += len(labels)
    return float(total / predicted)


def bits_per_byte(loss: float, ordinary_tokens: int, text_bytes: int) -> float:
    """Return a loss in nats a token as bits a byte of text, comparable across tokenizers.

    `ordinary_tokens` counts the split's tokens without the special ones, `text_bytes`
    the UTF-8 bytes they stand for.
    """
    return loss / math.log(2) * ordinary_tokens / text_bytes
