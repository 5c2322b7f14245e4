"""Means over seeds and differences over examples, each with its 95 % interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95
_UPPER_TAIL = (1 + CONFIDENCE) / 2


@dataclass(frozen=True)
class Summary:
    """Mean of some runs; deviation and interval are None where one run gives none."""

    mean: float
    std: float | None
    ci95: tuple[float, float] | None


def summarise(values: Sequence[float]) -> Summary:
    """Return mean, sample standard deviation (n - 1) and Student's t interval of the mean.

    The interval says where the mean over all seeds would lie; it knows nothing of the
    choice of test examples. `values` must not be empty.
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return Summary(mean, None, None)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = float(stdtrit(count - 1, _UPPER_TAIL)) * std / math.sqrt(count)
    return Summary(mean, std, (mean - half, mean + half))


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson 1927).

    Unlike the normal approximation it stays inside 0..1. `successes` may be a mean
    over seeds, so a fraction. `trials` must be at least 1.
    """
    z = float(ndtri(_UPPER_TAIL))
    share = successes / trials
    scale = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class PairedDifference:
    """How much better one system scores than another on the same examples."""

    difference: float
    ci95: tuple[float, float]
    resamples: int


def paired_bootstrap(
    correct: np.ndarray, baseline_correct: np.ndarray, *, resamples: int = 10_000, seed: int = 0
) -> PairedDifference:
    """Return the difference in accuracy and its percentile bootstrap interval.

    correct, baseline_correct: bool [num_seeds, num_examples], the same examples in the
    same order; the numbers of seeds may differ. Each example counts with the mean over
    its seeds and the examples are drawn again with replacement (Efron 1979; Koehn 2004),
    so the interval covers the choice of examples, given these seeds.
    """
    per_example = correct.mean(axis=0) - baseline_correct.mean(axis=0)
    # A mean over a few seeds takes few values, and drawing examples with replacement is
    # drawing how often each value comes up: one multinomial draw a resample.
    values, counts = np.unique(per_example.round(12), return_counts=True)
    draws = np.random.default_rng(seed).multinomial(
        per_example.size, counts / per_example.size, size=resamples
    )
    means = draws @ values / per_example.size
    return PairedDifference(float(per_example.mean()), interval(means), resamples)


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """Return the percentiles between which 95 % of resampled values lie (Efron 1979)."""
    low, high = np.quantile(resampled, [1 - _UPPER_TAIL, _UPPER_TAIL])
    return float(low), float(high)
