"""What is there only to be fast, each beside the plain form whose values a test holds it to.

| here | plain form |
|---|---|
| `embed` | `torch.nn.functional.embedding` |
| `dropout` | `torch.nn.functional.dropout` (in distribution) |
| `attend` | `torch.nn.functional.scaled_dot_product_attention` |
| `attend_segments` | `attend` with `PackedBatch.attention_mask` |
| `attend_blocks` | `attend` with `PackedBatch.attention_mask` of a window |

Shape suffixes: B rows, L tokens a row, H heads, K head size; Q queries a row;
T = B·L tokens of a batch; V vocabulary, D hidden size; N blocks a row, S tokens a block.
"""

import functools
import inspect
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

_VALUES = 1 << 16
_VALUES_PER_DRAW = 4
_LOWEST = -(1 << 15)

_LONGEST_PLAIN_ROW = 256

_LARGEST_HEAD = 256

# Of narrower windows, blocks as wide as this: a product of smaller matrices costs no less.
_SMALLEST_BLOCK = 32
# Three blocks of keys for each block of queries: from here on they are at most half of a row.
_BLOCKS_WORTHWHILE = 6


def embed(weight: Tensor, indices: Tensor) -> Tensor:
    """Return the rows [any shape, D] of `weight` [V, D] that `indices`, int64, name.

    `torch.compile` turns the gradient of PyTorch's lookup into additions that threads of a
    CPU make in any order, one number at a time: slow, and of other bits in each run.
    """
    if weight.device.type == "cpu" and torch.is_grad_enabled():
        return _Lookup.apply(weight, indices)
    return F.embedding(indices, weight)


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, indices: Tensor) -> Tensor:
        ctx.save_for_backward(indices)
        ctx.num_embeddings = weight.shape[0]
        return F.embedding(indices, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (indices,) = ctx.saved_tensors
        return _gradient(gradients[0].contiguous(), indices, ctx.num_embeddings), None


@torch.library.custom_op("cloze::embedding_gradient", mutates_args=())
def _gradient(gradient: Tensor, indices: Tensor, num_embeddings: int) -> Tensor:
    """The compiler calls this as it stands; each thread owns a range of the weight's rows."""
    return torch.ops.aten.embedding_dense_backward(gradient, indices, num_embeddings, -1, False)


@_gradient.register_fake
def _(gradient: Tensor, indices: Tensor, num_embeddings: int) -> Tensor:
    return gradient.new_empty(num_embeddings, gradient.shape[-1])


class Dropout(nn.Module):
    """`dropout` in training, the identity in evaluation."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, values: Tensor) -> Tensor:
        """Return the values [any shape], some of them 0 in training."""
        return dropout(values, self.probability) if self.training else values


def dropout(values: Tensor, probability: float) -> Tensor:
    """Return `values` with each set to 0 with this probability, the others scaled up for it.

    Srivastava et al. 2014. PyTorch draws one number a value on a CPU, one after the other,
    which takes a sixth of a step. Here one draw of 64 bits serves four values, so a
    probability is a multiple of 2^-16 and the scale is that multiple's: the expectation
    stays. Draws from PyTorch's default generator.
    """
    if values.device.type != "cpu" or probability == 0:
        return F.dropout(values, probability)
    dropped = round(probability * _VALUES)
    if dropped == _VALUES:
        return values * 0
    draws = torch.empty(-(-values.numel() // _VALUES_PER_DRAW), dtype=torch.int64)
    draws.random_(torch.iinfo(torch.int64).min, None)
    kept = draws.view(torch.int16)[: values.numel()].view(values.shape) >= _LOWEST + dropped
    return values * kept.to(values.dtype).mul_(_VALUES / (_VALUES - dropped))


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    dropout_prob: float,
    relative_BHQL: Tensor | None = None,
) -> Tensor:
    """Return softmax(QKᵀ/√K + relative)·V (Vaswani et al. 2017, eq. 1), [B, H, Q, K].

    query: [B, H, Q, K]; key, value: [B, H, L, K]; mask: bool, broadcasts to [B, H, Q, L].

    On a CPU the fused kernel's backward takes a quarter of a small encoder's step; three
    plain products that the compiler fuses with the softmax make the step 1.3 times
    faster. Their scores take B·H·Q·L floats, so long rows keep the fused kernel.
    """
    scores_a_head = query.shape[-2] * key.shape[-2]
    if query.device.type != "cpu" or scores_a_head > _LONGEST_PLAIN_ROW**2:
        if relative_BHQL is not None:
            mask = relative_BHQL.masked_fill(~mask, -torch.inf).to(query.dtype)
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout_prob
        )
    scores_BHQL = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if relative_BHQL is not None:
        scores_BHQL = scores_BHQL + relative_BHQL
    weights_BHQL = (scores_BHQL + _additive(mask)).softmax(dim=-1)
    return dropout(weights_BHQL, dropout_prob).to(value.dtype) @ value


def _additive(mask: Tensor) -> Tensor:
    """Return 0 where a bool mask is True and -inf elsewhere, float32.

    Added to scores it makes them float32 and masks them in one pass over them, and none backward.
    """
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, -torch.inf)


def _block_size(window: int) -> int:
    return max(window, _SMALLEST_BLOCK)


def is_worth_blocks(length: int, window: int) -> bool:
    """Whether rows of so many tokens are long enough for `attend_blocks`."""
    return length >= _BLOCKS_WORTHWHILE * _block_size(window)


def block_mask(sample_ids: Tensor, window: int) -> Tensor:
    """Return what the queries of each block see of it and its neighbours, bool [B, 1, N, S, 3S].

    `sample_ids` as in `PackedBatch`; a token sees those of its own sample that are at most
    `window` away. A last block that the row does not fill sees itself there, so that no row of
    scores is empty.
    """
    size, length = _block_size(window), sample_ids.shape[1]
    missing = -length % size
    queries_BNS = F.pad(sample_ids, (0, missing), value=-1).unflatten(1, (-1, size))
    keys_BNS = F.pad(sample_ids, (size, missing + size), value=-1).unflatten(1, (-1, size))
    same = queries_BNS[..., :, None] == _with_neighbours(keys_BNS, 1)[..., None, :]
    queries = torch.arange(size, device=sample_ids.device)[:, None] + size
    near = (queries - torch.arange(3 * size, device=sample_ids.device)).abs() <= window
    return (same & near)[:, None].detach()


def _with_neighbours(blocks: Tensor, dim: int) -> Tensor:
    """Return each block with those before and after it: N + 2 along `dim` give N, thrice as long.

    The blocks' tokens lie along the dimension behind `dim`.
    """
    count = blocks.shape[dim] - 2
    parts = [blocks.narrow(dim, start, count) for start in range(3)]
    return torch.cat(parts, dim=dim + 1)


def attend_blocks(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, dropout_prob: float
) -> Tensor:
    """Return softmax(QKᵀ/√K)·V within a window; all [B, H, L, K], `mask` as `block_mask`.

    Each block of queries meets its own keys and those of its neighbours alone (Beltagy et al.
    2020, app. A), so time and memory grow with L times the window, not with L².
    """
    length, size = query.shape[-2], mask.shape[-2]
    missing = -length % size
    query_BHNSK = F.pad(query, (0, 0, 0, missing)).unflatten(2, (-1, size))
    key_BHNSK, value_BHNSK = (
        _with_neighbours(F.pad(states, (0, 0, size, missing + size)).unflatten(2, (-1, size)), 2)
        for states in (key, value)
    )
    scores = (query_BHNSK * query.shape[-1] ** -0.5) @ key_BHNSK.transpose(-1, -2)
    weights = (scores + _additive(mask)).softmax(dim=-1)
    attended = dropout(weights, dropout_prob).to(value.dtype) @ value_BHNSK
    return attended.flatten(2, 3)[:, :, :length]


@dataclass(frozen=True)
class Segments:
    """The bounds of the segments in a batch whose rows are laid end to end.

    `cu_seq` int32 [N + 1]: segment n holds the tokens from cu_seq[n] to cu_seq[n + 1] of
    T. N depends on the batch's shape alone; the segments left over have no tokens.
    `max_length`: no segment is longer; again a number that the shape fixes.
    """

    cu_seq: Tensor
    max_length: int


def packed_segments(sample_ids: Tensor, max_samples_per_row: int | None) -> Segments:
    """Return a segment for each sample and one for the padding of each row that has some.

    Both arguments as in `PackedBatch`. Reads no value of the batch on the host, so a GPU is
    never waited for, and its shapes are static, so one compiled graph serves every batch. A
    batch with more segments than `max_samples_per_row` allows is an index error, never a
    wrong result. A loose bound costs memory: the kernel's backward keeps 128·H·K floats for
    each segment, empty or not.
    """
    num_rows, length = sample_ids.shape
    # The last segment of a row may be its padding.
    per_row = (length // 2 if max_samples_per_row is None else max_samples_per_row) + 1
    opens_BL = torch.ones_like(sample_ids)
    opens_BL[:, 1:] = sample_ids[:, 1:] != sample_ids[:, :-1]
    segment_T = opens_BL.flatten().cumsum(0) - 1
    lengths = torch.zeros(num_rows * per_row, dtype=torch.int64, device=segment_T.device)
    lengths = lengths.scatter_add(0, segment_T, torch.ones_like(segment_T))
    cu_seq = F.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
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
    torch.compiler.assume_constant_result(varlen_has_window)


@functools.cache
def varlen_has_window() -> bool:
    """Whether the kernel behind `attend_segments` can look at a window alone (PyTorch 2.12)."""
    from torch.nn.attention.varlen import varlen_attn

    return "window_size" in inspect.signature(varlen_attn).parameters


def attend_segments(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments, window: int | None = None
) -> Tensor:
    """Return softmax(QKᵀ/√K)·V within each segment; all [B, H, L, K], bfloat16 or float16.

    `window`: how many tokens on each side are seen, which needs `varlen_has_window`; None: all.

    What follows `max_k` differs between PyTorch 2.10 (`is_causal`, `return_aux`) and 2.12
    (keywords only, `window_size` instead of `is_causal`). The defaults mean the same: no
    causal mask, scores divided by √K, one tensor returned. So none of them is passed.

    Not measured: its speed, with a window or without, and its values against
    `scaled_dot_product_attention` on a card. The tests check this function against plain loops,
    with the kernel replaced.
    """
    # It loads the compiler, which a process without a GPU may have no use for.
    from torch.nn.attention.varlen import varlen_attn

    num_rows, _, length, _ = query.shape
    query_THK, key_THK, value_THK = (t.transpose(1, 2).flatten(0, 1) for t in (query, key, value))
    cu_seq, longest = segments.cu_seq, segments.max_length
    arguments = (query_THK, key_THK, value_THK, cu_seq, cu_seq, longest, longest)
    if window is None:
        attended_THK = varlen_attn(*arguments)
    else:
        attended_THK = varlen_attn(*arguments, window_size=(window, window))
    assert isinstance(attended_THK, Tensor)  # A pair comes only with `return_aux`.
    return attended_THK.unflatten(0, (num_rows, length)).transpose(1, 2)
