"""The encoder, top to bottom, in the two layouts that the rest of the world can load.

`bert` is Devlin et al. 2019 (post-norm, learned absolute positions, token types,
biases, GELU); its outputs equal those of Hugging Face's BERT. `modernbert` is Warner et
al. 2024 with global attention in every layer (pre-norm, no biases, rotary positions,
GeGLU); its outputs equal those of Hugging Face's ModernBERT.

A layer is in `layers`, its attention in `attention`, what reads the last hidden states
in `heads`.

Shape suffixes: B rows, L tokens a row, M positions a row, D hidden size.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cloze.model.attention import attention_context
from cloze.model.config import EncoderConfig
from cloze.model.dropout import Dropout
from cloze.model.embedding import embed
from cloze.model.layers import PostNormLayer, PreNormLayer
from cloze.model.packed_batch import PackedBatch


class Encoder(nn.Module):
    """Embeddings and a stack of layers: token ids in, one vector a token out.

    `gradient_checkpointing`: in training, keep only each layer's input and compute the
    rest again in the backward pass (Chen et al. 2016): less memory for a third more time.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False
        size, is_bert = config.hidden_size, config.layout == "bert"
        self.token_embedding = nn.Embedding(config.vocab_size, size)
        if is_bert:
            if not config.has_relative_positions:
                self.position_embedding = nn.Embedding(config.max_position_embeddings, size)
            self.token_type_embedding = nn.Embedding(config.type_vocab_size, size)
        self.embedding_norm = nn.LayerNorm(size, eps=config.layer_norm_eps, bias=is_bert)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.layers = nn.ModuleList(
            PostNormLayer(config) if is_bert else PreNormLayer(config, first=index == 0)
            for index in range(config.num_hidden_layers)
        )
        self.final_norm = (
            nn.Identity() if is_bert else nn.LayerNorm(size, eps=config.layer_norm_eps, bias=False)
        )

    def forward(self, batch: PackedBatch, positions_BM: Tensor | None = None) -> Tensor:
        """Return the last layer's hidden states [B, L, D]; `modernbert` reads no token types.

        With `positions_BM`, int64, those at these positions of each row alone [B, M, D]: the
        last layer then leaves out most of its work for all other tokens.
        """
        hidden_BLD = self.dropout(self.embedding_norm(self._embed(batch)))
        dropout_prob = self.config.attention_probs_dropout_prob if self.training else 0.0
        context = attention_context(batch, self.config, self._product_dtype(), dropout_prob)
        for number, layer in enumerate(self.layers, start=1):
            inputs = (hidden_BLD, context, positions_BM if number == len(self.layers) else None)
            if self.gradient_checkpointing and self.training:
                hidden_BLD = checkpoint(layer, *inputs, use_reentrant=False)
            else:
                hidden_BLD = layer(*inputs)
        return self.final_norm(hidden_BLD)

    def _embed(self, batch: PackedBatch) -> Tensor:
        embedded = embed(self.token_embedding.weight, batch.input_ids)
        if self.config.layout == "bert":
            if not self.config.has_relative_positions:
                embedded = embedded + embed(self.position_embedding.weight, batch.position_ids)
            if batch.token_type_ids is None:
                return embedded + self.token_type_embedding.weight[0]
            embedded = embedded + embed(self.token_type_embedding.weight, batch.token_type_ids)
        return embedded

    def _product_dtype(self) -> torch.dtype:
        """In what a matrix product of these weights computes here."""
        weight = self.token_embedding.weight
        if torch.is_autocast_enabled(weight.device.type):
            return torch.get_autocast_dtype(weight.device.type)
        return weight.dtype
