"""Dropout (Srivastava et al. 2014) whose random numbers do not take a sixth of a CPU's step."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

_VALUES = 1 << 16
_VALUES_PER_DRAW = 4
_LOWEST = -(1 << 15)


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

    PyTorch draws one number a value on a CPU, one after the other. Here one draw of 64 bits
    serves four values, so a probability is a multiple of 2^-16 and the scale is that
    multiple's: the expectation stays. Draws from PyTorch's default generator.
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
