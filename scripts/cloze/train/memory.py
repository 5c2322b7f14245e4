"""How much of a batch a device holds at once: probed at the start, then kept."""

from collections.abc import Callable, Iterator

import torch

from cloze.cli import log
from cloze.errors import ClozeError


def divisors(rows: int) -> Iterator[int]:
    """Yield the divisors of `rows`, the largest first."""
    yield from (size for size in range(rows, 0, -1) if rows % size == 0)


def largest_divisor(rows: int, at_most: int) -> int:
    """Return the largest divisor of `rows` that is no larger than `at_most`."""
    return next(size for size in divisors(rows) if size <= at_most)


def probe_micro_batch_size(rows: int, attempt: Callable[[int], None]) -> int:
    """Return the largest divisor of `rows` with which `attempt` does not run out of memory.

    `attempt(size)` does with `size` rows what a step will do. Raises `ClozeError` if not
    even one row fits.
    """
    for size in divisors(rows):
        try:
            attempt(size)
        except torch.OutOfMemoryError:
            log.info("%d rows at once do not fit into the device's memory", size)
        else:
            return size
    raise ClozeError(
        "not one row of the data set fits into the device's memory; choose a smaller encoder, "
        "or a data set with a lower max_length"
    )


def micro_batch_size(rows: int, accumulation_steps: int) -> int:
    """Return the rows of each of `accumulation_steps` parts of a process's `rows`.

    Raises `ClozeError` if they cannot be of one size.
    """
    if rows % accumulation_steps:
        raise ClozeError(
            f"--gradient-accumulation-steps {accumulation_steps}: does not divide the {rows} rows "
            "that each process has of a batch"
        )
    return rows // accumulation_steps


def out_of_memory(step: int, rows: int, size: int) -> ClozeError:
    """Return what to say when a step with micro-batches of `size` rows runs out of memory."""
    smaller = next((divisor for divisor in divisors(rows) if divisor < size), None)
    if smaller is None:
        advice = "one row is already all that is computed at once; choose a smaller encoder"
    else:
        advice = (
            f"run the same command with --gradient-accumulation-steps {rows // smaller}, which "
            "computes the same batches in smaller parts and goes on from the last checkpoint"
        )
    return ClozeError(
        f"out of memory at step {step} with {size} of the {rows} rows computed at once; {advice}"
    )


def decide_micro_batch_size(
    rows: int,
    accumulation_steps: int | None,
    pinned: int | None,
    attempt: Callable[[int], None] | None,
) -> int:
    """Return how many of a process's `rows` it computes at once: as told, as pinned, or probed.

    Only where `attempt` is given there is a probe; see `probe_micro_batch_size`.
    """
    if accumulation_steps is not None:
        return micro_batch_size(rows, accumulation_steps)
    if pinned is not None:
        return largest_divisor(rows, pinned)
    return rows if attempt is None else probe_micro_batch_size(rows, attempt)
