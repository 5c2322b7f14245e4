"""Weights kept on the way through pretraining."""

import shutil
from pathlib import Path

import pytest

import pretrain
from tests.tiny_pretraining import command, start, wait_for_checkpoint, weights, write_inputs

KEEP = ["--keep-at", "25", "50"]


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    return write_inputs(tmp_path)


def published(inputs: list[str], folder: Path, percent: int, steps: int) -> str:
    output = folder / f"at-{percent}"
    assert pretrain.main(command(inputs, output, steps, *KEEP, f"--publish-at={percent}")) == 0
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
