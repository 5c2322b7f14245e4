import sys
import threading
import time
from multiprocessing import Pipe
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from contest import Block, FinishedError, Gate, tokens_per_second


def train(gate: Gate, steps: list[str]) -> None:
    """A trainer whose step takes a hundredth of a second."""
    while True:
        try:
            gate.pass_through()
        except FinishedError:
            return
        time.sleep(0.01)
        steps.append(gate.mode)


@pytest.fixture
def trainer():
    ours, theirs = Pipe()
    steps: list[str] = []
    thread = threading.Thread(target=train, args=(Gate(theirs, lambda: None), steps))
    thread.start()
    yield ours, steps
    ours.send((-1.0, ""))
    thread.join(timeout=5)
    assert not thread.is_alive()


def test_a_trainer_does_nothing_until_it_is_its_turn(trainer):
    _, steps = trainer
    time.sleep(0.05)
    assert steps == []


def test_a_block_lasts_as_long_as_asked_and_counts_its_steps(trainer):
    connection, steps = trainer
    connection.send((0.1, ""))
    block = connection.recv()
    assert block.seconds >= 0.1
    assert block.steps == len(steps) >= 3
    time.sleep(0.05)
    assert len(steps) == block.steps


def test_a_block_has_at_least_three_steps(trainer):
    connection, _ = trainer
    connection.send((0.0, ""))
    assert connection.recv().steps == 3


def test_a_block_may_ask_for_more_than_training(trainer):
    connection, steps = trainer
    connection.send((0.0, "same batch"))
    connection.recv()
    assert steps == ["same batch"] * 3


def test_speed_is_the_median_over_blocks():
    blocks = [Block(10, 1.0), Block(10, 2.0), Block(10, 10.0)]
    assert tokens_per_second(blocks, tokens_per_step=100) == 500.0
