"""Looking tokens up, with gradients on a CPU that are fast and the same in every run."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


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
