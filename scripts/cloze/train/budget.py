"""How long to train, by steps or by the clock, and the learning rate on the way.

Progress is the share of the run that is done: steps done over all steps where the budget is
in steps or tokens, and time where it is in seconds; a schedule does not know which.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloze.errors import ClozeError

# The best weights, read and written again, and the last ones, with their hashes.
_SAVES_AT_THE_END = 4
_LEAST_TRAINING_SHARE = 0.25
_imported = time.monotonic()


@dataclass(frozen=True)
class Span:
    """Progress before and after one optimizer step, each in [0, 1]."""

    start: float
    end: float


def learning_rate_factor(schedule: str, span: Span, warmup: float, cooldown: float) -> float:
    """Return the share of the peak learning rate that a step uses.

    All schedules rise linearly over the first share `warmup` of the run; then `linear`
    and `cosine` fall to 0 at its end, `warmup_stable_decay` stays and falls linearly over
    the last share `cooldown` (Hu et al. 2024, §4), `constant` stays.
    """
    if span.start < warmup:
        return min(1.0, span.end / warmup)
    done = min(1.0, (span.start - warmup) / (1.0 - warmup)) if warmup < 1.0 else 1.0
    if schedule == "linear":
        return 1.0 - done
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    if schedule == "warmup_stable_decay" and cooldown > 0.0:
        return min(1.0, (1.0 - span.start) / cooldown)
    return 1.0


def process_seconds() -> float:
    """Return the seconds since this process began; without /proc, since this import."""
    stat = Path("/proc/self/stat")
    if not stat.is_file():
        return time.monotonic() - _imported
    # Field 22 is the start in clock ticks after boot; field 2, a name, may hold spaces.
    ticks = int(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


class StepBudget:
    """So many optimizer steps."""

    def __init__(self, max_steps: int) -> None:
        self.max_steps, self.step_seconds = max_steps, 0.0

    def readings(self) -> tuple[float, float]:
        """Return the seconds since the process began, and 0."""
        return process_seconds(), 0.0

    def next_span(self, steps_done: int, readings: tuple[float, ...]) -> Span | None:
        """Return the progress over the next step, or None after the last."""
        if steps_done >= self.max_steps:
            return None
        return Span(steps_done / self.max_steps, (steps_done + 1) / self.max_steps)

    def describe(self, steps_done: int) -> str:
        """Say how far the run is."""
        return f"step {steps_done} of {self.max_steps}"

    def note_pauses(
        self, *, evaluation_seconds: float | None = None, save_seconds: float | None = None
    ) -> None:
        """Steps do not care how long a pause is."""

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs to go on."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""


class TimeBudget:
    """So many seconds from the start of the process to its end, all processes of a run added.

    Everything counts: imports, compilation, evaluation, saving. Progress starts at 0 with
    the second step, when whatever compiles is compiled, and reaches 1 where just the time
    for the last evaluation and for saving is left. After a resume the rest of the schedule
    is spread over the rest of the time.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = process_seconds) -> None:
        self.seconds = seconds
        self._clock = clock
        self.max_steps = None
        self._spent_before = 0.0
        self._evaluation_seconds = self._save_seconds = 0.0
        self._progress = 0.0
        # Steps of this process, and (elapsed, progress) after the first of them.
        self._steps = 0
        self._anchor: tuple[float, float] | None = None
        self.step_seconds = 0.0

    def readings(self) -> tuple[float, float]:
        """Return the seconds spent so far and those to keep for the end."""
        reserve = self._evaluation_seconds + _SAVES_AT_THE_END * self._save_seconds
        return self._spent_before + self._clock(), reserve

    def next_span(self, steps_done: int, readings: tuple[float, ...]) -> Span | None:
        """Return the progress over the next step, or None when it is time to finish.

        Raises `ClozeError` if little of the budget is left when training could begin.
        """
        elapsed, reserve = readings
        end = self.seconds - reserve
        if self._steps == 0:
            self._check(steps_done, elapsed, end)
            if elapsed >= end:
                return None
            self._steps = 1
            return Span(self._progress, self._progress)
        if self._anchor is None:
            self._anchor = (elapsed, self._progress)
        since, began = self._anchor
        if self._steps > 1:
            self.step_seconds = (elapsed - since) / (self._steps - 1)
        # The step that would end nearer to the end than now is still taken.
        if elapsed + 0.5 * self.step_seconds >= end:
            return None
        rate = (1.0 - began) / (end - since)
        self._progress = min(1.0, began + rate * (elapsed - since))
        self._steps += 1
        return Span(self._progress, min(1.0, self._progress + rate * self.step_seconds))

    def _check(self, steps_done: int, elapsed: float, end: float) -> None:
        if steps_done == 0 and end - elapsed < _LEAST_TRAINING_SHARE * self.seconds:
            raise ClozeError(
                f"--budget {self.seconds:.0f}s: starting took {elapsed:.0f} s and the last "
                f"evaluation and saving need about {self.seconds - end:.0f} s, which leaves too "
                "little for training; give more time, or a smaller validation split"
            )

    def describe(self, steps_done: int) -> str:
        """Say how far the run is."""
        return f"step {steps_done}, {100 * self._progress:.0f} % of {self.seconds:.0f} s"

    def note_pauses(
        self, *, evaluation_seconds: float | None = None, save_seconds: float | None = None
    ) -> None:
        """Take note of how long the last evaluation will take, or the writing of weights."""
        if evaluation_seconds is not None:
            self._evaluation_seconds = evaluation_seconds
        if save_seconds is not None:
            self._save_seconds = save_seconds

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs to go on: the time spent and the progress."""
        return {
            "spent_seconds": self.readings()[0],
            "progress": self._progress,
            "evaluation_seconds": self._evaluation_seconds,
            "save_seconds": self._save_seconds,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`; what was spent after it was saved is not counted."""
        self._spent_before, self._progress = state["spent_seconds"], state["progress"]
        self._evaluation_seconds = state["evaluation_seconds"]
        self._save_seconds = state["save_seconds"]


Budget = StepBudget | TimeBudget
