"""Several labels a row: as files have them, and what predictions of them are worth."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from cloze.errors import ClozeError
from cloze.objectives.multi_label_classification import LabelLogits, MultiLabelClassification
from cloze.tasks.kind import LeftOut
from cloze.tasks.label_sets import LabelSets, label_sets_outcome
from cloze.tasks.scores import score_of_sums
from cloze.tasks.task import Task, TaskSplit
from tests.tiny_task import task_settings

NAMES = ["joy", "fear", "love"]


def settings(**given) -> Namespace:
    return task_settings(**{"text_column": "text", "label_column": "labels", **given})


def read(path: Path, text: str, **given) -> list[list[str]]:
    path.write_text(text, encoding="utf-8")
    found = settings(**given)
    return [row.labels for row in LabelSets().read(found, path, LeftOut(found))]


def test_labels_are_listed_in_a_cell_with_any_separator(tmp_path):
    text = 'text,labels\na,"joy, love"\nb,\nc,fear\n'
    assert read(tmp_path / "a.csv", text) == [["joy", "love"], [], ["fear"]]
    text = "text\tlabels\na\tjoy | love\n"
    assert read(tmp_path / "a.tsv", text, label_separator="|") == [["joy", "love"]]


def test_labels_are_lists_or_flags_or_columns(tmp_path):
    text = '{"text": "a", "labels": ["joy", "love"]}\n{"text": "b", "labels": []}\n'
    assert read(tmp_path / "a.jsonl", text) == [["joy", "love"], []]
    text = '{"text": "a", "labels": [1, 0, 1.0]}\n'
    assert read(tmp_path / "a.jsonl", text, labels=NAMES) == [["joy", "love"]]
    text = "text,joy,fear\na,1,0\nb,0,1.0\nc,true,\n"
    columns = {"label_columns": ["joy", "fear"], "label_column": None}
    assert read(tmp_path / "a.csv", text, **columns) == [["joy"], ["fear"], ["joy"]]


@pytest.mark.parametrize(
    ("name", "text", "given", "message"),
    [
        (
            "a.csv",
            "text,joy\na,2\n",
            {"label_columns": ["joy"]},
            "column 'joy' holds \"2\", neither",
        ),
        ("a.jsonl", '{"text": "a", "labels": 3}\n', {}, "column 'labels' holds 3, no list"),
        ("a.jsonl", '{"text": "a", "labels": [null]}\n', {}, "holds null, no label"),
        ("a.csv", "text,labels\n", {"text_column": "words"}, "no column 'words'; there are: text"),
    ],
)
def test_what_is_amiss_is_named(tmp_path, name, text, given, message):
    with pytest.raises(ClozeError) as error:
        read(tmp_path / name, text, **given)
    assert message in str(error.value)
    assert name in str(error.value)


def test_an_unknown_label_is_refused_with_its_place():
    rows = [Namespace(text="a", labels=["joy", "hate"], place="line 4", pair=None, group=None)]
    message = r"dev.csv: line 4: label 'hate' is not one of the task's labels \(joy, fear, love\)"
    with pytest.raises(ClozeError, match=message):
        LabelSets().encode(Path("dev.csv"), rows, NAMES)


def test_numbers_index_the_labels_and_rows_are_kept_without_any():
    rows = [
        Namespace(text="a", labels=labels, place="line 1", pair=None, group=None)
        for labels in (["2", "0"], [], ["fear"])
    ]
    split = LabelSets().encode(Path("train.csv"), rows, NAMES)
    assert split.labels.tolist() == [[True, False, True], [False] * 3, [False, True, False]]
    facts = LabelSets().describe(split, NAMES)
    assert facts == {"rows_by_label": {"joy": 1, "fear": 1, "love": 1}, "rows_without_label": 1}
    again = LabelSets().labels_from_arrow(pa_column(split), NAMES)
    assert np.array_equal(again, split.labels)


def pa_column(split: TaskSplit):
    import pyarrow as pa

    return pa.chunked_array([split.label_array()])


@pytest.mark.parametrize("metric", ["micro_f1", "macro_f1"])
def test_every_figure_is_that_of_scikit_learn(metric):
    rng = np.random.default_rng(0)
    labels, predictions = rng.random((80, 3)) < 0.3, rng.random((80, 3)) < 0.4
    task = Task(Path("t"), "t", NAMES, {"metric": metric})
    outcome = label_sets_outcome(task, labels, predictions)
    for average in ("micro", "macro"):
        expected = f1_score(labels, predictions, average=average)
        assert outcome.metrics[f"{average}_f1"] == expected
    by_label = f1_score(labels, predictions, average=None)
    assert [part["f1"] for part in outcome.metrics["per_type"].values()] == by_label.tolist()
    assert outcome.metrics["score"] == outcome.metrics[metric]
    sums = outcome.statistics.sum(axis=0, keepdims=True)
    assert score_of_sums(metric, sums)[0] == pytest.approx(outcome.metrics["score"], abs=1e-12)


def test_labels_do_not_exclude_each_other_and_the_threshold_decides():
    task = Task(Path("t"), "t", NAMES, {"metric": "micro_f1"})
    split = TaskSplit(["a"], np.array([[True, True, False]]))
    logits = np.array([[2.0, 0.1, -0.2]], dtype=np.float32)

    def found(threshold):
        outcome = MultiLabelClassification.outcome(
            task, split, None, LabelLogits(logits, threshold)
        )
        return outcome.columns["prediction"].to_pylist(), outcome.metrics["score"]

    assert found(0.5) == ([[0, 1]], 1.0)
    assert found(0.6) == ([[0]], 2 / 3)
    losses = MultiLabelClassification.losses(
        torch.from_numpy(logits), torch.tensor([[1.0, 1.0, 0.0]])
    )
    assert float(losses) == pytest.approx((0.1269 + 0.6444 + 0.5981) / 3, abs=1e-4)
