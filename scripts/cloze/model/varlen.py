"""Attention over packed rows on a GPU, without a mask: each sample is a segment of its own.

Shape suffixes: B rows, L tokens a row, H heads, K head size, T = B·L tokens of a batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cloze.model.packed_batch import PackedBatch

_LARGEST_HEAD = 256


@dataclass(frozen=True)
class Segments:
    """The bounds of the segments in a batch whose rows are laid end to end.

    `cu_seq` int32 [N + 1]: segment n holds the tokens from cu_seq[n] to cu_seq[n + 1] of
    T. N depends on the batch's shape alone; the segments left over have no tokens.
    `max_length`: no segment is longer; again a number that the shape fixes.
    """

    cu_seq: Tensor
    max_length: int


def packed_segments(batch: PackedBatch) -> Segments:
    """Return a segment for each sample and one for the padding of each row that has some.

    Reads no value of the batch on the host, so a GPU is never waited for, and its shapes
    are static, so one compiled graph serves every batch. A batch with more segments than
    `max_samples_per_row` allows is an index error, never a wrong result. A loose bound
    costs memory: the kernel's backward keeps 128·H·K floats for each segment, empty or not.
    """
    num_rows, length = batch.sample_ids.shape
    max_samples = batch.max_samples_per_row
    # The last segment of a row may be its padding.
    per_row = (length // 2 if max_samples is None else max_samples) + 1
    opens_BL = torch.ones_like(batch.sample_ids)
    opens_BL[:, 1:] = batch.sample_ids[:, 1:] != batch.sample_ids[:, :-1]
    segment_T = opens_BL.flatten().cumsum(0) - 1
    lengths = torch.zeros(num_rows * per_row, dtype=torch.int64, device=segment_T.device)
    lengths = lengths.scatter_add(0, segment_T, torch.ones_like(segment_T))
    cu_seq = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
    return Segments(cu_seq, length)


def varlen_is_possible(device: torch.device, dtype: torch.dtype, head_size: int) -> bool:
    """Whether the kernel behind `attend_segments` takes heads like these.

    It is FlashAttention-2, which needs a CUDA card of compute capability 8.0 or higher
    and 16-bit numbers; its heads are multiples of 8, up to 256.
    """
    return (
        device.type == "cuda"
        and dtype in (torch.bfloat16, torch.float16)
        and head_size % 8 == 0
        and head_size <= _LARGEST_HEAD
        and _runs_flash_attention(device.index or 0)
    )


def _runs_flash_attention(device_index: int) -> bool:
    return torch.cuda.get_device_capability(device_index) >= (8, 0)


def assume_constant_capability() -> None:
    """Have the compiler take what a card can do as given; to be called before it compiles.

    A decorator would say the same, but load the compiler wherever a model is loaded, which
    takes as long as PyTorch's own start.
    """
    torch.compiler.assume_constant_result(_runs_flash_attention)


def attend_segments(query: Tensor, key: Tensor, value: Tensor, segments: Segments) -> Tensor:
    """Return softmax(QKᵀ/√K)·V within each segment; all [B, H, L, K], bfloat16 or float16.

    What follows `max_k` differs between PyTorch 2.10 (`is_causal`, `return_aux`) and 2.12
    (keywords only, `window_size` instead of `is_causal`). The defaults mean the same: no
    causal mask, scores divided by √K, one tensor returned. So none of them is passed.

    Not measured: its speed, and its values against `scaled_dot_product_attention` on a
    card. The tests check this function against plain loops, with the kernel replaced.
    """
    # It loads the compiler, which a process without a GPU may have no use for.
    from torch.nn.attention.varlen import varlen_attn

    num_rows, _, length, _ = query.shape
    query_THK, key_THK, value_THK = (t.transpose(1, 2).flatten(0, 1) for t in (query, key, value))
    cu_seq, longest = segments.cu_seq, segments.max_length
    attended_THK = varlen_attn(query_THK, key_THK, value_THK, cu_seq, cu_seq, longest, longest)
    assert isinstance(attended_THK, Tensor)  # A pair comes only with `return_aux`.
    return attended_THK.unflatten(0, (num_rows, length)).transpose(1, 2)
