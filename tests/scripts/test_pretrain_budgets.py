"""Budgets of `pretrain.py` in steps, tokens and time."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pretrain
from cloze.files import read_json
from cloze.model.hf import load_masked_lm
from cloze.objectives.initial_embeddings import STANDARD_DEVIATION
from tests.tiny_pretraining import arguments, start, wait_for_checkpoint, write_inputs


@pytest.fixture
def inputs(tmp_path) -> list[str]:
    return write_inputs(tmp_path)


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def metrics(folder: Path) -> dict:
    return read_json(folder / "metrics.json")["metrics"]


def decided(run: Path) -> dict:
    """Return the recipe that a run keeps, with what its objective adds to it."""
    plan = read_json(run / "run.json")
    return {**plan["recipe"], **plan["objective"]}


@pytest.mark.parametrize("given", [[], ["--max-steps=10", "--budget=10s"]])
def test_exactly_one_budget_is_asked_for(inputs, tmp_path, given, capsys):
    with pytest.raises(SystemExit):
        pretrain.main(arguments(inputs, tmp_path / "model", *given))
    assert "--max-steps" in capsys.readouterr().err


def test_a_budget_in_tokens_counts_no_padding(inputs, tmp_path):
    more = ["--max-tokens=20000", "--train-batch-size=16", "--eval-steps=1000"]
    assert pretrain.main(arguments(inputs, tmp_path / "model", *more)) == 0
    assert metrics(tmp_path / "model")["tokens"] == pytest.approx(20000, rel=0.01)


def test_what_is_not_given_is_fitted_and_kept(inputs, tmp_path):
    assert pretrain.main(arguments(inputs, tmp_path / "model", "--max-tokens=20000")) == 0
    recipe = metrics(tmp_path / "model")["recipe"]
    assert recipe["train_batch_size"] == 8
    assert recipe["learning_rate"] == pytest.approx(0.13 / 16)
    (run,) = (tmp_path / ".runs").iterdir()
    # What has no effect with this optimizer and schedule is kept and not told of.
    without_effect = {"muon_learning_rate", "cooldown_ratio"}
    assert {k: v for k, v in decided(run).items() if k not in without_effect} == recipe


def test_masking_rates_follow_each_other_and_validation_takes_the_last(inputs, tmp_path):
    more = ["--max-steps=30", "--mlm-probability", "0.4", "0.3", "0.2"]
    assert pretrain.main(arguments(inputs, tmp_path / "stages", *more)) == 0
    rates = [r["mlm_probability"] for r in records(tmp_path / "stages") if "loss" in r]
    assert rates == [0.4, 0.3, 0.2]
    one_rate = ["--max-steps=30", "--mlm-probability", "0.2"]
    assert pretrain.main(arguments(inputs, tmp_path / "one", *one_rate)) == 0
    floors = [metrics(tmp_path / name)["unigram_entropy"] for name in ("stages", "one")]
    assert floors[0] == floors[1]


def test_warm_up_in_steps_needs_a_known_number_of_them(inputs, tmp_path, capsys):
    more = ["--budget=600s", "--warmup-steps=100"]
    assert pretrain.main(arguments(inputs, tmp_path / "model", *more)) == 1
    assert "warmup_steps: 100 steps, but a budget in time" in capsys.readouterr().err


def test_the_initial_loss_is_that_of_guessing(inputs, tmp_path):
    assert pretrain.main(arguments(inputs, tmp_path / "model", "--max-steps=5")) == 0
    first = records(tmp_path / "model")[0]
    assert first["step"] == 0
    assert first["initial_loss"] == pytest.approx(4.16, abs=0.2)


@pytest.mark.slow
def test_a_budget_in_time_ends_on_time_cooled_down_and_evaluated(inputs, tmp_path):
    seconds = 40
    command = arguments(inputs, tmp_path / "model", f"--budget={seconds}s")
    started = time.monotonic()
    subprocess.run([sys.executable, str(Path(pretrain.__file__)), *command], check=True)
    # 3 % on a quiet machine; a test may run on a busy one.
    assert time.monotonic() - started == pytest.approx(seconds, rel=0.2)
    log = records(tmp_path / "model")
    last = [record for record in log if "loss" in record][-1]
    assert last["progress"] > 0.98
    assert last["learning_rate"] < 0.03 * metrics(tmp_path / "model")["recipe"]["learning_rate"]
    assert log[-1]["step"] == last["step"]
    assert "validation_loss" in log[-1]
    assert len([record for record in log if "validation_loss" in record]) >= 5
    progress = [value for record in log for value in record.get("step_progress", [])]
    assert len(progress) == last["step"]
    assert progress == sorted(progress)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_time_that_was_left(inputs, tmp_path):
    command = arguments(inputs, tmp_path / "model", "--budget=40s", "--checkpoint-seconds=0.5")
    process = start(command)
    steps = wait_for_checkpoint(process, tmp_path / ".runs", beyond=200)
    process.kill()
    process.communicate()
    (run,) = (tmp_path / ".runs").iterdir()
    before = decided(run)
    newest = max(run.glob("checkpoint-*"))
    spent = read_json(newest / "state.json")["budget"]["spent_seconds"]
    started = time.monotonic()
    subprocess.run([sys.executable, str(Path(pretrain.__file__)), *command], check=True)
    assert spent + time.monotonic() - started == pytest.approx(40, rel=0.25)
    found = metrics(tmp_path / "model")
    assert found["resumed_from"][0] >= steps
    assert found["recipe"] == before
    progress = [p for r in records(tmp_path / "model") for p in r.get("step_progress", [])]
    assert progress == sorted(progress)
    assert len(progress) == found["steps"]


def test_embeddings_start_from_the_corpus_unless_told_otherwise(inputs, tmp_path):
    counted, drawn = tmp_path / "counted", tmp_path / "drawn"
    one_step = ["--max-steps=1", "--learning-rate=1e-9"]
    assert pretrain.main(arguments(inputs, counted, *one_step)) == 0
    assert pretrain.main(arguments(inputs, drawn, *one_step, "--embedding-init=random")) == 0
    deviations = [
        float(load_masked_lm(folder).encoder.token_embedding.weight.detach().std())
        for folder in (counted, drawn)
    ]
    assert deviations == pytest.approx([STANDARD_DEVIATION, 0.02], rel=0.1)
