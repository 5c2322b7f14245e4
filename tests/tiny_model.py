"""Small encoders and batches for the tests of the model."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from cloze.model.encoder import EncoderConfig, PackedBatch

VOCAB_SIZE = 64
Model = TypeVar("Model", bound=nn.Module)


def make_config(layout: str = "bert", **changes: object) -> EncoderConfig:
    """Return a tiny shape; `changes` as for `EncoderConfig`."""
    settings = {
        "vocab_size": VOCAB_SIZE,
        "layout": layout,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 40,
        "layer_norm_eps": 1e-5 if layout == "modernbert" else 1e-12,
    }
    return EncoderConfig(**{**settings, **changes})


def perturbed(model: Model) -> Model:
    """Move every weight away from its initial value, so that no term is zero by chance."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def draw_ids(*shape: int, seed: int = 2) -> Tensor:
    """Draw ordinary token ids, int64."""
    return torch.randint(5, VOCAB_SIZE, shape, generator=torch.Generator().manual_seed(seed))


def single_samples(input_ids: Tensor, token_type_ids: Tensor | None = None) -> PackedBatch:
    """Return a batch of one sample a row, without padding."""
    positions = torch.arange(input_ids.shape[1]).expand_as(input_ids)
    return PackedBatch(input_ids, positions, torch.ones_like(input_ids), token_type_ids)


def packed_rows(
    lengths: Sequence[Sequence[int]], row_length: int, max_samples_per_row: int | None = None
) -> PackedBatch:
    """Return rows of samples of these lengths, padded to `row_length`."""
    shape = (len(lengths), row_length)
    positions, samples = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for row, row_lengths in enumerate(lengths):
        start = 0
        for number, length in enumerate(row_lengths, start=1):
            positions[row, start : start + length] = torch.arange(length)
            samples[row, start : start + length] = number
            start += length
    input_ids = torch.where(samples > 0, draw_ids(*shape), 0)
    return PackedBatch(input_ids, positions, samples, max_samples_per_row=max_samples_per_row)


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    """Return the loss's gradient by the name of each parameter."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
