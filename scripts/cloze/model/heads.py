"""What reads an encoder's last hidden states: the heads of pretraining and of tasks.

Shape suffixes: B rows, L tokens a row, D hidden size, M predicted positions a row,
N samples a row, S samples of a batch, V vocabulary.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from cloze.errors import ClozeError
from cloze.model.encoder import Encoder, EncoderConfig, PackedBatch, initialize_weights
from cloze.model.kernels import Dropout
from cloze.settings.encoders import POOLINGS


def default_pooling(config: EncoderConfig) -> str:
    """Return what the classifier of a new head reads.

    Nothing in masked-language modelling trains the vector of [CLS], so the mean learns faster;
    `transformers` has it for `modernbert` only.
    """
    return "mean" if config.facts.is_pre_norm else "cls"


def _dense(config: EncoderConfig, size: int) -> nn.Linear:
    """Return a head's first layer, with the bias that heads of this layout have."""
    bias = config.classifier_bias if config.facts.is_pre_norm else True
    return nn.Linear(config.hidden_size, size, bias=bias)


def _norm(config: EncoderConfig, size: int) -> nn.LayerNorm:
    bias = config.norm_bias if config.facts.is_pre_norm else True
    return nn.LayerNorm(size, eps=config.layer_norm_eps, bias=bias)


class MaskedLM(nn.Module):
    """The encoder with the masked-language-modelling head, tied to the token embeddings.

    The head and most of the last layer run at the predicted positions only: for a small
    encoder the product with the vocabulary is most of the step, and 85 % of its rows would
    be thrown away.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        size = self.encoder.token_embedding.embedding_dim
        self.head_dense = _dense(config, size)
        self.head_norm = _norm(config, size)
        self.decoder_bias = nn.Parameter(torch.zeros(config.vocab_size))
        initialize_weights(self, config)

    def forward(self, batch: PackedBatch, positions_BM: Tensor) -> Tensor:
        """Return logits [B, M, V] at the token positions `positions_BM` (int64) of each row."""
        return self.predict(self.encoder(batch, positions_BM))

    def predict(self, states_BMD: Tensor) -> Tensor:
        """Return what `forward` does, from the encoder's last hidden states at the positions."""
        predicted = self.head_norm(F.gelu(self.head_dense(states_BMD)))
        return F.linear(predicted, self.encoder.token_embedding.weight, self.decoder_bias)


class MaskedLMWithNextSentence(nn.Module):
    """Both objectives of the original BERT (Devlin et al. 2019, §3.1) in one model.

    Equal to Hugging Face's `BertForPreTraining`; raises `ClozeError` for any layout but `bert`,
    since no other has such a head.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        if config.layout != "bert":
            raise ClozeError(
                f"layout: {config.layout} has no next-sentence head; use bert, or a data set "
                "without next_sentence"
            )
        self.config = config
        self.masked_lm = MaskedLM(config)
        self.pooler_dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.next_sentence = nn.Linear(config.hidden_size, 2)
        for head in (self.pooler_dense, self.next_sentence):
            initialize_weights(head, config)

    @property
    def encoder(self) -> Encoder:
        """The encoder that both heads read."""
        return self.masked_lm.encoder

    def forward(
        self, batch: PackedBatch, positions_BM: Tensor, first_positions_BN: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the masked-language-modelling logits [B, M, V] and the sentences' [B, N, 2].

        `positions_BM` as for `MaskedLM`; `first_positions_BN` int64: where each sample of
        a row starts. Label 0 says that the second text follows the first, 1 that it was
        drawn at random, as in Hugging Face. Rows with fewer than N samples repeat any
        position; the loss has to leave those out.
        """
        states = self.encoder(batch, torch.cat([positions_BM, first_positions_BN], dim=1))
        states_BMD, states_BND = states.split(
            [positions_BM.shape[1], first_positions_BN.shape[1]], dim=1
        )
        return self.masked_lm.predict(states_BMD), self.predict_next_sentence(states_BND)

    def predict_next_sentence(self, states_BND: Tensor) -> Tensor:
        """Return the sentences' logits [B, N, 2] from the last hidden states of [CLS]."""
        return self.next_sentence(torch.tanh(self.pooler_dense(states_BND)))


class SequenceClassifier(nn.Module):
    """The encoder with a head on one vector of each sample: classes, or one number.

    `bert` pools as the original does (dense + tanh of [CLS], then dropout), its relatives
    likewise with their own activation; `modernbert` with dense + GELU + LayerNorm of what
    `pooling` names, as `embed_samples`. All are what `transformers` loads by those names. With
    one label it is a regression, as in Hugging Face. Raises `ClozeError` for any layout but
    `modernbert` that pools anything but [CLS].
    """

    def __init__(
        self,
        config: EncoderConfig,
        num_labels: int,
        classifier_dropout: float = 0.1,
        pooling: str = "cls",
    ) -> None:
        super().__init__()
        size, is_pre_norm = config.hidden_size, config.facts.is_pre_norm
        if not is_pre_norm and pooling != "cls":
            raise ClozeError(
                f"classifier_pooling: {pooling!r} is for layout modernbert; the classifier that "
                f"transformers has for {config.layout} reads [CLS] alone, so leave it at cls"
            )
        self.config, self.num_labels, self.pooling = config, num_labels, pooling
        # The probability from which a label is given, where labels do not exclude each other.
        self.label_threshold: float | None = None
        # Whether the last layer was trained to give scores in the unit of some task.
        self.has_unit = False
        self.encoder = Encoder(config)
        self.pooler_dense = _dense(config, size)
        self.pooler_norm = _norm(config, size) if is_pre_norm else nn.Identity()
        self.dropout = Dropout(classifier_dropout)
        self.classifier = nn.Linear(size, num_labels)
        initialize_weights(self, config)

    def forward(self, batch: PackedBatch) -> Tensor:
        """Return logits [S, num_labels], samples in the order of the rows."""
        num_samples = int(batch.sample_ids.max())
        return self.row_logits(batch, num_samples)[sample_slots(batch, num_samples)]

    def row_logits(self, batch: PackedBatch, num_samples: int) -> Tensor:
        """Return logits [B, N, num_labels] of the first N samples of each row.

        Its shape follows from the batch's and from N alone. What stands where a row has no
        sample means nothing; `sample_slots` tells where there is one.
        """
        pooled_BND = pooled_samples(self.encoder, batch, self.pooling, num_samples)
        activation = self.config.facts.pooler_activation
        pooled_BND = self.pooler_norm(activation(self.pooler_dense(pooled_BND)))
        return self.classifier(self.dropout(pooled_BND))


