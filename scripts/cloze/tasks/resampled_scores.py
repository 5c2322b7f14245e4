"""Whether two systems differ on the same rows: intervals and tests, for every metric.

Rows are drawn again, or predictions exchanged, many times. A draw is how often each row comes
up; counting classes and ranking scores by these weights gives what the metric's own function
gives on the drawn rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse
from scipy.stats import binomtest

from cloze.tasks.evaluations import Evaluations
from cloze.tasks.scores import metric_parts, score_of_sums
from cloze.tasks.statistics import PairedDifference, interval, paired_bootstrap

RESAMPLES = 2_000
# Draws times rows, or classes, held at once.
NUMBERS_AT_ONCE = 2**22
PERMUTATIONS = 5_000


def difference_of(ours: Evaluations, theirs: Evaluations, metric: str) -> PairedDifference:
    """Return how much higher ours score on the same rows, with a bootstrap interval over them."""
    if ours.statistics is None or theirs.statistics is None:
        return paired_difference(
            metric, ours.labels, ours.predictions, theirs.predictions, ours.num_labels
        )
    return paired_difference_of_sums(metric, ours.statistics, theirs.statistics)


def permutation_test(ours: Evaluations, theirs: Evaluations, metric: str) -> float:
    """Return how often chance alone makes so large a difference between two on the same rows."""
    if ours.statistics is None or theirs.statistics is None:
        return permutation_p_value(
            metric, ours.labels, ours.predictions, theirs.predictions, ours.num_labels
        )
    return permutation_p_value_of_sums(metric, ours.statistics, theirs.statistics)


def paired_difference(
    metric: str,
    labels: np.ndarray,
    predictions: np.ndarray,
    baseline_predictions: np.ndarray,
    num_labels: int,
    *,
    seed: int = 0,
) -> PairedDifference:
    """Return how much higher the first predictions score, with a bootstrap interval over rows.

    labels: [N], int64 classes below `num_labels`, or float64 scores where that is 1;
    predictions, baseline_predictions: [S, N], any number of seeds each, whose scores are
    averaged. Rows are drawn again with replacement, the same for both (Efron 1979).
    Accuracy takes 10,000 draws by `paired_bootstrap`, any other metric 2,000.
    """
    if metric == "accuracy":
        return paired_bootstrap(predictions == labels, baseline_predictions == labels, seed=seed)
    sides = (predictions, baseline_predictions)
    whole = np.ones((1, len(labels)))
    ours, theirs = (scores_of_draws(metric, labels, side, num_labels, whole) for side in sides)
    differences = [
        scores_of_draws(metric, labels, predictions, num_labels, draws)
        - scores_of_draws(metric, labels, baseline_predictions, num_labels, draws)
        for draws in _draws(len(labels), num_labels, seed)
    ]
    bounds = interval(np.concatenate(differences))
    return PairedDifference(float(ours[0] - theirs[0]), bounds, RESAMPLES)


def paired_difference_of_sums(
    metric: str, statistics: np.ndarray, baseline_statistics: np.ndarray, *, seed: int = 0
) -> PairedDifference:
    """Return what `paired_difference` does for a metric that comes from sums over rows.

    statistics, baseline_statistics: float64 [S, N, K], see `scores.score_of_sums`.
    """

    def difference(draws: np.ndarray) -> np.ndarray:
        ours, theirs = (
            np.mean([score_of_sums(metric, draws @ seed) for seed in side], axis=0)
            for side in (statistics, baseline_statistics)
        )
        return ours - theirs

    rows, width = statistics.shape[1:]
    differences = [difference(draws) for draws in _draws(rows, width, seed)]
    observed = difference(np.ones((1, rows)))[0]
    return PairedDifference(float(observed), interval(np.concatenate(differences)), RESAMPLES)


def _draws(num_rows: int, num_labels: int, seed: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    at_once = max(1, NUMBERS_AT_ONCE // max(num_rows, num_labels))
    shares = np.full(num_rows, 1 / num_rows)
    for start in range(0, RESAMPLES, at_once):
        size = min(at_once, RESAMPLES - start)
        yield generator.multinomial(num_rows, shares, size=size).astype(np.float64)


def scores_of_draws(
    metric: str, labels: np.ndarray, predictions: np.ndarray, num_labels: int, draws: np.ndarray
) -> np.ndarray:
    """Return the score of each draw, float64 [R], averaged over the seeds.

    draws: float64 [R, N], how often a row comes up; others as for `paired_difference`.
    """
    parts = metric_parts(metric)
    if num_labels == 1:
        found = [_correlation(part, labels, row, draws) for row in predictions for part in parts]
    else:
        true = draws @ _one_hot(labels, num_labels)
        found = [
            _CLASS_SCORES[part](counts)
            for row in predictions
            for counts in [_class_counts(labels, row, true, draws)]
            for part in parts
        ]
    return np.mean(found, axis=0)


class _ClassCounts(NamedTuple):
    """Rows of each class in each draw, float64 [R, num_labels]: a confusion matrix's margins."""

    right: np.ndarray
    true: np.ndarray
    predicted: np.ndarray


