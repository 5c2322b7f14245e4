import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from cloze.tasks.resampled_scores import mcnemar, permutation_p_value


def test_mcnemar_is_the_binomial_test_of_the_rows_that_differ():
    rng = np.random.default_rng(0)
    first, second = rng.random((1, 200)) < 0.8, rng.random((1, 200)) < 0.7
    found = mcnemar(first, second)
    wins, losses = int((first & ~second).sum()), int((~first & second).sum())
    assert (found.first_only, found.second_only) == (wins, losses)
    assert found.p_value == binomtest(wins, wins + losses).pvalue
    assert mcnemar(first, first).p_value == 1.0


def pairs(generator: np.random.Generator, second_right: float):
    labels = generator.integers(2, size=80)
    return labels, *(
        np.where(generator.random((1, 80)) < right, labels, 1 - labels)
        for right in (0.8, second_right)
    )


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews"])
def test_without_a_difference_every_p_value_is_as_likely(metric):
    generator = np.random.default_rng(1)
    found = [
        permutation_p_value(metric, *pairs(generator, 0.8), 2, permutations=99) for _ in range(300)
    ]
    # Ties of a discrete score make the test cautious, never bold.
    for level in (0.05, 0.1, 0.25):
        share = np.mean(np.array(found) <= level)
        assert share <= level + 3 * np.sqrt(level * (1 - level) / len(found))
    assert kstest(found, "uniform", alternative="greater").pvalue > 0.001


def test_a_difference_is_found():
    generator = np.random.default_rng(2)
    assert permutation_p_value("f1", *pairs(generator, 0.4), 2) < 0.001


def test_scores_are_compared_by_their_correlation():
    generator = np.random.default_rng(3)
    labels = generator.normal(size=100)
    near, far = (labels + scale * generator.normal(size=(2, 100)) for scale in (0.3, 2.0))
    assert permutation_p_value("pearson_and_spearman", labels, near, far, 1) < 0.001
    assert permutation_p_value("pearson", labels, near, near, 1) == 1.0
