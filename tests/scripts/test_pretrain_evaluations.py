"""When `pretrain.py` evaluates, how much it reads, and which weights are the best."""

import itertools
import json
import math
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import pretrain
from cloze.files import read_json
from cloze.model.hf import load_masked_lm
from cloze.objectives.mlm import EVALUATION_BATCH_SIZE, MaskedLanguageModeling
from cloze.train.run_directory import RunDirectory
from tests.tiny_pretraining import (
    arguments,
    break_off,
    checkpoints,
    command,
    weights,
    write_inputs,
)


@pytest.fixture
def inputs(tmp_path) -> list[str]:
    return write_inputs(tmp_path)


def evaluations(folder: Path) -> list[int]:
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [record["step"] for record in records if "validation_loss" in record]


def test_without_an_interval_there_are_twenty_evaluations(inputs, tmp_path):
    assert pretrain.main(arguments(inputs, tmp_path / "model", "--max-steps=60")) == 0
    assert evaluations(tmp_path / "model") == list(range(3, 61, 3))


def rows_of_evaluations(monkeypatch) -> list[int]:
    """Return a list that will hold the rows that each evaluation reads."""
    counts: list[int] = []
    evaluate, sums = MaskedLanguageModeling.evaluate, MaskedLanguageModeling._sums

    def counted(self, *args):
        counts.append(0)
        return evaluate(self, *args)

    def summed(self, batch, compute):
        # The loss before the first step is no evaluation.
        if counts:
            counts[-1] += batch.num_rows
        return sums(self, batch, compute)

    monkeypatch.setattr(MaskedLanguageModeling, "evaluate", counted)
    monkeypatch.setattr(MaskedLanguageModeling, "_sums", summed)
    return counts


@pytest.mark.parametrize(
    ("validation_rows", "flags", "tokens"),
    [(320, ["--eval-tokens=1000"], 1000), (1600, [], 1 << 14)],
    ids=["as told", "by default"],
)
def test_all_evaluations_but_that_of_the_end_are_capped(
    tmp_path, monkeypatch, validation_rows, flags, tokens
):
    counts = rows_of_evaluations(monkeypatch)
    inputs = write_inputs(tmp_path, validation_rows)
    more = ["--max-steps=20", "--eval-steps=10", "--warmup-steps=5", *flags]
    assert pretrain.main(arguments(inputs, tmp_path / "model", *more)) == 0
    assert len(counts) == 3
    assert counts[-1] == validation_rows
    # Rows of 16 of which about 14.5 are tokens; an evaluation ends with a whole batch.
    for count in counts[:-1]:
        assert tokens / 16 <= count <= tokens / 14 + EVALUATION_BATCH_SIZE
    metrics = read_json(tmp_path / "model" / "metrics.json")["metrics"]
    records = [json.loads(line) for line in (tmp_path / "model" / "metrics.jsonl").open()]
    last = [record["validation_loss"] for record in records if "validation_loss" in record][-1]
    assert metrics["validation_loss"] != last
    assert metrics["validation_loss"] == pytest.approx(last, abs=0.2)


@pytest.mark.parametrize("flag", ["--eval-steps=5", "--eval-tokens=64", "--keep-at=50"])
def test_how_to_watch_is_no_part_of_the_recipe(inputs, tmp_path, monkeypatch, flag):
    assert pretrain.main(command(inputs, tmp_path / "first", 20)) == 0
    monkeypatch.setattr("cloze.train.step.TrainingStep.__call__", None)
    assert pretrain.main(command(inputs, tmp_path / "second", 20, flag)) == 0
    assert weights(tmp_path / "first") == weights(tmp_path / "second")


def test_watching_otherwise_changes_no_weight(inputs, tmp_path):
    assert pretrain.main(command(inputs, tmp_path / "first", 20)) == 0
    elsewhere = [*inputs[:2], f"--run-dir={tmp_path / '.other'}"]
    assert pretrain.main(command(elsewhere, tmp_path / "second", 20, "--eval-steps=3")) == 0
    assert weights(tmp_path / "first") == weights(tmp_path / "second")


def test_what_was_not_kept_cannot_be_published(inputs, tmp_path, capsys):
    assert pretrain.main(command(inputs, tmp_path / "first", 20)) == 0
    flags = ["--keep-at=50", "--publish-at=50"]
    assert pretrain.main(command(inputs, tmp_path / "at-50", 20, *flags)) == 1
    said = capsys.readouterr().err
    assert "no weights of 50 % of the run were kept" in said
    assert not (tmp_path / "at-50").exists()


