from pathlib import Path

import pytest

import compare
from cloze.files import write_json


def write_encoder(folder: Path, loss: float, **arguments) -> None:
    metrics = {"validation_loss": loss, "steps": 10, "num_parameters": 1000}
    content = {"metrics": metrics, "args": {"output": str(folder), **arguments}}
    write_json(folder / "metrics.json", content)


def write_evaluation(folder: Path, accuracy: float, **recipe) -> None:
    metrics = {
        "task": "films", "split": "validation", "accuracy": accuracy,
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
            evaluation = folder / "films" / f"seed-{seed}" / "evaluation"
            write_evaluation(evaluation, accuracy + seed / 100, learning_rate=1e-4)
    write_encoder(root / "wiki" / "wordpiece" / "rows" / "unused", 4.5, hidden_size=64)
    baselines = {"task": "films", "split": "validation", "majority": {"accuracy": 0.5}}
    write_json(root / "tasks" / "films" / "baselines.json", {"metrics": baselines})
    write_json(root / "tasks" / "films" / "metrics.json", {"metrics": {"name": "films"}})
    return root


def table(capsys, *arguments) -> list[list[str]]:
    assert compare.main([str(argument) for argument in arguments]) == 0
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_one_row_a_recipe_and_only_the_columns_that_differ(results, capsys):
    lines = table(capsys, results)
    assert lines[0] == ["run", "accuracy", "std", "validation_loss", "hidden_size"]
    assert lines[1:] == [
        ["wiki/wordpiece/rows/large/films", "0.815", "0.007071", "2.5", "256"],
        ["wiki/wordpiece/rows/small/films", "0.715", "0.007071", "3.5", "128"],
        ["tasks/films", "(majority)", "0.5", "-", "-", "-"],
        ["wiki/wordpiece/rows/unused", "-", "-", "4.5", "64"],
    ]


def test_any_column_sorts(results, capsys):
    lines = table(capsys, results, "--sort", "validation_loss")
    assert [line[0].split("/")[-1] for line in lines[1:3]] == ["unused", "films"]
    assert lines[2][0] == "wiki/wordpiece/rows/small/films"
    lines = table(capsys, results, "--sort", "run")
    assert [line[0] for line in lines[1:]] == sorted(line[0] for line in lines[1:])


def test_an_unknown_column_lists_those_there_are(results, capsys):
    assert compare.main([str(results), "--sort", "f1"]) == 1
    message = capsys.readouterr().err
    assert "--sort f1: no such column; there are: run, task, split, accuracy" in message


def test_nothing_to_compare_is_said(tmp_path, capsys):
    assert compare.main([str(tmp_path)]) == 1
    assert "holds no results; run the workflow" in capsys.readouterr().err
    assert compare.main([str(tmp_path / "nowhere")]) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err
