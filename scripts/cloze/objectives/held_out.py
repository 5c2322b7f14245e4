"""The masked-LM loss of a model folder on texts that no data set was made of, by its own tokenizer.

It is what tells an encoder before an adaptation from the one after it. Their vocabularies may
differ, and with them what one prediction is, so whole words are masked, of which no piece is left
to tell the others, and the loss is given in bits a byte of the same text.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cloze.errors import ClozeError
from cloze.model.device import Compute
from cloze.model.encoder import Encoder
from cloze.model.heads import MaskedLM, MaskedLMWithNextSentence
from cloze.model.hf import import_model
from cloze.objectives.masking import Masker
from cloze.objectives.mlm import (
    EVALUATION_BATCH_SIZE,
    masked_bits_per_byte,
    ordinary_tokens,
    token_sums,
)
from cloze.objectives.rows import RowBatches
from cloze.tokens.samples import RowBuilder, RowLayout, SplitTokens
from cloze.tokens.shards import Rows
from cloze.tokens.text_encoder import TextEncoder
from cloze.tokens.tokenizer import special_ids, vocab_size
from cloze.tokens.tokenizer_folder import tokenizer_of_folder

MLM_PROBABILITY = 0.15
MAX_LENGTH = 128
_SEED = 1 << 32


def masked_lm_scores(folder: Path, texts: Iterable[str], compute: Compute) -> dict[str, Any]:
    """Return loss (nats a token), share guessed right and bits a byte, whole words masked.

    Samples have at most 128 tokens; 15 % are predicted, the same ones every time. Nothing of an
    encoder without a masked-language head. Raises `ClozeError` if there is no text.
    """
    model = import_model(folder).model.to(compute.torch_device).eval()
    if isinstance(model, Encoder):
        return {}
    masked_lm = model.masked_lm if isinstance(model, MaskedLMWithNextSentence) else model
    tokenizer = tokenizer_of_folder(folder)
    encoder, special, size = TextEncoder(tokenizer), special_ids(tokenizer), vocab_size(tokenizer)
    length = min(MAX_LENGTH, model.config.max_length)
    builder = RowBuilder(SplitTokens(whole_words=True), RowLayout(length, length, size, special))
    masker = Masker(
        vocab_size=size,
        mask_token_id=special.mask,
        special_token_ids=special.all,
        mlm_probability=MLM_PROBABILITY,
        max_length=length,
        seed=_SEED,
        whole_words=True,
    )
    tokens = text_bytes = 0
    totals = torch.zeros(3, dtype=torch.float64)
    for rows, read in _rows(texts, encoder, builder):
        batches = RowBatches(rows, masker, special.pad)
        totals += _sums(masked_lm, batches, compute)
        tokens += ordinary_tokens(rows)
        text_bytes += read
    loss, right, predicted = totals.tolist()
    if not predicted:
        raise ClozeError(f"{folder}: there is no text to predict words of; give it more documents")
    return {
        "loss": loss / predicted,
        "accuracy": right / predicted,
        "masked_bits_per_byte": masked_bits_per_byte(loss / predicted, tokens, text_bytes),
        "predictions": round(predicted),
        "tokens": tokens,
        "text_bytes": text_bytes,
    }


def _rows(
    texts: Iterable[str], encoder: TextEncoder, builder: RowBuilder
) -> Iterator[tuple[Rows, int]]:
    """Yield the rows of each text, and its bytes."""
    for text in texts:
        data = np.frombuffer(text.encode(), np.uint8)
        encoded = encoder.encode(data, np.array([0, len(data)], np.int64))
        if len(encoded.input_ids):
            yield builder.build(np.zeros(1, np.uint32), encoded), len(data)


@torch.no_grad()
def _sums(model: MaskedLM, batches: RowBatches, compute: Compute) -> Tensor:
    total = torch.zeros(3, dtype=torch.float64)
    for batch in batches.evaluation_batches(EVALUATION_BATCH_SIZE):
        moved = batch.to(compute.torch_device)
        with compute.autocast():
            states = model.encoder(moved.packed, moved.positions)
        total += token_sums(model, states, moved, compute).double().cpu()
    return total