class _TokenHead(nn.Module):
    """What heads on every token have in common: the encoder and, of `modernbert`, a dense layer."""

    def __init__(self, config: EncoderConfig, classifier_dropout: float) -> None:
        super().__init__()
        self.config, size = config, config.hidden_size
        self.encoder = Encoder(config)
        if config.facts.is_pre_norm:
            self.head_dense = _dense(config, size)
            self.head_norm = _norm(config, size)
        self.dropout = Dropout(classifier_dropout)

    def features(self, batch: PackedBatch, positions_BM: Tensor | None = None) -> Tensor:
        """Return [B, L, D], what the last layer reads of each token, or of those [B, M, D]."""
        hidden_BLD = self.encoder(batch, positions_BM)
        if self.config.facts.is_pre_norm:
            hidden_BLD = self.head_norm(F.gelu(self.head_dense(hidden_BLD)))
        return self.dropout(hidden_BLD)


class TokenClassifier(_TokenHead):
    """Classes of tokens; what `transformers` calls `…ForTokenClassification`."""

    def __init__(
        self, config: EncoderConfig, num_labels: int, classifier_dropout: float = 0.1
    ) -> None:
        super().__init__(config, classifier_dropout)
        self.num_labels = num_labels
        self.token_classifier = nn.Linear(config.hidden_size, num_labels)
        initialize_weights(self, config)

    def forward(self, batch: PackedBatch, positions_BM: Tensor | None = None) -> Tensor:
        """Return logits [B, L, num_labels], or at some tokens of each row, [B, M, num_labels].

        Between texts they mean nothing.
        """
        return self.token_classifier(self.features(batch, positions_BM))


class QuestionAnswerer(_TokenHead):
    """Start and end of an answer; what `transformers` calls `…ForQuestionAnswering`.

    `null_threshold`: no answer is given where its score is higher than the best one's by more than
    this; None where every question has an answer.
    """

    def __init__(self, config: EncoderConfig, classifier_dropout: float = 0.0) -> None:
        super().__init__(config, classifier_dropout)
        self.null_threshold: float | None = None
        self.span_classifier = nn.Linear(config.hidden_size, 2)
        initialize_weights(self, config)

    def forward(self, batch: PackedBatch) -> Tensor:
        """Return logits [B, L, 2] of start and end; between texts they mean nothing."""
        return self.span_classifier(self.features(batch))


def embed_samples(encoder: Encoder, batch: PackedBatch, pooling: str = "mean") -> Tensor:
    """Return one vector a sample, float32 [S, D], samples in the order of the rows.

    pooling: `mean` of the sample's last hidden states, [CLS] and [SEP] among them
    (Reimers and Gurevych 2019, §3), or `cls`, that of its first token.
    """
    if pooling not in POOLINGS:
        raise ClozeError(f"pooling: {pooling!r} is unknown; use one of {', '.join(POOLINGS)}")
    num_samples = int(batch.sample_ids.max())
    pooled_BND = pooled_samples(encoder, batch, pooling, num_samples)
    return pooled_BND[sample_slots(batch, num_samples)]


def pooled_samples(encoder: Encoder, batch: PackedBatch, pooling: str, num_samples: int) -> Tensor:
    """Return one vector for each of the first N samples of every row, float32 [B, N, D].

    pooling: `mean` of the sample's last hidden states or `cls`, that of its first token.
    What stands where a row has fewer samples means nothing.
    """
    if pooling == "cls":
        return encoder(batch, batch.first_positions(num_samples)).float()
    return _mean_of_samples(encoder(batch), batch, num_samples)


def _mean_of_samples(hidden_BLD: Tensor, batch: PackedBatch, num_samples: int) -> Tensor:
    """Return the mean of the hidden states of each of the first N samples, [B, N, D].

    One small product, in float32 whatever autocast says: its shapes are static, and unlike
    a sum by index it adds in one order on any device.
    """
    numbers_N = torch.arange(1, num_samples + 1, device=hidden_BLD.device)
    weights_BNL = (batch.sample_ids[:, None, :] == numbers_N[:, None]).float()
    weights_BNL = weights_BNL / weights_BNL.sum(-1, keepdim=True).clamp(min=1)
    with torch.autocast(hidden_BLD.device.type, enabled=False):
        return weights_BNL @ hidden_BLD.float()


def sample_slots(batch: PackedBatch, num_samples: int) -> Tensor:
    """Return bool [B, N]: has the row an n-th sample?"""
    numbers_N = torch.arange(1, num_samples + 1, device=batch.sample_ids.device)
    return numbers_N <= batch.sample_ids.amax(dim=1, keepdim=True)
