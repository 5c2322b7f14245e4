"""`pretrain.py` in several processes, as `torchrun` starts them."""

import json
import signal
from pathlib import Path

import psutil
import pytest

import pretrain
from cloze.files import read_json
from tests.tiny_pretraining import command, start, wait_for_checkpoint, write_inputs

TWO_PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


@pytest.fixture
def inputs(tmp_path) -> list[str]:
    return write_inputs(tmp_path)


def losses(folder: Path) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [r.get("loss", r.get("validation_loss")) for r in map(json.loads, lines) if r["step"]]


def train_in_two(arguments: list[str]) -> None:
    process = start(arguments, *TWO_PROCESSES)
    message = process.communicate(timeout=900)[1].decode()
    assert process.returncode == 0, message


def elsewhere(inputs: list[str], tmp_path: Path, name: str) -> list[str]:
    return [*inputs[:2], f"--run-dir={tmp_path / name}"]


@pytest.mark.parametrize("parts", [1, 4])
def test_parts_of_the_batch_give_the_losses_of_the_whole(inputs, tmp_path, parts):
    assert pretrain.main(command(inputs, tmp_path / "whole", 50)) == 0
    more = f"--gradient-accumulation-steps={parts}"
    other = elsewhere(inputs, tmp_path, ".other")
    assert pretrain.main(command(other, tmp_path / "parts", 50, more)) == 0
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, 4])
def test_two_processes_give_the_losses_of_one(inputs, tmp_path, parts):
    assert pretrain.main(command(inputs, tmp_path / "one", 50)) == 0
    more = f"--gradient-accumulation-steps={parts}"
    train_in_two(command(elsewhere(inputs, tmp_path, ".other"), tmp_path / "two", 50, more))
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)


@pytest.mark.slow
def test_a_run_of_one_process_goes_on_in_two(inputs, tmp_path):
    assert pretrain.main(command(inputs, tmp_path / "one", 1000)) == 0
    there = elsewhere(inputs, tmp_path, ".other")
    arguments = command(there, tmp_path / "two", 1000, "--checkpoint-seconds=0.05")
    process = start(arguments)
    wait_for_checkpoint(process, tmp_path / ".other")
    process.kill()
    process.communicate()
    train_in_two(arguments)
    found = read_json(tmp_path / "two" / "metrics.json")["metrics"]
    assert 0 < found["resumed_from"][0] < 1000
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-3)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_at_the_same_step(inputs, tmp_path):
    arguments = command(inputs, tmp_path / "model", 100_000, "--checkpoint-seconds=0.05")
    process = start(arguments, *TWO_PROCESSES)
    wait_for_checkpoint(process, tmp_path / ".runs", beyond=50)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if any(word.endswith("pretrain.py") for word in child.cmdline())
    ]
    assert len(workers) == 2
    workers[-1].send_signal(signal.SIGTERM)
    message = process.communicate(timeout=300)[1].decode()
    stops = [line for line in message.splitlines() if "stopped by a signal after step" in line]
    assert len(stops) == 2
    assert stops[0] == stops[1]


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused(inputs, tmp_path):
    arguments = command(inputs, tmp_path / "model", 20, "--train-batch-size=7")
    process = start(arguments, *TWO_PROCESSES)
    message = process.communicate(timeout=300)[1].decode()
    assert process.returncode == 1
    assert "train_batch_size: 7 rows cannot be shared by 2 processes" in message