def evaluate_as(monkeypatch, losses: list[float]) -> None:
    """Let the next evaluations find these losses, the last one for ever."""
    found = itertools.chain(losses, itertools.repeat(losses[-1]))
    evaluate = MaskedLanguageModeling.evaluate

    def patched(self, *args):
        return {**evaluate(self, *args), "validation_loss": next(found)}

    monkeypatch.setattr(MaskedLanguageModeling, "evaluate", patched)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_an_evaluation_that_is_no_number_ends_the_run_and_is_never_the_best(
    inputs, tmp_path, monkeypatch, capsys, loss
):
    evaluate_as(monkeypatch, [4.0, loss])
    more = "--checkpoint-seconds=0"
    assert pretrain.main(command(inputs, tmp_path / "model", 60, more)) == 1
    said = capsys.readouterr().err
    assert f"training diverged at step 40: validation_loss is {loss}; lower learning" in said
    assert len([line for line in said.splitlines() if "error" in line]) == 1
    assert [path.name for path in (tmp_path / ".runs").glob("*/best-*")] == [
        "best-00000020.safetensors"
    ]
    assert not (tmp_path / "model").exists()
    good = re.search(r"Last good checkpoint: \S+/checkpoint-(\d+)", said)
    assert good is not None
    assert int(good[1]) == 39


def test_a_first_evaluation_that_is_no_number_is_not_the_best(inputs, tmp_path, monkeypatch):
    evaluate_as(monkeypatch, [math.nan])
    assert pretrain.main(command(inputs, tmp_path / "model", 60)) == 1
    assert not list((tmp_path / ".runs").glob("*/best-*"))


def test_the_best_weights_are_those_of_the_record_whatever_was_thrown_away(
    inputs, tmp_path, monkeypatch
):
    """A run is killed after an evaluation that the resumed run, other by a digit, finds worse."""
    line = command(inputs, tmp_path / "model", 60)
    break_off(pretrain, line, 30)
    kept = checkpoints(tmp_path / ".runs")
    with monkeypatch.context() as patch:
        evaluate_as(patch, [1.0])
        break_off(pretrain, line, 45, every=1e9)
    assert checkpoints(tmp_path / ".runs") == kept
    (run,) = (tmp_path / ".runs").iterdir()
    best = {path.name: load_file(path) for path in run.glob("best-*")}
    assert best.keys() == {"best-00000020.safetensors", "best-00000040.safetensors"}
    with monkeypatch.context() as patch:
        evaluate_as(patch, [9.0])
        assert pretrain.main(line) == 0
    assert read_json(tmp_path / "model" / "metrics.json")["metrics"]["best_step"] == 20
    found = load_masked_lm(tmp_path / "model" / "best").state_dict()
    expected = best["best-00000020.safetensors"]
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_checkpoints_are_written_early_and_then_less_often(inputs, tmp_path, monkeypatch):
    """The first after 20 s, later ones after as much time again, at most --checkpoint-seconds."""
    seconds = itertools.count(7)
    monkeypatch.setattr("cloze.train.budget.process_seconds", lambda: float(next(seconds)))
    saved: list[int] = []
    save = RunDirectory.save_checkpoint

    def noted(self, step, *args):
        saved.append(step)
        save(self, step, *args)

    monkeypatch.setattr(RunDirectory, "save_checkpoint", noted)
    more = ["--checkpoint-seconds=60", "--eval-steps=1000"]
    assert pretrain.main(command(inputs, tmp_path / "model", 230, *more)) == 0
    assert saved == [20, 40, 80, 140, 200]


def test_what_is_published_takes_no_second_place_on_the_disk_and_is_new(inputs, tmp_path):
    assert pretrain.main(command(inputs, tmp_path / "model", 20)) == 0
    (final,) = (tmp_path / ".runs").glob("*/final")
    for name in ("model.safetensors", "best/model.safetensors"):
        assert (tmp_path / "model" / name).samefile(final / name)
    newest = max(path.stat().st_mtime for path in (tmp_path / "dataset").iterdir())
    shutil.rmtree(tmp_path / "model")
    os.utime(final / "model.safetensors", (1.0, 1.0))
    assert pretrain.main(command(inputs, tmp_path / "model", 20)) == 0
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime >= newest
