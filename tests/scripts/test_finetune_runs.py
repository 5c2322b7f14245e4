"""Runs of `finetune.py`: killed, damaged, shared by processes, ended by steps or by the clock."""

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import finetune
from cloze.files import read_json
from tests.tiny_pretraining import break_off, checkpoints, start, wait_for_checkpoint, weights
from tests.tiny_task import write_encoder, write_task

TWO_PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
WITHOUT_DROPOUT = ["--dropout=0", "--classifier-dropout=0"]


@pytest.fixture
def root(tmp_path) -> Path:
    write_encoder(tmp_path / "encoder")
    write_task(tmp_path / "task")
    return tmp_path


def command(root: Path, output: str, *more: str) -> list[str]:
    files = [f"--model={root / 'encoder'}", f"--task={root / 'task'}", f"--output={root / output}"]
    machine = ["--device=cpu", "--precision=fp32", "--threads=1", "--max-length=16"]
    return [*files, *machine, "--learning-rate=1e-3", "--train-batch-size=8", *more]


def metrics(folder: Path) -> dict:
    return read_json(folder / "metrics.json")["metrics"]


def records(output: Path) -> list[dict]:
    """Return the measurements of the only run that an output folder holds."""
    (path,) = (output / ".runs").glob("*/metrics.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("more", [[], ["--early-stopping-patience=2"]], ids=["epochs", "early"])
def test_broken_off_and_resumed_equals_uninterrupted(root, more):
    recipe = ["--num-train-epochs=6", *more]
    assert finetune.main(command(root, "whole", *recipe)) == 0
    arguments = command(root, "killed", *recipe)
    break_off(finetune, arguments, 20)
    break_off(finetune, arguments, 37)
    assert finetune.main(arguments) == 0
    assert metrics(root / "killed")["resumed_from"] == [20, 37]
    assert weights(root / "killed") == weights(root / "whole")
    for name in ("steps", "best_step", "held_out_scores", "train_loss", "train_score"):
        assert metrics(root / "killed")[name] == metrics(root / "whole")[name], name


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--early-stopping-patience=25"]], ids=["epochs", "early"])
def test_killed_at_three_random_moments_equals_uninterrupted(root, more):
    recipe = ["--num-train-epochs=60", *more]
    assert finetune.main(command(root, "whole", *recipe)) == 0
    steps = metrics(root / "whole")["steps"]
    assert (steps < 60 * 14) == bool(more)
    arguments = command(root, "killed", *recipe, "--checkpoint-seconds=0.02")
    moments = sorted(random.SystemRandom().sample(range(1, round(0.7 * steps)), 3))
    for moment in moments:
        process = start(arguments, script=finetune)
        wait_for_checkpoint(process, root / "killed" / ".runs", beyond=moment)
        process.kill()
        process.communicate()
    assert finetune.main(arguments) == 0
    assert len(metrics(root / "killed")["resumed_from"]) == 3, moments
    assert weights(root / "killed") == weights(root / "whole"), moments
    for name in ("steps", "best_step", "held_out_scores", "train_loss"):
        assert metrics(root / "killed")[name] == metrics(root / "whole")[name], (name, moments)


def test_a_damaged_checkpoint_is_passed_over(root):
    recipe = ["--num-train-epochs=2"]
    assert finetune.main(command(root, "whole", *recipe)) == 0
    break_off(finetune, command(root, "killed", *recipe), 20)
    newest = checkpoints(root / "killed" / ".runs")[-1]
    (newest / "state.json").write_text("{}")
    assert finetune.main(command(root, "killed", *recipe)) == 0
    assert metrics(root / "killed")["resumed_from"] == [19]
    assert weights(root / "killed") == weights(root / "whole")


def test_a_damaged_finished_run_is_trained_again_and_not_published(root, capsys):
    recipe = ["--max-steps=10"]
    assert finetune.main(command(root, "classifier", *recipe)) == 0
    expected = weights(root / "classifier")
    (path,) = (root / "classifier" / ".runs").glob("*/final/model.safetensors")
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.unlink()
    path.write_bytes(content)
    assert finetune.main(command(root, "classifier", *recipe)) == 0
    assert "the finished run is damaged" in capsys.readouterr().err
    assert weights(root / "classifier") == expected


def test_what_is_published_takes_no_second_place_on_the_disk(root):
    assert finetune.main(command(root, "classifier", "--max-steps=10")) == 0
    (final,) = (root / "classifier" / ".runs").glob("*/final")
    name = "model.safetensors"
    assert (root / "classifier" / name).samefile(final / name)


def test_steps_end_a_run_in_the_middle_of_an_epoch(root):
    assert finetune.main(command(root, "classifier", "--max-steps=21")) == 0
    found = metrics(root / "classifier")
    assert found["steps"] == 21
    assert found["recipe"]["num_train_epochs"] == round(21 / 16, 3)
    assert [record["step"] for record in records(root / "classifier")] == [10, 20, 21]
    last = records(root / "classifier")[-1]
    assert last["learning_rate"] < 0.1 * found["recipe"]["learning_rate"]


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--early-stopping-patience=1000"]], ids=["all", "held out"])
def test_the_clock_ends_a_run(root, more):
    seconds = 40
    arguments = command(root, "classifier", f"--budget={seconds}s", *more)
    started = time.monotonic()
    subprocess.run([sys.executable, str(Path(finetune.__file__)), *arguments], check=True)
    # 3 % on a quiet machine; a test may run on a busy one.
    assert time.monotonic() - started == pytest.approx(seconds, rel=0.2)
    found = metrics(root / "classifier")
    last = [record for record in records(root / "classifier") if "loss" in record][-1]
    assert last["step"] == found["steps"]
    assert last["progress"] > 0.97
    assert last["learning_rate"] < 0.05 * found["recipe"]["learning_rate"]


# 57 texts leave a last batch of one, so that one of two processes has none of it.
@pytest.mark.slow
@pytest.mark.parametrize("rows", [128, 57, 61])
def test_two_processes_give_the_losses_of_one(root, rows):
    shutil.rmtree(root / "task")
    write_task(root / "task", train_rows=rows)
    recipe = ["--max-steps=50", *WITHOUT_DROPOUT]
    assert finetune.main(command(root, "one", *recipe)) == 0
    process = start(command(root, "two", *recipe), *TWO_PROCESSES, script=finetune)
    message = process.communicate(timeout=900)[1].decode()
    assert process.returncode == 0, message
    losses = [
        [record["loss"] for record in records(root / name) if "loss" in record]
        for name in ("one", "two")
    ]
    assert len(losses[0]) == 5
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert metrics(root / "two")["train_score"] == metrics(root / "one")["train_score"]
