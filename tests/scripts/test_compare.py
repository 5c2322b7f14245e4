import csv
from pathlib import Path

import numpy as np
import pytest

import compare
from cloze.files import read_json, write_json
from cloze.show.comparison import compare_results, render_tables
from cloze.tasks.scores import task_metrics
from cloze.tasks.task import TaskSplit
from tests.scripts.test_report import write_evaluation as write_predicted
from tests.tiny_task import write_label_predictions


def write_encoder(folder: Path, loss: float, **arguments) -> None:
    metrics = {"validation_loss": loss, "steps": 10, "num_parameters": 1000}
    content = {"metrics": metrics, "args": {"output": str(folder), **arguments}}
    write_json(folder / "metrics.json", content)


def write_evaluation(folder: Path, accuracy: float, **recipe) -> None:
    metrics = {
        "task": "films", "split": "validation", "metric": "accuracy", "score": accuracy,
        "finetuning": {"recipe": {"seed": 1, **recipe}},
    }  # fmt: skip
    write_json(folder / "metrics.json", {"metrics": metrics})


@pytest.fixture
def results(tmp_path):
    root = tmp_path / "results"
    for name, loss, width, accuracy in (("small", 3.5, 128, 0.7), ("large", 2.5, 256, 0.8)):
        folder = root / "wiki" / "wordpiece" / "rows" / name
        write_encoder(folder, loss, hidden_size=width, learning_rate=0.001, layout="bert")
        write_encoder(folder / "best", loss - 1, hidden_size=width)
        write_encoder(folder / ".runs" / "abc", 9.9, hidden_size=width)
        for seed in (1, 2):
            evaluation = folder / "films" / f"seed-{seed}" / "validation"
            write_evaluation(evaluation, accuracy + seed / 100, learning_rate=1e-4)
    write_encoder(root / "wiki" / "wordpiece" / "rows" / "unused", 4.5, hidden_size=64)
    majority = {"majority": {"metric": "accuracy", "score": 0.5}}
    baselines = {"task": "films", "splits": {"validation": majority}}
    write_json(root / "tasks" / "films" / "baselines.json", {"metrics": baselines})
    write_json(root / "tasks" / "films" / "metrics.json", {"metrics": {"name": "films"}})
    return root


def table(capsys, *arguments) -> list[list[str]]:
    assert compare.main([str(argument) for argument in arguments]) == 0
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_one_row_a_recipe_and_only_the_columns_that_differ(results, capsys):
    assert table(capsys, results) == [
        ["films:", "accuracy"],
        [],
        ["run", "score", "std", "validation_loss", "hidden_size"],
        ["wiki/wordpiece/rows/large/films", "0.815", "0.007071", "2.5", "256"],
        ["wiki/wordpiece/rows/small/films", "0.715", "0.007071", "3.5", "128"],
        ["tasks/films", "(majority)", "0.5", "-", "-", "-"],
        [],
        ["encoders", "that", "no", "task", "was", "evaluated", "with"],
        [],
        ["run"],
        ["wiki/wordpiece/rows/unused"],
    ]


def test_each_task_has_a_table_of_its_own_measure(results, capsys):
    folder = results / "wiki" / "wordpiece" / "rows" / "small" / "closeness" / "seed-1" / "test"
    metrics = {"task": "closeness", "split": "test", "metric": "spearman", "score": 0.4}
    write_json(folder / "metrics.json", {"metrics": metrics})
    lines = table(capsys, results)
    assert lines[0] == ["closeness:", "Spearman", "correlation"]
    assert lines[3] == ["wiki/wordpiece/rows/small/closeness", "0.4", "-"]
    assert lines[5] == ["films:", "accuracy"]


def test_a_terminal_gets_the_columns_that_fit_and_the_one_sorted_by(results):
    comparison = compare_results(results)
    narrow = render_tables(comparison, 60).splitlines()
    assert narrow[2].split() == ["run", "score", "std"]
    assert max(map(len, narrow)) <= 60
    assert "--all shows validation_loss, hidden_size too" in narrow
    assert "hidden_size" in render_tables(comparison, 60, "hidden_size").splitlines()[2]
    assert "--all" not in render_tables(comparison, None)


def test_any_column_sorts(results, capsys):
    lines = table(capsys, results, "--sort", "validation_loss")
    assert [line[0].split("/")[-2] for line in lines[3:5]] == ["small", "large"]
    lines = table(capsys, results, "--sort", "run")
    assert [line[0] for line in lines[3:6]] == sorted(line[0] for line in lines[3:6])


def test_an_unknown_column_lists_those_there_are(results, capsys):
    assert compare.main([str(results), "--sort", "f1"]) == 1
    message = capsys.readouterr().err
    assert "--sort f1: no such column; there are: run, score, std, validation_loss" in message


def test_a_column_that_no_table_shows_does_not_sort(results, capsys):
    assert compare.main([str(results), "--sort", "layout"]) == 1
    assert "--sort layout: is the same in all rows of each table" in capsys.readouterr().err


def test_nothing_to_compare_is_said(tmp_path, capsys):
    assert compare.main([str(tmp_path)]) == 1
    assert "holds no results; run the workflow" in capsys.readouterr().err
    assert compare.main([str(tmp_path / "nowhere")]) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err


