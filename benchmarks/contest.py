"""Two trainers that never compute at the same time, each in a process of its own.

A trainer passes a `Gate` before every step. The gate lets it go on for a block of seconds,
tells how far it came and holds it until its next turn, so both meet the same minutes of a
machine that others share, and neither inherits the other's threads or memory.
"""

import contextlib
import math
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

_MIN_STEPS = 3
# Idle OpenMP threads spin for a moment; the other's block starts when they sleep.
_PAUSE_SECONDS = 0.3


@dataclass(frozen=True)
class Block:
    """What a trainer did in one turn."""

    steps: int
    seconds: float


class ContenderError(Exception):
    """A trainer's process ended before its time; what it printed says why."""


class FinishedError(BaseException):
    """Ends a trainer from inside its loop; nothing in between may take it for a failure."""


class Gate:
    """Stands before each step of a trainer; see the module."""

    def __init__(self, connection: Connection, synchronize: Callable[[], None]) -> None:
        self._connection, self._synchronize = connection, synchronize
        self._started = self._seconds = 0.0
        self._steps = 0
        self.mode = ""
        """What the current block asks for besides training; empty for nothing."""

    def pass_through(self) -> None:
        """Return when the next step may begin; raises `FinishedError` when there is none."""
        if self._steps >= _MIN_STEPS and self._elapsed() >= self._seconds:
            self._synchronize()
            self._connection.send(Block(self._steps, self._elapsed()))
            self._steps = 0
        if self._steps == 0:
            self._seconds, self.mode = self._connection.recv()
            if self._seconds < 0:
                raise FinishedError
            self._started = time.perf_counter()
        self._steps += 1

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started


Train = Callable[[Gate, Any], dict[str, Any]]


class Contender:
    """A trainer's process. `train(gate, settings)` returns facts when the gate ends it."""

    def __init__(self, name: str, train: Train, settings: Any) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, train, settings))
        self._process.start()
        theirs.close()

    def block(self, seconds: float, mode: str = "") -> Block:
        """Let it train for about `seconds`, at least three steps; raises `ContenderError`."""
        time.sleep(_PAUSE_SECONDS)
        self._connection.send((seconds, mode))
        result = self._receive()
        if not isinstance(result, Block):
            raise ContenderError(f"{self.name}: ended before its time: {result}")
        return result

    def finish(self) -> dict[str, Any]:
        """End it; returns its facts and `peak_mb`, the largest resident size it had."""
        self._connection.send((-1.0, ""))
        return self._facts()

    def train_to_the_end(self) -> dict[str, Any]:
        """Let it train until it ends by itself; returns what `finish` does."""
        self._connection.send((math.inf, ""))
        return self._facts()

    def _facts(self) -> dict[str, Any]:
        facts = self._receive()
        self._process.join()
        return facts

    def _receive(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, ConnectionResetError) as error:
            self._process.join()
            raise ContenderError(
                f"{self.name}: its process ended with {self._process.exitcode}"
            ) from error


def _run(connection: Connection, train: Train, settings: Any) -> None:
    gate = Gate(connection, _synchronize)
    # The parent may be interrupted before it asks for the facts.
    with contextlib.suppress(BrokenPipeError):
        facts = train(gate, settings)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        connection.send({**facts, "peak_mb": round(peak_mb, 1)})


def _synchronize() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def tokens_per_second(blocks: Sequence[Block], tokens_per_step: int) -> float:
    """Return the median over blocks."""
    return round(statistics.median(b.steps * tokens_per_step / b.seconds for b in blocks), 1)
