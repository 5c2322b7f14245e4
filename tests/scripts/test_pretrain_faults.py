"""What can go wrong while an encoder is pretrained, and what the user is told."""

import json
import random
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import pretrain
from cloze.errors import ClozeError
from cloze.files import read_json
from cloze.model.heads import SequenceClassifier
from cloze.model.hf import save_model
from cloze.train.run_directory import open_run
from tests.tiny import write_tokenizer
from tests.tiny_model import make_config
from tests.tiny_pretraining import (
    break_off,
    checkpoints,
    command,
    start,
    wait_for_checkpoint,
    weights,
    write_inputs,
)


@pytest.fixture
def inputs(tmp_path) -> list[str]:
    return write_inputs(tmp_path)


def test_weights_that_overflow_stop_at_the_first_step(inputs, tmp_path, capsys):
    assert pretrain.main(command(inputs, tmp_path / "first", 20)) == 0
    path = tmp_path / "first" / "model.safetensors"
    broken = load_file(path)
    broken["bert.encoder.layer.0.output.dense.weight"][0, 0] = 3e38
    save_file(broken, path, metadata={"format": "pt"})
    further = command(inputs, tmp_path / "second", 40, f"--init-from={tmp_path / 'first'}")
    assert pretrain.main(further) == 1
    message = capsys.readouterr().err
    assert "training diverged at step 1: the loss is nan" in message
    assert re.search(r"Batch: 32 rows, digest [0-9a-f]{12}: \d+, ", message)
    assert "Last good checkpoint: none" in message


def test_no_checkpoint_is_written_of_weights_that_are_no_numbers(inputs, tmp_path, capsys):
    arguments = command(
        inputs, tmp_path / "model", 60, "--learning-rate=1e30", "--checkpoint-seconds=0"
    )
    assert pretrain.main(arguments) == 1
    message = capsys.readouterr().err
    named = re.search(
        r"diverged at step (\d+).*Last good checkpoint: \S+/checkpoint-(\d+)", message
    )
    assert named is not None
    assert int(named[2]) < int(named[1])
    newest = checkpoints(tmp_path / ".runs")[-1]
    assert int(newest.name.removeprefix("checkpoint-")) < int(named[1])
    assert all(t.isfinite().all() for t in load_file(newest / "tensors.safetensors").values())


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """The operating system refuses files above a size, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_refuses_a_checkpoint_leaves_those_before_whole(
    inputs, tmp_path, capsys, small_files
):
    arguments = command(inputs, tmp_path / "model", 60)
    break_off(pretrain, arguments, 15)
    before = checkpoints(tmp_path / ".runs")
    small_files((before[-1] / "tensors.safetensors").stat().st_size // 2)
    assert pretrain.main([*arguments, "--checkpoint-seconds=0"]) == 1
    said = capsys.readouterr().err
    assert re.search(r"error: cannot write \S*checkpoint-\d+: the file is larger than", said)
    assert checkpoints(tmp_path / ".runs") == before
    small_files(1 << 30)
    assert pretrain.main(arguments) == 0


def test_a_full_disk_is_named_with_what_to_do(tmp_path, monkeypatch):
    from safetensors import SafetensorError

    def refuse(tensors: object, path: Path, metadata: object = None) -> None:
        # The text of safetensors 0.8 on a full file system.
        raise SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        )

    with open_run(tmp_path, {}) as run:
        run.save_checkpoint(10, {"weight": torch.zeros(2)}, {})
        monkeypatch.setattr("cloze.model.weights.save_file", refuse)
        with pytest.raises(ClozeError, match=r"checkpoint-00000020: the disk is full: free some"):
            run.save_checkpoint(20, {"weight": torch.zeros(2)}, {})
        assert run.load_checkpoint(dict)[1]["step"] == 10
        assert not list(run.path.glob(".*.tmp"))
    tokenizer, model = write_tokenizer(tmp_path / "tokenizer"), SequenceClassifier(make_config(), 2)
    with pytest.raises(ClozeError, match=r"model\.safetensors: the disk is full: free some"):
        save_model(tmp_path / "model", model, tokenizer.parent, ["a", "b"])
    assert not (tmp_path / "model" / "model.safetensors").exists()


def test_a_corrupted_checkpoint_falls_back_to_the_one_before_and_says_so(inputs, tmp_path, capsys):
    arguments = command(inputs, tmp_path / "model", 60)
    break_off(pretrain, arguments, 37)
    older, newest = checkpoints(tmp_path / ".runs")
    path = newest / "tensors.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)

    assert pretrain.main(arguments) == 0
    assert re.search(rf"{newest.name} cannot be read .*damaged.*older", capsys.readouterr().err)
    resumed = read_json(tmp_path / "model" / "metrics.json")["metrics"]["resumed_from"]
    assert resumed == [int(older.name.removeprefix("checkpoint-"))]
    elsewhere = [*inputs[:2], f"--run-dir={tmp_path / '.other'}"]
    assert pretrain.main(command(elsewhere, tmp_path / "whole", 60)) == 0
    assert weights(tmp_path / "model") == weights(tmp_path / "whole")


def test_a_checkpoint_of_another_model_is_refused(inputs, tmp_path, capsys):
    break_off(pretrain, command(inputs, tmp_path / "small", 60), 10)
    elsewhere = [*inputs[:2], f"--run-dir={tmp_path / '.wide'}"]
    wide = command(elsewhere, tmp_path / "wide", 60, "--intermediate-size=64")
    break_off(pretrain, wide, 10)
    of_wide = checkpoints(tmp_path / ".wide")
    of_small = checkpoints(tmp_path / ".runs")[-1]
    shutil.copytree(of_small, of_wide[-1].with_name("checkpoint-00000020"))
    assert pretrain.main(wide) == 1
    message = capsys.readouterr().err
    assert "is a checkpoint of another model" in message
    assert "encoder.layers.0.down.weight is 16x32 there and 16x64 here" in message


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_killed_at_three_random_moments_equals_uninterrupted(inputs, tmp_path, optimizer):
    recipe = [f"--optimizer={optimizer}", "--mlm-probability", "0.3", "0.2", "0.15"]
    arguments = command(inputs, tmp_path / "killed", 900, *recipe, "--checkpoint-seconds=0.05")
    moments = sorted(random.SystemRandom().sample(range(1, 800), 3))
    for moment in moments:
        process = start(arguments)
        wait_for_checkpoint(process, tmp_path / ".runs", beyond=moment)
        process.kill()
        process.communicate()
    assert pretrain.main(arguments) == 0
    resumed = read_json(tmp_path / "killed" / "metrics.json")["metrics"]["resumed_from"]
    assert len(resumed) == 3, moments
    elsewhere = [*inputs[:2], f"--run-dir={tmp_path / '.other'}"]
    assert pretrain.main(command(elsewhere, tmp_path / "whole", 900, *recipe)) == 0
    for part in ("", "best"):
        assert weights(tmp_path / "killed" / part) == weights(tmp_path / "whole" / part), moments
    losses = [
        [
            (record["step"], record.get("loss"), record.get("validation_loss"))
            for record in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        ]
        for folder in (tmp_path / "killed", tmp_path / "whole")
    ]
    assert losses[0] == losses[1]
