"""Next-sentence prediction beside masked-language modelling (Devlin et al. 2019, §3.1, A.2)."""

import torch
from torch import Tensor, nn

from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig
from cloze.model.heads import MaskedLM, MaskedLMWithNextSentence
from cloze.objectives.mlm import (
    MaskedLanguageModeling,
    summed_scores,
    token_sums,
    weighted_cross_entropy,
)
from cloze.objectives.rows import MaskedBatch


class NextSentencePrediction(MaskedLanguageModeling):
    """Predict masked tokens, and whether the second text of a pair follows the first.

    The data set's samples are pairs of texts, and the layout is `bert`.
    """

    model: MaskedLMWithNextSentence  # type: ignore[assignment]

    @classmethod
    def loss(cls, model: nn.Module, batch: MaskedBatch) -> Tensor:
        """Return the weighted cross-entropy of the tokens plus that of the pairs.

        For a whole training batch that is the mean over its masked tokens and the mean over
        its pairs added to it.
        """
        pairs = batch.pairs
        assert pairs is not None
        tokens, sentences = model(batch.packed, batch.positions, pairs.first_positions)
        return weighted_cross_entropy(tokens, batch.labels, batch.weights) + weighted_cross_entropy(
            sentences, pairs.labels, pairs.weights
        )

    @property
    def masked_lm(self) -> MaskedLM:
        """The encoder with its masked-language-modelling head."""
        return self.model.masked_lm

    def _build(self, config: EncoderConfig) -> MaskedLMWithNextSentence:
        return MaskedLMWithNextSentence(config)

    def _sums(self, batch: MaskedBatch, compute: Compute) -> dict[str, Tensor]:
        pairs = batch.pairs
        assert pairs is not None
        positions = torch.cat([batch.positions, pairs.first_positions], dim=1)
        with compute.autocast():
            states = self.model.encoder(batch.packed, positions)
        num_masked = batch.positions.shape[1]
        with compute.autocast():
            logits = self.model.predict_next_sentence(states[:, num_masked:])
        return {
            "validation_": token_sums(self.masked_lm, states[:, :num_masked], batch, compute),
            "validation_next_sentence_": summed_scores(logits, pairs.labels, pairs.weights),
        }