def _class_counts(
    labels: np.ndarray, predictions: np.ndarray, true: np.ndarray, draws: np.ndarray
) -> _ClassCounts:
    num_labels = true.shape[1]
    right = draws @ _one_hot(labels, num_labels, labels == predictions)
    return _ClassCounts(right, true, draws @ _one_hot(predictions, num_labels))


def _one_hot(
    classes: np.ndarray, num_labels: int, values: np.ndarray | None = None
) -> scipy.sparse.csr_array:
    """Return [N, num_labels] with a value, or 1, at the class of each row."""
    values = np.ones(len(classes)) if values is None else values.astype(np.float64)
    starts = np.arange(len(classes) + 1)
    return scipy.sparse.csr_array((values, classes, starts), shape=(len(classes), num_labels))


def _accuracy(counts: _ClassCounts) -> np.ndarray:
    return counts.right.sum(1) / counts.true.sum(1)


def _f1_by_class(counts: _ClassCounts) -> np.ndarray:
    return 2 * counts.right / np.maximum(counts.true + counts.predicted, 1)


def _matthews(counts: _ClassCounts) -> np.ndarray:
    """The correlation coefficient of several classes (Gorodkin 2004); 0 where undefined."""
    total, right = counts.true.sum(1), counts.right.sum(1)
    covariance = right * total - (counts.true * counts.predicted).sum(1)
    variances = (total**2 - (counts.true**2).sum(1)) * (total**2 - (counts.predicted**2).sum(1))
    return np.divide(
        covariance, np.sqrt(variances), out=np.zeros_like(covariance), where=variances > 0
    )


_CLASS_SCORES = {
    "accuracy": _accuracy,
    "f1": lambda counts: _f1_by_class(counts)[:, 1],
    "macro_f1": lambda counts: _f1_by_class(counts).mean(1),
    "matthews": _matthews,
}


def _correlation(
    part: str, labels: np.ndarray, predictions: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    if part == "pearson":
        return _pearson(labels[None], predictions[None], draws)
    return _pearson(_ranks(labels, draws), _ranks(predictions, draws), draws)


def _pearson(first: np.ndarray, second: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Correlate [1 or R, N] by weight; 0 where a draw holds one value only."""
    total = draws.sum(1, keepdims=True)
    first = first - (draws * first).sum(1, keepdims=True) / total
    second = second - (draws * second).sum(1, keepdims=True) / total
    covariance = (draws * first * second).sum(1)
    variances = (draws * first**2).sum(1) * (draws * second**2).sum(1)
    return np.divide(
        covariance, np.sqrt(variances), out=np.zeros_like(covariance), where=variances > 0
    )


def _ranks(values: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return the mean rank of each row's value in each draw, [R, N]; ties share theirs."""
    _, level, sizes = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(level, kind="stable")
    starts = np.cumsum(sizes) - sizes
    weights = np.add.reduceat(draws[:, order], starts, axis=1)
    return (np.cumsum(weights, axis=1) - weights / 2)[:, level]


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
    both = _every_pairing(predictions, other_predictions)
    twice = np.concatenate([labels, labels])

    def differences(exchanged: np.ndarray) -> np.ndarray:
        first = np.concatenate([~exchanged, exchanged], axis=1).astype(float)
        ours, theirs = (
            scores_of_draws(metric, twice, both, num_labels, weights)
            for weights in (first, 1 - first)
        )
        return np.abs(ours - theirs)

    return _p_value(differences, len(labels), num_labels, permutations, seed)


def permutation_p_value_of_sums(
    metric: str,
    statistics: np.ndarray,
    other_statistics: np.ndarray,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> float:
    """Return what `permutation_p_value` does for a metric that comes from sums over rows.

    statistics, other_statistics: float64 [S, N, K], see `scores.score_of_sums`.
    """
    both = _every_pairing(statistics, other_statistics)
    rows, width = statistics.shape[1:]

    def differences(exchanged: np.ndarray) -> np.ndarray:
        first = np.concatenate([~exchanged, exchanged], axis=1).astype(float)
        ours, theirs = (
            np.mean([score_of_sums(metric, weights @ pairing) for pairing in both], axis=0)
            for weights in (first, 1 - first)
        )
        return np.abs(ours - theirs)

    return _p_value(differences, rows, width, permutations, seed)


def _every_pairing(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return [S * T, 2 * N, …] of [S, N, …] and [T, N, …]: each seed of one meets each other's."""
    sides = np.repeat(first, len(second), axis=0), np.concatenate([second] * len(first))
    return np.concatenate(sides, axis=1)


def _p_value(
    differences: Callable[[np.ndarray], np.ndarray],
    rows: int,
    width: int,
    permutations: int,
    seed: int,
) -> float:
    observed = differences(np.zeros((1, rows), dtype=bool))[0]
    generator, as_large = np.random.default_rng(seed), 1
    at_once = max(1, NUMBERS_AT_ONCE // max(2 * rows, width))
    for start in range(0, permutations, at_once):
        size = min(at_once, permutations - start)
        found = differences(generator.random((size, rows)) < 0.5)
        as_large += int((found >= observed - 1e-12).sum())
    return as_large / (permutations + 1)
