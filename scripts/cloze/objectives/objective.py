"""What a trainer asks of an objective: batches, a loss and an evaluation."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from cloze.model.device import Compute


class Batch(Protocol):
    """Rows of a batch and what the loss needs of them, all tensors."""

    @property
    def num_rows(self) -> int:
        """Rows that are computed."""
        ...

    def rows(self, start: int, stop: int) -> Self:
        """Return rows `start` to `stop`, for gradient accumulation."""
        ...

    def weighted(self, factor: float) -> Self:
        """Return the batch with its loss times `factor`."""
        ...

    def to(self, device: torch.device) -> Self:
        """Return the batch on `device`; the copy to a GPU does not wait for its work."""
        ...


B = TypeVar("B", bound=Batch)


class Objective(ABC, Generic[B]):
    """What is learnt: how examples become batches, what a batch costs, what a model is worth.

    Batches are functions of (seed, step) alone, so that a resumed run replays nothing and each
    process finds its own part. The loss of a batch is a sum over its parts whose weights are
    those of the whole global batch, so that accumulation and processes change nothing.

    `model`: the encoder with its head. `num_examples`: rows or texts of an epoch;
    `num_eval_examples`: of the split that `evaluate` reads.
    `tokens_per_example`: their mean length, padding apart; `places_per_example`: with it.
    `metric_for_best_model` and `greater_is_better`, as in Hugging Face: which figure of
    `evaluate` tells the best weights of a run.
    """

    model: nn.Module
    num_examples: int
    num_eval_examples: int
    tokens_per_example: float
    places_per_example: float
    metric_for_best_model: str
    greater_is_better: bool

    @abstractmethod
    def batch(self, step: int, batch_size: int, progress: float, part: tuple[int, int] | None) -> B:
        """Return examples `part` (start, stop) of the global batch of a step, None for all.

        `step` counts from 0; `progress` is the share of the run that is done before it. The
        weights of the whole global batch, summed over its parts, are those of its mean loss.
        """

    @classmethod
    @abstractmethod
    def loss(cls, model: nn.Module, batch: B) -> Tensor:
        """Return the weighted sum of the losses of a batch, a float32 scalar."""

    @abstractmethod
    def evaluate(self, compute: Compute, num_examples: int) -> dict[str, float]:
        """Return what the model is worth on at least so many examples that are held out."""

    @abstractmethod
    def describe_batch(self, step: int, batch_size: int) -> str:
        """Name the examples of a batch, for the message about a loss that diverged."""

    def steps_per_epoch(self, batch_size: int) -> int:
        """Return the optimizer steps of an epoch, whose last batch may be smaller."""
        return -(-self.num_examples // batch_size)

    def describe_progress(self, progress: float) -> dict[str, float]:
        """Return what of the objective changes on the way and belongs into the records."""
        return {}

    def record(self, step: int, compute: Compute) -> dict[str, Any]:
        """Return what else to record after `step` steps, at the start and at evaluations."""
        return {}

    def rewind(self, step: int) -> None:
        """Forget what `record` kept by itself after `step`, which a resumed run makes again."""


class CoupledObjective(Objective[B]):
    """An objective whose examples need each other: a batch's loss is no sum over its rows.

    Where a batch is computed in parts or by several processes, gradient caching (Gao et al. 2021,
    "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup") makes it one: all
    outputs are computed without a graph, then the gradient of the loss in them, and the parts
    are computed again with that gradient. So the memory is that of a part and the gradient that of
    the whole batch.
    """

    @classmethod
    @abstractmethod
    def outputs(cls, model: nn.Module, batch: B) -> Tensor:
        """Return what the loss reads of each row of a batch, [num_rows, …]."""

    @classmethod
    @abstractmethod
    def decoupled(cls, batch: B, outputs: Tensor, total: Callable[[Tensor], Tensor]) -> B:
        """Return the batch with the gradient of its loss in `outputs`, those of all its rows.

        The loss of such a batch is a sum over its rows, with the value and the gradient of the
        global batch's. `total` sums a tensor over the processes.
        """


class LossModule(nn.Module):
    """A model together with its loss: what is compiled and what processes share."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.model = objective.model
        self._loss = objective.loss

    def forward(self, batch: Any) -> Tensor:
        """Return the loss of a batch."""
        return self._loss(self.model, batch)


T = TypeVar("T")


def map_tensors(batch: T, change: Callable[[Tensor], Tensor]) -> T:
    """Return a dataclass with every tensor in it changed, those of nested dataclasses too."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(batch):  # type: ignore[arg-type]
        value = getattr(batch, field.name)
        if isinstance(value, Tensor):
            changed[field.name] = change(value)
        elif dataclasses.is_dataclass(value):
            changed[field.name] = map_tensors(value, change)
    return dataclasses.replace(batch, **changed)  # type: ignore[type-var]


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on `device`; the copy to a GPU does not wait for its work."""
    if device.type != "cuda":
        return tensor.to(device)
    # Only pinned memory is copied without waiting for what the GPU has still to do.
    return tensor.pin_memory().to(device, non_blocking=True)
