"""Masked-language-modelling loss over a whole validation split, beside what it must beat."""

import dataclasses
import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cloze.model.device import Compute
from cloze.model.heads import MaskedLM, MaskedLMWithNextSentence
from cloze.objectives.mlm import PretrainingModel, masked_lm_of
from cloze.objectives.rows import MaskedBatch, RowBatches
from cloze.objectives.token_frequencies import unigram_log_probabilities
from cloze.tokens.shards import Rows

EVALUATION_BATCH_SIZE = 32
_MAX_LOGITS = 1 << 24


@dataclass(frozen=True)
class MLMScores:
    """Means over every predicted token of the split; losses in nats a token.

    The last two are means over its pairs of texts, None without next-sentence prediction.
    """

    validation_loss: float
    validation_accuracy: float
    validation_next_sentence_loss: float | None = None
    validation_next_sentence_accuracy: float | None = None

    def as_dict(self) -> dict[str, float]:
        """Return the scores that there are by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@torch.no_grad()
def evaluate_mlm(model: PretrainingModel, batches: RowBatches, compute: Compute) -> MLMScores:
    """Score every row once, with masks that never change.

    At most `_MAX_LOGITS` logits exist at a time, however large batch and vocabulary are.
    """
    model.eval()
    masked_lm = masked_lm_of(model)
    columns = max(1, _MAX_LOGITS // (EVALUATION_BATCH_SIZE * model.config.vocab_size))
    totals, pair_totals = torch.zeros(2, 3, dtype=torch.float64)
    for batch in batches.evaluation_batches(EVALUATION_BATCH_SIZE):
        batch = batch.to(compute.torch_device)
        with compute.autocast():
            states = model.encoder(batch.packed, _read_positions(batch))
        num_masked = batch.positions.shape[1]
        sums = [
            _sums(masked_lm, some, labels, weights, compute)
            for some, labels, weights in zip(
                states[:, :num_masked].split(columns, dim=1),
                batch.labels.split(columns, dim=1),
                batch.weights.split(columns, dim=1),
                strict=True,
            )
        ]
        totals += torch.stack(sums).sum(0).double().cpu()
        if isinstance(model, MaskedLMWithNextSentence):
            firsts = states[:, num_masked:]
            pair_totals += _pair_sums(model, firsts, batch, compute).double().cpu()
    model.train()
    loss, correct, predicted = totals.tolist()
    scores = MLMScores(loss / predicted, correct / predicted)
    if (pairs := float(pair_totals[2])) == 0.0:
        return scores
    pair_loss, pair_correct = (pair_totals[:2] / pairs).tolist()
    return dataclasses.replace(
        scores,
        validation_next_sentence_loss=pair_loss,
        validation_next_sentence_accuracy=pair_correct,
    )


def _read_positions(batch: MaskedBatch) -> Tensor:
    """Return what the heads read, int64 [B, any]: masked tokens, then the starts of pairs."""
    if batch.pairs is None:
        return batch.positions
    return torch.cat([batch.positions, batch.pairs.first_positions], dim=1)


def _sums(
    model: MaskedLM, states: Tensor, labels: Tensor, weights: Tensor, compute: Compute
) -> Tensor:
    """Return loss, right guesses and number of some of a batch's predictions, float32 [3]."""
    with compute.autocast():
        logits = model.predict(states)
    return _scored(logits, labels, weights)


def _pair_sums(
    model: MaskedLMWithNextSentence, states: Tensor, batch: MaskedBatch, compute: Compute
) -> Tensor:
    """Return loss, right guesses and number of a batch's pairs of texts, float32 [3]."""
    assert batch.pairs is not None
    with compute.autocast():
        logits = model.predict_next_sentence(states)
    return _scored(logits, batch.pairs.labels, batch.pairs.weights)


def _scored(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    counts = (weights > 0).flatten().float()
    logits, labels = logits.flatten(0, 1).float(), labels.flatten()
    losses = F.cross_entropy(logits, labels, reduction="none")
    right = logits.argmax(-1) == labels
    return torch.stack([losses @ counts, right.float() @ counts, counts.sum()])


def unigram_entropy(
    train: Rows, validation: RowBatches, special_token_ids: frozenset[int]
) -> float:
    """Return the loss, in nats a token, of predicting by the training split's token frequencies.

    It is taken on the very positions that `evaluate_mlm` predicts: an encoder whose loss
    stays here has learnt nothing from context.
    """
    log_probability = unigram_log_probabilities(train, special_token_ids)
    total = predicted = 0.0
    for batch in validation.evaluation_batches(EVALUATION_BATCH_SIZE):
        labels = batch.labels[batch.weights > 0].numpy()
        total -= log_probability[labels].sum()
        predicted += len(labels)
    return float(total / predicted)


def ordinary_tokens(rows: Rows) -> int:
    """Return the tokens that stand for the split's text, each stretch of text counted once.

    That leaves out special tokens, and second texts drawn from another document.
    """
    pairs = rows.second_lengths > 0
    drawn = rows.second_lengths[pairs & ~rows.is_next].astype(np.int64) - 1
    special = 2 * rows.num_samples + int(pairs.sum())
    return rows.num_tokens - special - int(drawn.sum())


def masked_bits_per_byte(loss: float, ordinary_tokens: int, text_bytes: int) -> float:
    """Return a masked-LM loss, in nats a token, as bits a byte of text.

    It lets tokenizers be compared at an equal masking rate, and only there: most of the text
    lies open while the rest is predicted, so it is no code length and no compression rate.
    `ordinary_tokens` as the function of that name counts them, `text_bytes` the UTF-8
    bytes they stand for.
    """
    return loss / math.log(2) * ordinary_tokens / text_bytes
