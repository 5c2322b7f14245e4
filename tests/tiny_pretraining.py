"""A tiny pretraining run, shared by the tests of `pretrain.py`."""

import subprocess
import sys
import time
from pathlib import Path

import pretrain
from cloze.files import sha256_file
from tests.tiny import write_dataset, write_tokenizer

SHAPE = [
    "--hidden-size=16", "--num-hidden-layers=1", "--num-attention-heads=2",
    "--intermediate-size=32", "--max-position-embeddings=16",
]  # fmt: skip
MACHINE = ["--device=cpu", "--precision=fp32", "--compile=off", "--threads=1"]


def write_inputs(folder: Path) -> list[str]:
    """Write a tokenizer and a data set; returns the flags that name them and the run's folder."""
    tokenizer = write_tokenizer(folder / "tokenizer")
    dataset = write_dataset(folder / "dataset", tokenizer)
    return [f"--dataset={dataset}", f"--tokenizer={tokenizer}", f"--run-dir={folder / '.runs'}"]


def arguments(inputs: list[str], output: Path, *more: str) -> list[str]:
    """Return a command line without budget and recipe."""
    return [*inputs, f"--output={output}", *SHAPE, *MACHINE, *more]


def command(inputs: list[str], output: Path, steps: int, *more: str) -> list[str]:
    """Return a command line for so many steps."""
    recipe = [f"--max-steps={steps}", "--eval-steps=20", "--warmup-steps=5", "--learning-rate=0.01"]
    return arguments(inputs, output, *recipe, *more)


def weights(folder: Path) -> str:
    """Return the hash of a model folder's weights."""
    return sha256_file(folder / "model.safetensors")


def start(arguments: list[str], *launcher: str) -> subprocess.Popen:
    """Start `pretrain.py` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, *launcher, str(Path(pretrain.__file__)), *arguments],
        stderr=subprocess.PIPE,
    )


def wait_for_checkpoint(process: subprocess.Popen, runs: Path, beyond: int = 0) -> int:
    """Wait for a checkpoint of more than `beyond` steps; returns its number of steps."""
    deadline = time.monotonic() + 120
    while True:
        steps = [int(path.name.split("-")[1]) for path in runs.glob("*/checkpoint-*")]
        if max(steps, default=0) > beyond:
            return max(steps)
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.01)
