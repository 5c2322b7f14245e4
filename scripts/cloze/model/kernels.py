"""What is there only to be fast, each beside the plain form whose values a test holds it to.

| here | plain form |
|---|---|
| `embed` | `torch.nn.functional.embedding` |
| `dropout` | `torch.nn.functional.dropout` (in distribution) |
| `attend` | `torch.nn.functional.scaled_dot_product_attention` |
| `attend_segments` | `attend` with `PackedBatch.attention_mask` |

Shape suffixes: B rows, L tokens a row, H heads, K head size; Q queries a row;
T = B·L tokens of a batch; V vocabulary, D hidden size.
"""

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
    weights_BHQL = scores_BHQL.float().masked_fill(~mask, -torch.inf).softmax(dim=-1)
    return dropout(weights_BHQL, dropout_prob).to(value.dtype) @ value


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
