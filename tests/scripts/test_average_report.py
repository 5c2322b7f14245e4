"""The average over the reports of several tasks."""

from pathlib import Path

import pytest

import average_report
from cloze.files import read_json, write_json


def write(folder, name, per_seed, scratch, tfidf=0.5, metric="accuracy"):
    mean = sum(per_seed) / len(per_seed)
    seeds = {str(seed): score for seed, score in enumerate(per_seed, 1)}
    report = {
        "name": name,
        "score": {"metric": metric, "mean": mean, "std": None, "per_seed": seeds},
        "baselines": {
            "majority": {"score": 0.25},
            "tfidf_logistic_regression": {"score": tfidf},
        },
    }
    if scratch is not None:
        report["baselines"]["no_pretraining"] = {
            "score": {"metric": metric, "per_seed": dict.fromkeys(seeds, scratch)}
        }
    write_json(folder / f"{name}_report.json", report)
    return str(folder / f"{name}_report.json")


def average(folder, *tasks):
    outputs = ["--output-text", str(folder / "g.txt"), "--output-json", str(folder / "g.json")]
    given = [text for task in tasks for text in ("--task", *task)]
    return average_report.main(["--name", "glue", *given, *outputs])


def test_two_reports_of_one_task_count_as_their_mean(tmp_path):
    one = write(tmp_path, "cola", [0.5, 0.7], 0.4, metric="matthews")
    matched, mismatched = (
        write(tmp_path, name, scores, 0.2)
        for name, scores in (("mnli", [0.8, 0.8]), ("mnli-mismatched", [0.6, 0.6]))
    )
    assert average(tmp_path, [one], [matched, mismatched]) == 0
    found = read_json(tmp_path / "g.json")["average"]
    assert found["this_encoder"]["per_seed"] == pytest.approx({"1": 0.6, "2": 0.7})
    assert found["this_encoder"]["mean"] == pytest.approx(0.65)
    assert found["no_pretraining"]["mean"] == pytest.approx(0.3)
    assert found["majority"] == {"mean": 0.25, "std": None, "ci95": None, "per_seed": {"all": 0.25}}
    text = (tmp_path / "g.txt").read_text()
    assert "glue: average of 2 tasks" in text
    assert "mnli+mnli-mismatched 70.00 ± 0.00" in " ".join(text.split())
    assert "65.00 ± 7.07" in text


def test_an_arm_that_a_report_lacks_has_no_average(tmp_path):
    tasks = [[write(tmp_path, "a", [0.5], 0.4)], [write(tmp_path, "b", [0.5], None)]]
    assert average(tmp_path, *tasks) == 0
    found = read_json(tmp_path / "g.json")
    assert "no_pretraining" not in found["average"]
    assert "One seed only" in (tmp_path / "g.txt").read_text()


def of_encoder(path, weights):
    recipe = {"corpus": "sample", "encoder": "tiny", "task": "any"}
    encoder = {"finetuning": {"encoder": {"model.safetensors": weights}}}
    write_json(Path(path), read_json(Path(path)) | {"model": "m", "recipe": recipe, **encoder})
    return [path]


def test_it_says_which_recipe_it_is_of(tmp_path):
    tasks = [of_encoder(write(tmp_path, name, [0.5], 0.4), "one") for name in ("a", "b")]
    assert average(tmp_path, *tasks) == 0
    first = [line.split() for line in (tmp_path / "g.txt").read_text().splitlines()[2:5]]
    assert first == [["model", "m"], ["recipe", "corpus", "sample,", "encoder", "tiny"], []]


def test_reports_of_other_encoders_are_refused(tmp_path, capsys):
    tasks = [of_encoder(write(tmp_path, name, [0.5], 0.4), name) for name in ("a", "b")]
    assert average(tmp_path, *tasks) == 1
    assert "b: is of another encoder than a; average reports of one" in capsys.readouterr().err


def test_other_seeds_are_refused(tmp_path, capsys):
    tasks = [[write(tmp_path, "a", [0.5], 0.4)], [write(tmp_path, "b", [0.5, 0.6], 0.4)]]
    assert average(tmp_path, *tasks) == 1
    assert "b: has the seeds 1, 2, a has 1" in capsys.readouterr().err
