"""Reports of pairs, scores and any measure, with ceilings, checkpoints and strange text."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import baselines
import report
from cloze.files import read_json, write_json
from cloze.show.report_page import PretrainingFiles, render_page
from cloze.show.report_text import render_report
from cloze.tasks.labels import Classes, Scores
from cloze.tasks.scores import task_metrics
from cloze.tasks.task import TaskSplit, describe_split, overlap_with_train, write_split
from tests.tiny_task import write_label_predictions

KEPT = Path(__file__).parents[2] / "docs" / "reports"
HOSTILE = "<script>alert(1)</script> \x07 \u202eevil & 'quoted' {{title}}"


@dataclass(frozen=True)
class Kind:
    """A task's labels and measure."""

    labels: list[str]
    metric: str


SCORES = Kind(["score"], "pearson_and_spearman")
F1 = Kind(["other", "same"], "accuracy_and_f1")
MANY = Kind([f"class {number}" for number in range(12)], "macro_f1")


def make_split(kind: Kind, rows: int, seed: int) -> TaskSplit:
    """Pairs of texts, in groups, whose label a word in the first text gives away."""
    rng = np.random.default_rng(seed)
    if len(kind.labels) == 1:
        labels: np.ndarray = rng.integers(0, 6, rows).astype(float)
    else:
        labels = np.arange(rows) % len(kind.labels)
    texts = [f"row {seed} {row} says w{int(label)}" for row, label in enumerate(labels)]
    pairs = [f"second {rng.integers(1000)} {row} of {seed}" for row in range(rows)]
    if seed == 2:
        texts[0] = HOSTILE
    return TaskSplit(texts, labels, pairs, [f"group {row // 4}" for row in range(rows)])


def write_task(folder: Path, kind: Kind) -> tuple[Path, TaskSplit]:
    splits = {"train": make_split(kind, 120, 1), "validation": make_split(kind, 60, 2)}
    for name, split in splits.items():
        write_split(folder / f"{name}.parquet", split)
    facts = {
        "name": "any", "labels": kind.labels, "metric": kind.metric, "origin": HOSTILE,
        "splits": {
            name: describe_split(
                split, kind.labels, Scores() if len(kind.labels) == 1 else Classes()
            )
            for name, split in splits.items()
        },
        "sources": {},
        "overlap_with_train": {"validation": overlap_with_train(*splits.values())},
    }  # fmt: skip
    write_json(folder / "task.json", facts)
    return folder, splits["validation"]


def write_evaluation(folder: Path, kind: Kind, split: TaskSplit, noise: float, seed: int) -> str:
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(split)) < noise
    if len(kind.labels) == 1:
        predictions = split.labels + noise * rng.normal(size=len(split))
        probabilities = np.empty((len(split), 0))
    else:
        predictions = np.where(wrong, (split.labels + 1) % len(kind.labels), split.labels)
        probabilities = np.full((len(split), len(kind.labels)), 0.01)
        probabilities[np.arange(len(split)), predictions] = 0.9
    write_label_predictions(folder, split, predictions, probabilities)
    finetuning = {"seed": seed, "train_score": 0.99, "train_seconds": 3.0, "recipe": {}}
    measured = task_metrics(split.labels, predictions, kind.labels, kind.metric)
    facts = {"task": "any", "split": "validation", "finetuning": finetuning, **measured}
    write_json(folder / "metrics.json", {"metrics": facts})
    return str(folder)


def write_any_report(folder: Path, kind: Kind) -> dict[str, Any]:
    """Write a report with everything there can be; returns its JSON, text and page."""
    task, split = write_task(folder / "task", kind)
    assert baselines.main(["--task", str(task), "--output", str(folder / "b.json")]) == 0
    metrics = {"num_parameters": 9, "layout": "bert", "masked_lm_head": True}
    write_json(folder / "encoder" / "metrics.json", {"metrics": metrics})
    config = {
        "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 64,
    }  # fmt: skip
    write_json(folder / "encoder" / "config.json", config)

    def evaluations(name: str, noise: float) -> list[str]:
        return [
            write_evaluation(folder / name / str(seed), kind, split, noise, seed)
            for seed in (1, 2, 3)
        ]

    outputs = {form: folder / f"any.{form}" for form in ("txt", "json", "html", "svg")}
    arguments = [
        *("--name", "any", "--task", str(task), "--baselines", str(folder / "b.json")),
        *("--evaluations", *evaluations("e", 0.2), "--pretraining", str(folder / "encoder")),
        *("--scratch-evaluations", *evaluations("s", 0.5)),
        *("--ceiling", "public", *evaluations("c", 0.05)),
        *("--checkpoint", "25", *evaluations("q", 0.4)),
        *("--checkpoint", "10", *evaluations("t", 0.45)),
        *("--output-text", str(outputs["txt"]), "--output-json", str(outputs["json"])),
        *("--output-html", str(outputs["html"]), "--output-figure", str(outputs["svg"])),
    ]
    assert report.main(arguments) == 0
    texts = {form: path.read_text(encoding="utf-8") for form, path in outputs.items()}
    return texts | {"json": json.loads(texts["json"])}


