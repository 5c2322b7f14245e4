"""Masked-language-modelling loss over a whole validation split, beside what it must beat."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cloze.data.shards import Rows
from cloze.encoder.device import Compute
from cloze.encoder.heads import MaskedLM
from cloze.pretraining.batches import RowBatches

EVALUATION_BATCH_SIZE = 32
_MAX_LOGITS = 1 << 24


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
    """Score every row once, with masks that never change.

    At most `_MAX_LOGITS` logits exist at a time, however large batch and vocabulary are.
    """
    model.eval()
    columns = max(1, _MAX_LOGITS // (EVALUATION_BATCH_SIZE * model.config.vocab_size))
    totals = torch.zeros(3, dtype=torch.float64)
    for batch in batches.evaluation_batches(EVALUATION_BATCH_SIZE):
        batch = batch.to(compute.torch_device)
        with compute.autocast():
            hidden = model.encoder(batch.packed)
        sums = [
            _sums(model, hidden, positions, labels, weights, compute)
            for positions, labels, weights in zip(
                batch.positions.split(columns, dim=1),
                batch.labels.split(columns, dim=1),
                batch.weights.split(columns, dim=1),
                strict=True,
            )
        ]
        totals += torch.stack(sums).sum(0).double().cpu()
    model.train()
    loss, correct, predicted = totals.tolist()
    return MLMScores(loss / predicted, correct / predicted)


def _sums(
    model: MaskedLM,
    hidden: Tensor,
    positions: Tensor,
    labels: Tensor,
    weights: Tensor,
    compute: Compute,
) -> Tensor:
    """Return loss, right guesses and number of some of a batch's predictions, float32 [3]."""
    counts = (weights > 0).flatten().float()
    with compute.autocast():
        logits = model.predict(hidden, positions).flatten(0, 1).float()
    labels = labels.flatten()
    losses = F.cross_entropy(logits, labels, reduction="none")
    right = logits.argmax(-1) == labels
    return torch.stack([losses @ counts, right.float() @ counts, counts.sum()])


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
