"""What ends a run before its time: a loss that has blown up, or a signal."""

import math
import signal
import statistics
import time
from dataclasses import asdict, dataclass, field
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from torch import Tensor

# Within one batch a loss is far from its mean by chance; ten times the usual distance for
# twenty steps in a row is no chance.
_DEVIATIONS = 10.0
_LEAST_RISE = 1.0
_LEARNING_STEPS = 100
_ECHO_SECONDS = 2.0


class LossWindow:
    """Loss and gradient norm of up to `size` steps, without waiting for the device."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.size = size
        self.values = torch.zeros(2, size, device=device)

    def put(self, index: int, loss: Tensor, gradient_norm: Tensor) -> None:
        """Keep the figures of the step with this number within the window."""
        self.values[0, index] = loss
        self.values[1, index] = gradient_norm

    def fill(self, losses: list[float], gradient_norms: list[float]) -> None:
        """Put back the figures of a window that was interrupted."""
        self.values[:, : len(losses)] = torch.tensor([losses, gradient_norms])


@dataclass
class LossWatch:
    """Tells a loss that has blown up from a noisy one.

    A spike is, after the first hundred steps, two windows of losses in a row that lie,
    every one of them, above the lowest median of a window so far by 1 nat and by ten mean
    deviations within a window. One odd batch is no spike, nor is a rate that rises too fast
    for a while and costs less than that.
    """

    lowest_median: float = math.inf
    deviation: float = 0.0
    steps_above: list[int] = field(default_factory=list)

    def spike(self, first_step: int, losses: list[float]) -> tuple[int, str] | None:
        """Return the step (from 0) at which a spike began and what happened, if one did.

        `losses` are those of the next window, the first of step `first_step`.
        """
        median = statistics.median(losses)
        if first_step >= _LEARNING_STEPS and min(losses) > self._limit():
            self.steps_above.append(first_step)
            if len(self.steps_above) == 2:
                return self.steps_above[0], (
                    f"the loss rose from {self.lowest_median:.2f} to {median:.2f} and stayed there"
                )
            return None
        self.steps_above.clear()
        self.deviation = max(
            self.deviation * 0.9, statistics.fmean(abs(loss - median) for loss in losses)
        )
        self.lowest_median = min(self.lowest_median, median)
        return None

    def as_json(self) -> dict[str, Any]:
        """Return the state as plain values, None for infinity, which JSON does not know."""
        lowest = self.lowest_median if math.isfinite(self.lowest_median) else None
        return {**asdict(self), "lowest_median": lowest}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return what `as_json` was made of."""
        lowest = values["lowest_median"]
        return cls(**{**values, "lowest_median": math.inf if lowest is None else lowest})

    def _limit(self) -> float:
        return self.lowest_median + max(_LEAST_RISE, _DEVIATIONS * self.deviation)


class StopSignal:
    """A context in which SIGTERM and Ctrl-C are noted in `received` instead of ending the process.

    Ctrl-C a second time, seconds later, ends it all the same. At once it is an echo: `torchrun`
    hands on to its processes what the terminal has sent them already.
    """

    def __init__(self) -> None:
        self.received = False
        self._first = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._note)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.received:
            self.received, self._first = True, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._first > _ECHO_SECONDS:
            raise KeyboardInterrupt
