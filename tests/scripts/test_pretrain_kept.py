"""Weights kept on the way through pretraining."""

import shutil
from pathlib import Path

import pytest

import pretrain
from tests.tiny_pretraining import (
    break_off,
    command,
    start,
    wait_for_checkpoint,
    weights,
    write_inputs,
)

KEEP = ["--keep-at", "25", "50"]


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    return write_inputs(tmp_path)


def published(inputs: list[str], folder: Path, percent: int, steps: int, *flags: str) -> str:
    output = folder / f"at-{percent}"
    line = command(inputs, output, steps, *(flags or KEEP), f"--publish-at={percent}")
    assert pretrain.main(line) == 0
    return weights(output)


def test_weights_on_the_way_are_published_when_asked_for(inputs, tmp_path):
    model = tmp_path / "model"
    assert pretrain.main(command(inputs, model, 40, *KEEP)) == 0
    assert not list(model.glob("at-*"))
    found = {published(inputs, tmp_path, percent, 40) for percent in (25, 50)}
    assert len(found | {weights(model)}) == 3
    assert (tmp_path / "at-25" / "tokenizer.json").is_file()


def test_keeping_weights_changes_none(inputs, tmp_path):
    assert pretrain.main(command(inputs, tmp_path / "kept", 40, *KEEP)) == 0
    assert pretrain.main(command(inputs, tmp_path / "plain", 40)) == 0
    assert weights(tmp_path / "kept") == weights(tmp_path / "plain")


@pytest.mark.slow
def test_killed_after_a_mark_the_same_weights_are_kept(inputs, tmp_path):
    steps, slow = 400, ["--checkpoint-seconds=0"]
    assert pretrain.main(command(inputs, tmp_path / "whole", steps, *KEEP)) == 0
    expected = [published(inputs, tmp_path / "whole", percent, steps) for percent in (25, 50)]
    shutil.rmtree(tmp_path / ".runs")
    process = start(command(inputs, tmp_path / "killed", steps, *KEEP, *slow))
    wait_for_checkpoint(process, tmp_path / ".runs", beyond=steps // 4)
    process.kill()
    process.wait()
    assert pretrain.main(command(inputs, tmp_path / "killed", steps, *KEEP)) == 0
    found = [published(inputs, tmp_path / "killed", percent, steps) for percent in (25, 50)]
    assert found == expected


def test_without_a_finished_run_there_is_nothing_to_publish(inputs, tmp_path, capsys):
    assert pretrain.main(command(inputs, tmp_path / "x", 40, *KEEP, "--publish-at=25")) == 1
    assert "no finished run there has this recipe" in capsys.readouterr().err
    assert pretrain.main(command(inputs, tmp_path / "x", 40, *KEEP, "--publish-at=30")) == 1
    assert "--publish-at 30: is none of --keep-at" in capsys.readouterr().err


def test_what_is_asked_for_too_late_is_not_kept_and_said(inputs, tmp_path, capsys):
    """A run stopped at 75 % has no weights of 25 % any more, whatever it is asked for."""
    assert pretrain.main(command(inputs, tmp_path / "model", 40, "--keep-at=90")) == 0
    late = published(inputs, tmp_path, 90, 40, "--keep-at=90")
    shutil.rmtree(tmp_path / ".runs")
    break_off(pretrain, command(inputs, tmp_path / "model", 40), 30)
    keep = ["--keep-at", "25", "90"]
    assert pretrain.main(command(inputs, tmp_path / "model", 40, *keep)) == 0
    assert "the run was past 25 % when --keep-at 25 was asked for" in capsys.readouterr().err
    assert published(inputs, tmp_path, 90, 40, *keep) == late
    line = command(inputs, tmp_path / "early", 40, *keep, "--publish-at=25")
    assert pretrain.main(line) == 1
    assert "no weights of 25 % of the run were kept" in capsys.readouterr().err


def test_a_longer_run_keeps_its_own_shares(inputs, tmp_path):
    stable = ["--lr-scheduler-type=warmup_stable_decay", "--cooldown-fraction=0.25"]
    keep = [*stable, "--keep-at", "25", "50"]
    assert pretrain.main(command(inputs, tmp_path / "short", 40, *keep)) == 0
    assert pretrain.main(command(inputs, tmp_path / "long", 80, *keep)) == 0
    elsewhere = [*inputs[:2], f"--run-dir={tmp_path / '.other'}"]
    assert pretrain.main(command(elsewhere, tmp_path / "whole", 80, *keep)) == 0
    assert weights(tmp_path / "long") == weights(tmp_path / "whole")
    expected = published(elsewhere, tmp_path / "other", 50, 80, *keep)
    assert published(inputs, tmp_path, 50, 80, *keep) == expected
