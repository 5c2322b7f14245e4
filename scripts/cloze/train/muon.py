"""Muon (Jordan et al. 2024) over stacks of matrices of one shape.

`torch.optim.Muon` orthogonalises one matrix after the other and treats a projection that
holds several (query, key and value) as one. Here equal shapes share one batched product.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Chosen so that five iterations bring every singular value into about [0.7, 1.2].
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5
_EPSILON = 1e-7
# The root mean square of an AdamW update (Liu et al. 2025, §2.2).
_ADAMW_RMS = 0.2


def orthogonalize(matrices: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Return matrices [N, A, B] with the same singular vectors and singular values near 1.

    Five Newton-Schulz iterations of a quintic in `dtype`; A must not exceed B.
    """
    states = matrices.to(dtype)
    states = states / states.norm(dim=(-2, -1), keepdim=True).clamp(min=_EPSILON)
    for _ in range(_ITERATIONS):
        gram = torch.bmm(states, states.mT)
        polynomial = torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C)
        states = torch.baddbmm(states, polynomial, states, beta=_A)
    return states


@dataclass(frozen=True)
class _Matrix:
    """A matrix of weights, its update before it is orthogonalised, and its group."""

    group: dict[str, Any]
    weight: Tensor
    update: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """The shape, not higher than wide."""
        rows, columns = self.weight.shape
        return min(rows, columns), max(rows, columns)

    def wide(self, matrix: Tensor) -> Tensor:
        """Return a matrix of this shape, or its transpose, not higher than wide."""
        return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; for the 2-D weights of hidden layers.

    The update is scaled by 0.2·√max(A, B) (Liu et al. 2025, eq. 4), so that it is as large
    as one of AdamW and learning rate and weight decay mean the same for both. Every
    parameter [n·A, B] of a group with `matrices=n` counts as n matrices [A, B], one on the
    other, as in a fused projection of queries, keys and values.

    `dtype` is that of the iterations: bfloat16 suffices where the hardware has it.
    """

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "matrices": 1}
        super().__init__(params, defaults)
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("this optimizer takes no closure")
        stacks: dict[tuple[int, int], list[_Matrix]] = defaultdict(list)
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            count = group["matrices"]
            updates = self._momentum(group, parameters)
            for parameter, update in zip(parameters, updates, strict=True):
                parts = zip(parameter.chunk(count), update.chunk(count), strict=True)
                for matrix in (_Matrix(group, weight, part) for weight, part in parts):
                    stacks[matrix.shape].append(matrix)
        for shape, matrices in stacks.items():
            wide = torch.stack([matrix.wide(matrix.update) for matrix in matrices])
            scale = _ADAMW_RMS * math.sqrt(max(shape))
            for matrix, update in zip(matrices, orthogonalize(wide, self._dtype), strict=True):
                rate = matrix.group["lr"]
                matrix.wide(matrix.weight).mul_(1 - rate * matrix.group["weight_decay"])
                matrix.wide(matrix.weight).add_(update, alpha=-rate * scale)

    def _momentum(self, group: dict[str, Any], parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        """Move the momentum buffers; returns the Nesterov updates."""
        if not parameters:
            return ()
        gradients: list[Tensor] = [p.grad for p in parameters if p.grad is not None]
        buffers = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            buffers.append(state["momentum_buffer"])
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        return torch._foreach_lerp(gradients, buffers, group["momentum"])
