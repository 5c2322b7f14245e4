import numpy as np
import pytest
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, f1_score

from cloze.tasks.scores import classification_metrics


def test_it_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(3, size=200), rng.integers(3, size=200)
    measured = classification_metrics(labels, predictions, ["a", "b", "c"])
    report = classification_report(
        labels, predictions, target_names=["a", "b", "c"], output_dict=True
    )
    assert measured["accuracy"] == accuracy_score(labels, predictions)
    assert measured["correct"] == (labels == predictions).sum()
    assert measured["macro_f1"] == pytest.approx(f1_score(labels, predictions, average="macro"))
    assert measured["confusion_matrix"] == confusion_matrix(labels, predictions).tolist()
    for name, scores in measured["per_class"].items():
        assert scores["precision"] == pytest.approx(report[name]["precision"])
        assert scores["recall"] == pytest.approx(report[name]["recall"])
        assert scores["f1"] == pytest.approx(report[name]["f1-score"])
        assert scores["support"] == report[name]["support"]


def test_a_class_that_never_occurs_keeps_its_place():
    measured = classification_metrics(np.array([0, 0]), np.array([0, 2]), ["a", "b", "c"])
    assert measured["confusion_matrix"] == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert measured["per_class"]["b"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
