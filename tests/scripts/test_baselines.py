import json
import os
from pathlib import Path

import numpy as np
import pytest

import baselines
import prepare_task
from cloze.tasks.task import TaskSplit, write_split
from tests.tiny_task import make_split, write_task


def run_baselines(task, output):
    assert baselines.main(["--task", str(task), "--output", str(output)]) == 0
    return json.loads(output.read_text())["metrics"]["splits"]


def test_both_baselines_are_measured_on_the_whole_split(tmp_path):
    task = write_task(tmp_path / "task", train_rows=200)
    splits = run_baselines(task, tmp_path / "baselines.json")
    measured = splits["validation"]
    labels = make_split(40, 2).labels
    for name in ("majority", "tfidf_logistic_regression"):
        predictions = np.array(measured[name]["predictions"])
        assert measured[name]["accuracy"] == (predictions == labels).mean()
    assert measured["majority"]["accuracy"] == 0.5
    assert measured["tfidf_logistic_regression"]["accuracy"] > 0.9
    hold_out = measured["tfidf_logistic_regression"]["hold_out"]
    assert hold_out["rows_fitted"] + hold_out["rows_held_out"] + hold_out["rows_removed"] == 200
    best = str(measured["tfidf_logistic_regression"]["C"])
    assert hold_out["accuracy_by_C"][best] == max(hold_out["accuracy_by_C"].values())
    assert run_baselines(task, tmp_path / "again.json") == splits


def test_every_split_is_predicted_by_the_same_fit(tmp_path):
    task = write_task(tmp_path / "task", train_rows=200)
    alone = run_baselines(task, tmp_path / "baselines.json")
    write_task(tmp_path / "task", train_rows=200, test_rows=30)
    both = run_baselines(task, tmp_path / "baselines.json")
    assert both["validation"] == alone["validation"]
    for found in both["test"].values():
        assert found["accuracy"] == (found["predictions"] == make_split(30, 3).labels).mean()


def test_the_majority_is_that_of_the_training_split(tmp_path):
    task = write_task(tmp_path / "task")
    split = make_split(60, 1)
    keep = np.r_[np.flatnonzero(split.labels == 1), np.flatnonzero(split.labels == 0)[:10]]
    write_split(task / "train.parquet", split.take(keep))
    measured = run_baselines(task, tmp_path / "baselines.json")["validation"]
    assert set(measured["majority"]["predictions"]) == {1}


def test_a_training_split_too_small_to_hold_out_is_refused(tmp_path, capsys):
    task = write_task(tmp_path / "task")
    write_split(task / "train.parquet", TaskSplit(["w1", "w2"], np.array([0, 1])))
    assert baselines.main(["--task", str(task), "--output", str(tmp_path / "b.json")]) == 1
    assert "too small or too repetitive to hold out" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif("CLOZE_DATA" not in os.environ, reason="CLOZE_DATA names no folder of corpora")
def test_sst2_reaches_what_is_known_of_it(tmp_path):
    data = Path(os.environ["CLOZE_DATA"]) / "sst2"
    files = ["--train", str(data / "train.parquet"), "--validation", str(data / "dev.parquet")]
    columns = ["--text-column", "sentence", "--label-column", "label"]
    assert prepare_task.main([*files, *columns, "--output", str(tmp_path / "sst2")]) == 0
    measured = run_baselines(tmp_path / "sst2", tmp_path / "baselines.json")["validation"]
    assert 0.80 < measured["tfidf_logistic_regression"]["accuracy"] < 0.84
