"""What pretraining minimises: masked-language modelling, alone or with next-sentence prediction."""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from cloze.model.heads import MaskedLM, MaskedLMWithNextSentence
from cloze.objectives.rows import MaskedBatch

PretrainingModel = MaskedLM | MaskedLMWithNextSentence


def masked_lm_of(model: PretrainingModel) -> MaskedLM:
    """Return the encoder with its masked-language-modelling head, whatever else the model has."""
    return model.masked_lm if isinstance(model, MaskedLMWithNextSentence) else model


def pretraining_loss(model: PretrainingModel, batch: MaskedBatch) -> Tensor:
    """Return the sum of cross-entropy (nats) times weight over the batch's predictions.

    For a whole training batch that is the mean over its masked tokens and, where the model
    has the second head, the mean over its pairs added to it (Devlin et al. 2019, A.2).
    """
    if isinstance(model, MaskedLM):
        return _weighted(model(batch.packed, batch.positions), batch.labels, batch.weights)
    pairs = batch.pairs
    assert pairs is not None
    tokens, sentences = model(batch.packed, batch.positions, pairs.first_positions)
    return _weighted(tokens, batch.labels, batch.weights) + _weighted(
        sentences, pairs.labels, pairs.weights
    )


def _weighted(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    losses = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="none")
    return (losses * weights.flatten()).sum()


class PretrainingLoss(nn.Module):
    """A model together with its loss: what is compiled and what processes share."""

    def __init__(self, model: PretrainingModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: MaskedBatch) -> Tensor:
        """Return `pretraining_loss`."""
        return pretraining_loss(self.model, batch)
