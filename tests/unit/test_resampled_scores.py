import tracemalloc

import numpy as np
import pytest

from cloze.tasks.resampled_scores import RESAMPLES, paired_difference, scores_of_draws
from cloze.tasks.scores import task_metrics

CLASS_METRICS = ["accuracy", "macro_f1", "matthews"]


@pytest.mark.parametrize(
    ("metric", "classes"),
    [*((metric, 3) for metric in CLASS_METRICS), ("f1", 2), ("accuracy_and_f1", 2)],
)
def test_a_draw_scores_what_its_rows_score(metric, classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=60)
    predictions = np.where(rng.random((2, 60)) < 0.6, labels, rng.integers(classes, size=60))
    check(metric, labels, predictions, [str(name) for name in range(classes)], rng)


@pytest.mark.parametrize("metric", ["pearson", "spearman", "pearson_and_spearman"])
def test_a_draw_correlates_as_its_rows_do(metric):
    rng = np.random.default_rng(1)
    labels = rng.integers(6, size=60).astype(float)
    predictions = (labels + rng.normal(size=(2, 60))).round(1)
    check(metric, labels, predictions, ["score"], rng)


def check(metric, labels, predictions, names, rng):
    chosen = rng.integers(60, size=(5, 60))
    draws = np.stack([np.bincount(rows, minlength=60) for rows in chosen]).astype(float)
    found = scores_of_draws(metric, labels, predictions, len(names), draws)
    expected = [
        np.mean([task_metrics(labels[r], seed[r], names, metric)["score"] for seed in predictions])
        for r in chosen
    ]
    assert found == pytest.approx(expected, abs=1e-12)


def test_constant_predictions_correlate_with_nothing():
    draws = np.ones((1, 4))
    labels = np.arange(4.0)
    assert scores_of_draws("pearson_and_spearman", labels, np.ones((1, 4)), 1, draws) == [0.0]
    one_class = np.zeros((1, 4), dtype=np.int64)
    assert scores_of_draws("matthews", np.array([0, 1, 0, 1]), one_class, 2, draws) == [0.0]


def test_the_difference_holds_its_interval_and_is_the_same_each_time():
    rng = np.random.default_rng(2)
    labels = rng.integers(2, size=300)
    good = np.where(rng.random((3, 300)) < 0.9, labels, 1 - labels)
    poor = np.where(rng.random((1, 300)) < 0.7, labels, 1 - labels)
    found = paired_difference("f1", labels, good, poor, 2)
    assert found == paired_difference("f1", labels, good, poor, 2)
    assert found.resamples == RESAMPLES
    assert 0.05 < found.ci95[0] < found.difference < found.ci95[1] < 0.35
    assert paired_difference("f1", labels, good, good, 2).ci95 == (0.0, 0.0)


def test_memory_grows_with_the_labels_and_not_with_their_square():
    rng = np.random.default_rng(3)
    labels, predictions = rng.integers(2000, size=(2, 3000))
    draws = rng.multinomial(3000, np.full(3000, 1 / 3000), size=20).astype(float)
    tracemalloc.start()
    scores_of_draws("macro_f1", labels, predictions[None], 2000, draws)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A dense matrix of rows by labels has 48 MB, one of labels by labels 32 MB a draw.
    assert peak < 8_000_000