@pytest.mark.parametrize("kind", [SCORES, F1, MANY], ids=lambda kind: kind.metric)
def test_the_headline_is_the_tasks_own_measure(tmp_path, kind):
    written = write_any_report(tmp_path, kind)
    found = written["json"]
    assert found["score"]["metric"] == kind.metric
    assert list(found["score"]["per_seed"]) == ["1", "2", "3"]
    baselines_of = found["baselines"]
    difference = baselines_of["no_pretraining"]["paired_difference"]
    gain = found["score"]["mean"] - baselines_of["no_pretraining"]["score"]["mean"]
    assert difference["difference"] == pytest.approx(gain, abs=1e-9)
    assert difference["ci95"][0] <= gain <= difference["ci95"][1]
    assert baselines_of["ceiling"]["paired_difference"]["difference"] < 0
    for name in ("majority", "tfidf_logistic_regression"):
        assert isinstance(baselines_of[name]["score"], float)
    assert ("accuracy" in found) == (kind is not SCORES)


def test_checkpoints_stand_in_order_with_the_whole_run_last(tmp_path):
    written = write_any_report(tmp_path, F1)
    points = written["json"]["checkpoints"]
    assert [point["percent"] for point in points] == [10, 25, 100]
    assert points[-1]["score"] == written["json"]["score"]
    assert "AS PRETRAINING WENT ON" in written["txt"]
    assert "As pretraining went on" in written["html"]


def test_scores_have_no_classes_and_show_what_is_furthest_off(tmp_path):
    written = write_any_report(tmp_path, SCORES)
    found = written["json"]
    assert "confusion_matrix" not in found
    assert len(found["scatter"]) == 60
    errors = [abs(mistake["label"] - mistake["prediction"]) for mistake in found["mistakes"]]
    assert errors == sorted(errors, reverse=True)
    assert "text_pair" in found["mistakes"][0]
    for part in ("FURTHEST OFF", "TF-IDF + ridge regression", "scores 0 to 5"):
        assert part in written["txt"]
    assert "CONFUSION" not in written["txt"]


def test_overlap_counts_groups(tmp_path):
    written = write_any_report(tmp_path, F1)
    assert written["json"]["overlap"]["with_training_split"]["same_group"] == 60
    assert "60 are of a group that has training rows" in " ".join(written["txt"].split())


def test_strange_text_stays_text(tmp_path):
    page = write_any_report(tmp_path, MANY)["html"]
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \ufffd \ufffdevil &amp; " in page
    assert "{{title}}" in page
    assert not {"src=", "href=", "url(", "@import"} & set(page.split('"'))


def test_large_counts_are_written_whole(tmp_path):
    found = write_any_report(tmp_path, F1)["json"]
    large = found | {"confusion_matrix": [[10312, 2187.5], [1873, 1_062_700]]}
    page, text = render_page(large, PretrainingFiles()), render_report(large)
    for count in ("10,312", "2,187.5", "1,873", "1,062,700"):
        assert f"{count}<small>" in page
        assert f" {count}" in text


@pytest.mark.parametrize("name", ["sst2-ten-minutes", "stsb-ten-minutes", "sst2-minilm"])
def test_reports_that_were_kept_can_still_be_shown(name):
    kept = KEPT / f"{name}.json"
    text = render_report(read_json(kept))
    # What is said besides the score came later.
    score = text.partition("RESULT")[2].partition("BASELINES")[0].partition("  mind ")[0].rstrip()
    assert score in kept.with_suffix(".txt").read_text(encoding="utf-8")


def test_a_checkpoint_needs_a_share_and_a_ceiling_folders(tmp_path, capsys):
    out = ["--output-text", str(tmp_path / "t"), "--output-json", str(tmp_path / "j")]
    task, split = write_task(tmp_path / "task", F1)
    some = ["--name", "x", "--task", str(task), "--baselines", "b", "--evaluations"]
    some.append(write_evaluation(tmp_path / "e", F1, split, 0.1, 1))
    assert report.main([*some, *out, "--ceiling", "public"]) == 1
    assert "--ceiling public: names no evaluation folder" in capsys.readouterr().err
    for given in (["100", "e"], ["half", "e"], ["25"]):
        assert report.main([*some, *out, "--checkpoint", *given]) == 1
        assert "give a percentage below 100" in capsys.readouterr().err


def test_of_many_classes_the_most_frequent_confusions_are_told(tmp_path):
    written = write_any_report(tmp_path, Kind([f"class {n}" for n in range(40)], "macro_f1"))
    assert "confusion_matrix" not in written["json"]
    first = written["json"]["confusions"][0]
    number = int(first["label"].removeprefix("class "))
    assert first["prediction"] == f"class {(number + 1) % 40}"
    assert "MOST FREQUENT CONFUSIONS" in written["txt"]
    assert max(map(len, written["txt"].splitlines())) < 120
    assert "Most frequent confusions" in written["html"]
    assert len(written["svg"]) < 100_000
