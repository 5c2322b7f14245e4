"""Each kind of task from its files to its report and its use, on a tiny encoder."""

import json
from pathlib import Path

import pytest

import baselines
import evaluate
import finetune
import predict
import prepare_task
import report
from cloze.files import read_json
from tests.tiny_task import write_encoder

GOOD, BAD = "w1", "w2"


def write_words(path: Path, sentences: int, first: int) -> None:
    """Sentences in which w1 and w2 are entities of their own types, and w3 goes on after w1."""
    blocks = []
    for number in range(first, first + sentences):
        words = [(f"w{10 + (7 * number + step) % 40}", "O") for step in range(number % 9)]
        words += [(GOOD, "B-good"), ("w3", "I-good")] if number % 2 else [(BAD, "B-bad")]
        blocks.append("\n".join(f"{word}\t{tag}" for word, tag in words))
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def write_sets(path: Path, rows: int, first: int) -> None:
    lines = ["text,labels"]
    for number in range(first, first + rows):
        words = [f"w{10 + (7 * number + step) % 40}" for step in range(1 + number % 9)]
        words += [GOOD] * (number % 2) + [BAD] * (number % 3 == 0)
        labels = ["good"] * (number % 2) + ["bad"] * (number % 3 == 0)
        lines.append(f'{" ".join(words)},"{",".join(labels)}"')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


KINDS = {
    "token_classification": (write_words, "conll", [], "tag"),
    "multi_label_classification": (
        write_sets, "csv", ["--text-column", "text", "--label-column", "labels"], "classify"
    ),
}  # fmt: skip


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def task(tmp_path, kind) -> Path:
    write, suffix, flags, _ = KINDS[kind]
    write(tmp_path / f"train.{suffix}", 96, 0)
    write(tmp_path / f"validation.{suffix}", 40, 200)
    arguments = [
        *("--train", str(tmp_path / f"train.{suffix}")),
        *("--validation", str(tmp_path / f"validation.{suffix}")),
        *("--objective", kind, "--output", str(tmp_path / "task"), *flags),
    ]
    assert prepare_task.main(arguments) == 0
    return tmp_path / "task"


def train(root: Path, task: Path, *more: str) -> Path:
    encoder = write_encoder(root / "encoder")
    arguments = [
        *("--model", str(encoder), "--task", str(task), "--output", str(root / "model")),
        *("--num-train-epochs", "40", "--learning-rate", "2e-3", "--max-length", "16"),
        *("--train-batch-size", "8", "--threads", "1", "--seed", "1", *more),
    ]
    assert finetune.main(arguments) == 0
    return root / "model"


def test_it_is_learnt_measured_reported_and_used(tmp_path, task, kind, capsys):
    model = train(tmp_path, task)
    evaluation = tmp_path / "evaluation"
    assert evaluate.main(["--model", str(model), "--task", str(task), "--output", str(evaluation),
                          "--max-length", "16"]) == 0  # fmt: skip
    measured = read_json(evaluation / "metrics.json")["metrics"]
    assert measured["score"] > 0.9
    baseline = tmp_path / "baselines.json"
    assert baselines.main(["--task", str(task), "--output", str(baseline)]) == 0
    arguments = [
        *("--name", "tiny", "--task", str(task), "--evaluations", str(evaluation)),
        *("--baselines", str(baseline), "--output-text", str(tmp_path / "report.txt")),
        *("--output-json", str(tmp_path / "report.json")),
        *("--output-html", str(tmp_path / "report.html")),
        *("--output-figure", str(tmp_path / "figure.svg")),
    ]
    assert report.main(arguments) == 0
    text = (tmp_path / "report.txt").read_text(encoding="utf-8")
    assert f"{100 * measured['score']:.2f}" in text
    assert "good" in text
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h2>By " in page
    assert "good" in (tmp_path / "figure.svg").read_text(encoding="utf-8")
    beside = read_json(tmp_path / "report.json")["baselines"]
    assert all("paired_difference" in found for found in beside.values())
    capsys.readouterr()
    use = KINDS[kind][3]
    arguments = [use, "--model", str(model), "--threads", "1", "--json", "w12 w20 w1 w3", "w2"]
    assert predict.main(arguments) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    if kind == "token_classification":
        assert [(span["type"], span["text"], span["start"], span["end"]) for span in
                first["spans"]] == [("good", "w1 w3", 8, 13)]  # fmt: skip
        assert second["spans"][0]["type"] == "bad"
    else:
        assert first["labels"] == ["good"]
        assert second["labels"] == ["bad"]
        assert sum(first["probabilities"].values()) != pytest.approx(1)


def test_early_stopping_holds_out_rows_of_any_kind(tmp_path, task, kind):
    model = train(tmp_path, task, "--early-stopping-patience", "50")
    facts = read_json(model / "metrics.json")["metrics"]
    assert len(facts["held_out_scores"]) == 40
    assert facts["train_examples"] < 96
    if kind == "multi_label_classification":
        assert 0 < read_json(model / "config.json")["label_threshold"] < 1


def test_two_evaluations_of_it_are_compared_by_its_own_measure(tmp_path, task, kind, capsys):
    import compare

    model = train(tmp_path, task)
    arguments = ["--model", str(model), "--task", str(task), "--max-length", "16", "--output"]
    for name in ("a", "b"):
        assert evaluate.main([*arguments, str(tmp_path / name / "validation")]) == 0
    capsys.readouterr()
    assert compare.main(["diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    shown = capsys.readouterr().out
    assert "A − B, points" in shown
    assert "+0.00" in shown


@pytest.mark.slow
def test_the_exported_folder_gives_the_same_in_transformers(tmp_path, task, kind):
    import export_hf

    model = train(tmp_path, task)
    assert export_hf.main(["--model", str(model), "--output", str(tmp_path / "exported")]) == 0
    config = read_json(tmp_path / "exported" / "config.json")
    if kind == "multi_label_classification":
        assert config["problem_type"] == "multi_label_classification"
    assert config["id2label"]["0"] in ("O", "bad")
