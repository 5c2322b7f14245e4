"""What a checkpoint holds, gathered from a running training and given back to one."""

import math
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cloze.errors import ClozeError
from cloze.train.loss_watch import LossWatch
from cloze.train.optimization import Optimizers

_MODEL, _OPTIMIZER = "model/", "optimizer/"


def weights_on_cpu(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's weights on the CPU."""
    return {name: value.detach().cpu() for name, value in model.state_dict().items()}


def gather_tensors(model: nn.Module, optimizers: Optimizers) -> dict[str, Tensor]:
    """Return weights and optimizer state by name."""
    weights = {_MODEL + name: value for name, value in weights_on_cpu(model).items()}
    state = optimizers.state_tensors()
    return {**weights, **{_OPTIMIZER + key: value for key, value in state.items()}}


def restore_tensors(
    tensors: dict[str, Tensor], model: nn.Module, optimizers: Optimizers, origin: Path
) -> None:
    """Give back what `gather_tensors` returned.

    Raises `ClozeError` naming `origin` if it is of another model.
    """
    weights = _below(_MODEL, tensors)
    own = model.state_dict()
    differing = [
        f"{name} is {_shape(weights, name)} there and {_shape(own, name)} here"
        for name in sorted(own.keys() | weights.keys())
        if _shape(own, name) != _shape(weights, name)
    ]
    if differing:
        raise ClozeError(
            f"{origin}: is a checkpoint of another model ({differing[0]}); remove it if it was "
            "copied here by mistake, or start that run with its own command"
        )
    model.load_state_dict(weights)
    optimizers.load_state_tensors(_below(_OPTIMIZER, tensors))


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }


def _shape(tensors: dict[str, Tensor], name: str) -> str:
    return "x".join(map(str, tensors[name].shape)) or "a number" if name in tensors else "absent"


def finite_or_none(value: float) -> float | None:
    """Return what JSON can hold; `or_infinity` turns it back."""
    return value if math.isfinite(value) else None


def or_infinity(value: float | None) -> float:
    """Return infinity for None."""
    return math.inf if value is None else value


def watch_state(watch: LossWatch) -> dict[str, Any]:
    """Return the state of a loss watch as JSON."""
    return {**vars(watch), "lowest_median": finite_or_none(watch.lowest_median)}


def watch_from_state(state: dict[str, Any]) -> LossWatch:
    """Return what `watch_state` was made of."""
    return LossWatch(**{**state, "lowest_median": or_infinity(state["lowest_median"])})
