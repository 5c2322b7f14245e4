import numpy as np
import pytest
from scipy import stats

from cloze.tasks.statistics import paired_bootstrap, summarise, wilson_interval


def test_the_summary_is_students():
    values = [0.81, 0.84, 0.83, 0.86]
    summary = summarise(values)
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.std == pytest.approx(np.std(values, ddof=1))
    assert summary.ci95 == pytest.approx(expected)


def test_one_seed_has_no_deviation():
    summary = summarise([0.5])
    assert (summary.mean, summary.std, summary.ci95) == (0.5, None, None)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (7, 10), (10, 10), (715, 872)])
def test_the_proportion_interval_is_wilsons(successes, trials):
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high))


def test_equal_systems_do_not_differ():
    correct = np.random.default_rng(0).random((3, 50)) < 0.7
    result = paired_bootstrap(correct, correct)
    assert result.difference == 0
    assert result.ci95 == (0, 0)


def test_the_bootstrap_agrees_with_drawing_rows_one_by_one():
    rng = np.random.default_rng(1)
    ours, theirs = rng.random((3, 200)) < 0.8, rng.random((2, 200)) < 0.7
    result = paired_bootstrap(ours, theirs)
    per_row = ours.mean(0) - theirs.mean(0)
    means = per_row[rng.integers(200, size=(20_000, 200))].mean(1)
    assert result.difference == pytest.approx(ours.mean() - theirs.mean())
    assert result.ci95 == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.005)
    assert paired_bootstrap(ours, theirs) == result


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(2)
    theirs = rng.random((1, 500)) < 0.5
    ours = theirs | (rng.random((1, 500)) < 0.1)
    low, high = paired_bootstrap(ours, theirs).ci95
    assert 0 < low < high < low + 0.06
