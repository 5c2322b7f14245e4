"""Learning rate and masking rate as functions of progress, the share of the run that is done.

Progress is steps done over all steps where the budget is in steps or tokens, and time
where it is in seconds; a schedule does not know which.
"""

import math
from dataclasses import dataclass

COOLDOWN_FRACTION = 0.2


@dataclass(frozen=True)
class Span:
    """Progress before and after one optimizer step, each in [0, 1]."""

    start: float
    end: float


def factor_over(
    schedule: str, span: Span, warmup: float, cooldown: float = COOLDOWN_FRACTION
) -> float:
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


def stage(num_stages: int, progress: float) -> int:
    """Return which of so many equal shares of the run `progress` lies in, from 0."""
    return min(num_stages - 1, int(progress * num_stages))
