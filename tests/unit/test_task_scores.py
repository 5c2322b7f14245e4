import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    matthews_corrcoef,
    mean_absolute_error,
    mean_squared_error,
)

from cloze.errors import ClozeError
from cloze.tasks.scores import METRICS, check_metric, regression_metrics, task_metrics

TWO, FIVE, SCORE = ["no", "yes"], ["a", "b", "c", "d", "e"], ["score"]


@pytest.fixture
def two():
    rng = np.random.default_rng(0)
    return rng.integers(2, size=311), rng.integers(2, size=311)


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    return rng.normal(size=311), rng.normal(size=311)


def test_two_classes_agree_with_scikit_learn_to_the_last_digit(two):
    measured = task_metrics(*two, TWO, "accuracy")
    assert measured["accuracy"] == accuracy_score(*two)
    assert measured["f1"] == f1_score(*two)
    assert measured["matthews"] == matthews_corrcoef(*two)


def test_scores_agree_with_scipy_and_scikit_learn_to_the_last_digit(scores):
    measured = task_metrics(*scores, SCORE, "pearson")
    assert measured["pearson"] == pearsonr(*scores).statistic
    assert measured["spearman"] == spearmanr(*scores).statistic
    assert measured["mean_squared_error"] == mean_squared_error(*scores)
    assert measured["mean_absolute_error"] == mean_absolute_error(*scores)


def test_the_score_is_what_the_task_is_judged_by(two, scores):
    for metric, names, arrays in (("matthews", TWO, two), ("spearman", SCORE, scores)):
        measured = task_metrics(*arrays, names, metric)
        assert (measured["metric"], measured["score"]) == (metric, measured[metric])


def test_glue_takes_the_mean_of_two_measures(two, scores):
    measured = task_metrics(*two, TWO, "accuracy_and_f1")
    assert measured["score"] == (measured["accuracy"] + measured["f1"]) / 2
    measured = task_metrics(*scores, SCORE, "pearson_and_spearman")
    assert measured["score"] == (measured["pearson"] + measured["spearman"]) / 2


def test_a_constant_prediction_correlates_with_nothing():
    measured = regression_metrics(np.array([1.0, 2.0]), np.array([3.0, 3.0]))
    assert (measured["pearson"], measured["spearman"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("labels", "fitting"),
    [
        (TWO, {"accuracy", "f1", "macro_f1", "matthews", "accuracy_and_f1"}),
        (FIVE, {"accuracy", "macro_f1", "matthews"}),
        (SCORE, {"pearson", "spearman", "pearson_and_spearman"}),
    ],
)
def test_a_metric_that_does_not_fit_the_labels_is_refused(labels, fitting):
    for metric in METRICS:
        if metric in fitting:
            check_metric(metric, labels)
        else:
            with pytest.raises(ClozeError, match=f"--metric {metric}"):
                check_metric(metric, labels)
