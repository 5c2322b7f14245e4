"""Tests of whether two systems differ on the same rows."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from cloze.tasks.resampled_scores import NUMBERS_AT_ONCE, scores_of_draws

PERMUTATIONS = 5_000


@dataclass(frozen=True)
class McNemar:
    """Rows on which only one of two systems is right, and how likely that split is by chance."""

    first_only: int
    second_only: int
    p_value: float


def mcnemar(correct: np.ndarray, other_correct: np.ndarray) -> McNemar:
    """Return McNemar's exact two-sided test (McNemar 1947; the binomial form).

    correct, other_correct: bool [num_seeds, N]. Of several seeds a row counts for the system
    that is right in the larger share of its seeds, which is a sign test; of one seed each it
    is McNemar's own.
    """
    difference = correct.mean(axis=0) - other_correct.mean(axis=0)
    wins, losses = int((difference > 1e-12).sum()), int((difference < -1e-12).sum())
    decided = wins + losses
    p_value = float(binomtest(wins, decided).pvalue) if decided else 1.0
    return McNemar(wins, losses, p_value)


def permutation_p_value(
    metric: str,
    labels: np.ndarray,
    predictions: np.ndarray,
    other_predictions: np.ndarray,
    num_labels: int,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> float:
    """Return how often chance alone makes a difference in score as large as the observed one.

    Shapes as for `paired_difference`. If the systems were the same, whose prediction is
    whose would not matter: for each row, all seeds of it together, the two are exchanged with
    probability 1/2 (Noreen 1989, as in Koehn 2004). Two-sided; the observed assignment counts
    as one of the permutations, so the value is never 0.
    """
    # Every seed of one meets every seed of the other equally often.
    sides = (
        np.repeat(predictions, len(other_predictions), axis=0),
        np.tile(other_predictions, (len(predictions), 1)),
    )
    both = np.concatenate(sides, axis=1)
    twice = np.concatenate([labels, labels])
    rows = len(labels)

    def differences(exchanged: np.ndarray) -> np.ndarray:
        first = np.concatenate([~exchanged, exchanged], axis=1).astype(float)
        ours, theirs = (
            scores_of_draws(metric, twice, both, num_labels, weights)
            for weights in (first, 1 - first)
        )
        return np.abs(ours - theirs)

    observed = differences(np.zeros((1, rows), dtype=bool))[0]
    generator, as_large = np.random.default_rng(seed), 1
    at_once = max(1, NUMBERS_AT_ONCE // max(2 * rows, num_labels))
    for start in range(0, permutations, at_once):
        size = min(at_once, permutations - start)
        found = differences(generator.random((size, rows)) < 0.5)
        as_large += int((found >= observed - 1e-12).sum())
    return as_large / (permutations + 1)
