"""How long to train: a number of optimizer steps, or seconds by the clock."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloze.errors import ClozeError
from cloze.train.recipe import RULES
from cloze.train.schedules import Span

# Masked examples, curve, hashes and the end of the process take up to a quarter of what
# the imports and the reading of the data took on the same machine.
_FINISHING_SHARE_OF_START = 0.25
# The last weights and the best ones, written, then copied.
_SAVES_AT_THE_END = 4
_LEAST_TRAINING_SHARE = 0.25
_imported = time.monotonic()


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
        self.max_steps = max_steps

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

    def affordable_evaluations(self) -> int:
        """Return how many evaluations to plan, where their interval is not given."""
        return RULES.most_evaluations

    def note_pauses(self, evaluation_seconds: float, save_seconds: float) -> None:
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
        self._clock, self._start_seconds = clock, clock()
        self.max_steps = None
        self._spent_before = 0.0
        self._evaluation_seconds = self._save_seconds = 0.0
        self._progress = 0.0
        # Steps of this process, and (elapsed, progress) after the first of them.
        self._steps = 0
        self._anchor: tuple[float, float] | None = None
        self._step_seconds = 0.0

    def readings(self) -> tuple[float, float]:
        """Return the seconds spent so far and those to keep for the end."""
        reserve = (
            self._evaluation_seconds
            + _SAVES_AT_THE_END * self._save_seconds
            + _FINISHING_SHARE_OF_START * self._start_seconds
        )
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
            self._step_seconds = (elapsed - since) / (self._steps - 1)
        # The step that would end nearer to the end than now is still taken.
        if elapsed + 0.5 * self._step_seconds >= end:
            return None
        rate = (1.0 - began) / (end - since)
        self._progress = min(1.0, began + rate * (elapsed - since))
        self._steps += 1
        return Span(self._progress, min(1.0, self._progress + rate * self._step_seconds))

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

    def affordable_evaluations(self) -> int:
        """Return how many evaluations to plan, where their interval is not given."""
        affordable = RULES.evaluation_share * self.seconds / max(1e-3, self._evaluation_seconds)
        return max(1, min(RULES.most_evaluations, int(affordable)))

    def note_pauses(self, evaluation_seconds: float, save_seconds: float) -> None:
        """Take note of how long an evaluation and the writing of a model take."""
        self._evaluation_seconds, self._save_seconds = evaluation_seconds, save_seconds

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
        self.note_pauses(state["evaluation_seconds"], state["save_seconds"])


Budget = StepBudget | TimeBudget
