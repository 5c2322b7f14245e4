"""Intervals hold the true value, and tests raise a false alarm, as often as they state."""

import numpy as np
import pytest

from cloze.tasks.resampled_scores import mcnemar, paired_difference, permutation_p_value
from cloze.tasks.statistics import paired_bootstrap, summarise, wilson_interval

# A rate of 0.95 found in so many simulations strays by more than this once in 15,000 times.
FOUR_DEVIATIONS = 4 * 0.95**0.5 * 0.05**0.5


def share_that_holds(intervals: list[tuple[float, float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in intervals]))


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_the_interval_over_seeds_covers(num_seeds):
    scores = np.random.default_rng(num_seeds).normal(0.83, 0.006, size=(8_000, num_seeds))
    intervals = [summarise(values).ci95 for values in scores.tolist()]
    found = share_that_holds(intervals, 0.83)
    assert found == pytest.approx(0.95, abs=FOUR_DEVIATIONS / 8_000**0.5)


@pytest.mark.parametrize("num_rows", [50, 872])
@pytest.mark.parametrize("accuracy", [0.5, 0.82, 0.96])
def test_the_interval_of_a_proportion_covers(accuracy, num_rows):
    # Counts are whole numbers, so the rate waves about 0.95: by 0.014 at 50 rows near 1.
    right = np.random.default_rng(0).binomial(num_rows, accuracy, size=8_000)
    found = share_that_holds([wilson_interval(k, num_rows) for k in right], accuracy)
    assert found == pytest.approx(0.95, abs=0.02)


def predictions_of(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw two seeds of two systems that err on the same hard rows, right 85 and 80 % there."""
    hard = rng.random(len(labels)) < 0.5
    sides = []
    for easy_rate, hard_rate in ((0.95, 0.75), (0.92, 0.68)):
        right = rng.random((2, len(labels))) < np.where(hard, hard_rate, easy_rate)
        sides.append(np.where(right, labels, 1 - labels))
    return sides[0], sides[1]


TRUE_DIFFERENCE = 0.05


def test_the_interval_of_a_difference_in_accuracy_covers():
    rng = np.random.default_rng(1)
    intervals = []
    for seed in range(1_000):
        ours, theirs = predictions_of(np.ones(300, dtype=np.int64), rng)
        drawn = paired_bootstrap(ours == 1, theirs == 1, resamples=1_000, seed=seed)
        intervals.append(drawn.ci95)
    found = share_that_holds(intervals, TRUE_DIFFERENCE)
    # A percentile bootstrap of 300 rows is short of its rate by up to a hundredth.
    assert found == pytest.approx(0.945, abs=0.005 + FOUR_DEVIATIONS / 1_000**0.5)


@pytest.mark.slow
def test_the_interval_of_a_difference_in_macro_f1_covers():
    # With classes of one size and errors that do not ask for the class, macro F1 is accuracy.
    rng = np.random.default_rng(2)
    intervals = []
    for seed in range(200):
        labels = rng.integers(2, size=150)
        ours, theirs = predictions_of(labels, rng)
        intervals.append(paired_difference("macro_f1", labels, ours, theirs, 2, seed=seed).ci95)
    found = share_that_holds(intervals, TRUE_DIFFERENCE)
    assert found == pytest.approx(0.945, abs=0.005 + FOUR_DEVIATIONS / 200**0.5)


@pytest.mark.slow
def test_the_interval_of_a_difference_in_correlation_covers():
    rng = np.random.default_rng(3)
    intervals = []
    for seed in range(150):
        labels = rng.normal(size=200)
        ours, theirs = (
            (r * labels + (1 - r * r) ** 0.5 * rng.normal(size=200))[None] for r in (0.8, 0.6)
        )
        intervals.append(paired_difference("pearson", labels, ours, theirs, 1, seed=seed).ci95)
    found = share_that_holds(intervals, 0.2)
    assert found == pytest.approx(0.945, abs=0.005 + FOUR_DEVIATIONS / 150**0.5)


def test_equal_systems_are_called_different_as_seldom_as_stated():
    rng = np.random.default_rng(4)
    labels = np.ones(200, dtype=np.int64)
    permuted, exact = [], []
    for seed in range(300):
        ours, theirs = ((rng.random((1, 200)) < 0.8).astype(np.int64) for _ in range(2))
        permuted.append(
            permutation_p_value("accuracy", labels, ours, theirs, 2, permutations=199, seed=seed)
        )
        exact.append(mcnemar(ours == 1, theirs == 1).p_value)
    # Ties make both tests careful: never above the rate, and not far below it.
    for p_values in (permuted, exact):
        assert 0.01 <= np.mean(np.array(p_values) <= 0.05) <= 0.05 + 4 * (0.0475 / 300) ** 0.5