def test_the_table_is_written_in_every_form(results, tmp_path, capsys):
    files = [tmp_path / f"comparison.{form}" for form in ("html", "md", "csv", "txt")]
    lines = table(capsys, results, "--output", *files)
    assert [line.split() for line in files[3].read_text().splitlines()] == lines
    rows = list(csv.DictReader(files[2].open()))
    assert float(rows[0]["score"]) == pytest.approx(0.815)
    assert [row["run"].split("/")[-1] for row in rows] == [
        "films",
        "films",
        "films (majority)",
        "unused",
    ]
    markdown = files[1].read_text().splitlines()
    assert markdown[2] == "| run | score | std | validation_loss | hidden_size |"
    assert len(markdown) == 7 + 6
    page = files[0].read_text()
    assert page.count("<tr>") == 6
    assert page.index(">score</button>") < page.index(">std</button>") < page.index(">run</button>")
    assert 'data-value="2.5"' in page
    assert "http" not in page


def test_an_unknown_form_is_refused(results, tmp_path, capsys):
    assert compare.main([str(results), "--output", str(tmp_path / "c.xlsx")]) == 1
    assert "no such form; end the name in one of .html, .md, .csv, .txt" in capsys.readouterr().err


def test_every_split_has_a_row(results, capsys):
    folder = results / "wiki" / "wordpiece" / "rows" / "small" / "films" / "seed-1" / "test"
    write_evaluation(folder, 0.65, learning_rate=1e-4)
    content = read_json(folder / "metrics.json")
    write_json(folder / "metrics.json", {"metrics": content["metrics"] | {"split": "test"}})
    lines = table(capsys, results, "--sort", "run")
    score = lines[2].index("score")
    assert lines[2][:2] == ["run", "split"]
    assert {
        (line[1], line[score]) for line in lines if line and line[0].endswith("small/films")
    } == {
        ("validation", "0.715"),
        ("test", "0.65"),
    }


def results_of(folder: Path, wrong: dict[int, list[int]], split: str = "validation") -> Path:
    for seed, rows in wrong.items():
        write_predicted(folder / f"seed-{seed}" / split, seed, rows, 1.0, split)
    return folder


def diff(capsys, *arguments) -> str:
    assert compare.main(["diff", *map(str, arguments)]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_two_results_are_compared_row_by_row(tmp_path, capsys):
    good = results_of(tmp_path / "good", {1: [0, 1], 2: [0]})
    poor = results_of(tmp_path / "poor", {1: list(range(12))})
    shown = diff(capsys, good, poor)
    assert "A 96.25 % ± 1.77 2" in shown
    assert "A − B, points +26.25" in shown
    assert "(11 rows for A, 0 for B)" in shown
    assert "A is better on these rows" in shown
    assert "the same settings" in shown
    assert "show no difference" in diff(capsys, good, good)
    assert diff(capsys, good / "seed-1", good / "seed-2").count("p = 1.0000") == 2


def test_two_results_are_compared_on_any_split(tmp_path, capsys):
    good = results_of(tmp_path / "good", {1: [0]})
    poor = results_of(tmp_path / "poor", {1: [0]})
    results_of(good, {1: [0]}, "test")
    results_of(poor, {1: [0, 1, 2]}, "test")
    assert "A − B, points +0.00" in diff(capsys, good, poor)
    shown = diff(capsys, good, poor, "--split", "test")
    assert "tiny-task, test, 40 rows" in shown
    assert "A − B, points +5.00" in shown


def test_a_class_without_a_row_counts_in_macro_f1(tmp_path, capsys):
    """Macro F1 is the mean over the task's three classes, of which the rows hold two."""
    folders = []
    for name, wrong in (("good", 0), ("poor", 20)):
        labels = np.arange(40) % 2
        predictions = np.where(np.arange(40) < wrong, 1 - labels, labels)
        measured = task_metrics(labels, predictions, ["a", "b", "c"], "macro_f1")
        folder = tmp_path / name / "validation"
        write_json(
            folder / "metrics.json", {"metrics": {"task": "films", "split": "test", **measured}}
        )
        split = TaskSplit([f"text {number}" for number in range(40)], labels)
        write_label_predictions(folder, split, predictions, np.full((40, 3), 1 / 3))
        folders.append(folder)
    shown = diff(capsys, *folders)
    assert "A 66.67" in shown
    assert "B 33.33" in shown
    assert "A − B, points +33.33" in shown


def test_what_cannot_be_compared_is_refused(tmp_path, capsys):
    good = results_of(tmp_path / "good", {1: [0]})
    assert compare.main(["diff", str(good)]) == 1
    assert "give two folders of results" in capsys.readouterr().err
    assert compare.main(["diff", str(good), str(tmp_path)]) == 1
    assert "holds no evaluation on validation; name a task's folder" in capsys.readouterr().err
    other = results_of(tmp_path / "other", {1: [0]})
    path = other / "seed-1" / "validation" / "metrics.json"
    content = read_json(path)
    write_json(path, {"metrics": content["metrics"] | {"metric": "f1"}})
    assert compare.main(["diff", str(good), str(other)]) == 1
    assert "is measured by f1" in capsys.readouterr().err
