"""What a reader of a score must know first, from a report's data."""

from typing import Any

import pytest

from cloze.show.verdicts import verdicts


def report(**changes: Any) -> dict[str, Any]:
    """A report with nothing amiss."""
    per_class = {name: {"recall": 0.9, "support": 50} for name in ("bad", "good")}
    return {
        "task": {
            "objective": "classification",
            "labels": ["bad", "good"],
            "splits": {"train": {"rows": 1000}},
        },
        "examples": 100,
        "baselines": {"majority": beside(0.5, 0.4), "tfidf_logistic_regression": beside(0.8, 0.1)},
        "paired_difference": difference(0.05),
        "finetuning": {"truncated_texts": 0},
        "classification_report": {"per_class": per_class},
        "corpus": {"splits": {"validation": {"documents": 2}}},
    } | changes


def difference(mean: float) -> dict[str, Any]:
    return {"difference": mean, "ci95": [mean - 0.02, mean + 0.02], "resamples": 10}


def beside(score: float, mean: float) -> dict[str, Any]:
    return {"score": score, "paired_difference": difference(mean)}


def test_nothing_is_said_where_nothing_is_amiss() -> None:
    assert verdicts(report()) == []
    # Of an encoder from elsewhere there is neither corpus nor one without pretraining.
    assert verdicts(report(corpus=None, paired_difference=None)) == []


@pytest.mark.parametrize(
    ("mean", "cut", "words"),
    [
        (-0.05, 0, ["TF-IDF + logistic regression is better", "budget", "num_train_epochs"]),
        (-0.01, 0, ["TF-IDF + logistic regression may be better"]),
        (-0.05, 500, ["50.00 % of the training texts are cut", "max_length"]),
    ],
)
def test_the_best_baseline_is_named_with_a_way_out(mean: float, cut: int, words: list[str]) -> None:
    baselines = {"majority": beside(0.5, 0.4), "tfidf_logistic_regression": beside(0.8, mean)}
    (told,) = verdicts(report(baselines=baselines, finetuning={"truncated_texts": cut}))
    assert all(word in told for word in words)


def test_pretraining_that_brings_nothing_is_said() -> None:
    (told,) = verdicts(report(paired_difference=difference(0.01)))
    assert "+1.00 [-1.00, +3.00] points, cannot be told from nothing on 100 rows" in told


def test_classes_that_are_never_recognised_are_named() -> None:
    per_class = {str(number): {"recall": 0.0, "support": 3} for number in range(7)}
    per_class["absent"] = {"recall": 0.0, "support": 0}
    (told,) = verdicts(report(classification_report={"per_class": per_class}))
    assert told.startswith("No row is recognised of 0, 1, 2, 3, 4 and 2 more: class_weights")


def test_a_validation_split_of_one_document_is_said() -> None:
    (told,) = verdicts(report(corpus={"splits": {"validation": {"documents": 1}}}))
    assert "validation_fraction" in told
