"""A tiny pretraining run, shared by the tests of `pretrain.py`."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

import pretrain
from cloze.files import sha256_file
from cloze.model.device import Compute
from cloze.objectives.mlm import MaskedLanguageModeling, PretrainingData
from cloze.objectives.next_sentence import NextSentencePrediction
from cloze.tokens.shards import Rows
from cloze.tokens.tokenizer import SpecialIds
from cloze.train.budget import Span
from cloze.train.plan import TrainingPlan, TrainingRecipe
from cloze.train.step import TrainingStep
from tests.tiny import make_rows, write_dataset, write_tokenizer
from tests.tiny_pairs import make_pairs

VOCAB_SIZE = 64
SPECIAL = SpecialIds(0, 1, 2, 3, 4, all=frozenset(range(5)))
CPU = Compute("cpu", "fp32", compile=False, threads=1)
RECIPE = TrainingRecipe(
    train_batch_size=8, learning_rate=0.01, lr_scheduler_type="constant", warmup_ratio=0.0,
    weight_decay=0.01, max_grad_norm=1.0, seed=0, muon_learning_rate=0.01, adam_beta2=0.98,
    adam_epsilon=1e-6,
)  # fmt: skip
PLAN = TrainingPlan(CPU, RECIPE, max_steps=100, seconds=None)

SHAPE = [
    "--hidden-size=16", "--num-hidden-layers=1", "--num-attention-heads=2",
    "--intermediate-size=32", "--max-position-embeddings=16",
]  # fmt: skip
MACHINE = ["--device=cpu", "--precision=fp32", "--compile=off", "--threads=1"]


def write_inputs(folder: Path, validation_rows: int = 8) -> list[str]:
    """Write a tokenizer and a data set; returns the flags that name them and the run's folder."""
    tokenizer = write_tokenizer(folder / "tokenizer")
    dataset = write_dataset(folder / "dataset", tokenizer, validation_rows=validation_rows)
    return [f"--dataset={dataset}", f"--tokenizer={tokenizer}", f"--run-dir={folder / '.runs'}"]


def arguments(inputs: list[str], output: Path, *more: str) -> list[str]:
    """Return a command line without budget and recipe."""
    return [*inputs, f"--output={output}", *SHAPE, *MACHINE, *more]


def command(inputs: list[str], output: Path, steps: int, *more: str) -> list[str]:
    """Return a command line for so many steps."""
    recipe = [f"--max-steps={steps}", "--eval-steps=20", "--warmup-steps=5", "--learning-rate=0.01"]
    return arguments(inputs, output, *recipe, *more)


def make_objective(
    *more: str,
    validation_rows: int = 8,
    make_single: Callable[[int, int, int, int], Rows] = make_rows,
) -> MaskedLanguageModeling:
    """Return the objective of a tiny encoder on made-up rows, for `more` flags of `pretrain.py`."""
    unused = ["--dataset=-", "--tokenizer=-", "--run-dir=-", "--max-steps=1"]
    args = pretrain.build_parser().parse_args(arguments(unused, Path("-"), *more))
    make = make_pairs if args.next_sentence else make_single
    rows = [make(n, 16, VOCAB_SIZE, seed) for seed, n in enumerate((64, validation_rows))]
    data = PretrainingData.of_rows(*rows, SPECIAL, args, text_bytes=4 * rows[1].num_tokens)
    kind = NextSentencePrediction if args.next_sentence else MaskedLanguageModeling
    objective = kind(data, args)
    objective.mask_at([0.2])
    return objective


def weights(folder: Path) -> str:
    """Return the hash of a model folder's weights."""
    return sha256_file(folder / "model.safetensors")


def start(arguments: list[str], *launcher: str, script: ModuleType = pretrain) -> subprocess.Popen:
    """Start `pretrain.py`, or another script, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, *launcher, str(Path(script.__file__)), *arguments],
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


class KilledError(BaseException):
    """What ends a training that `break_off` starts."""


def break_off(script: ModuleType, arguments: list[str], steps: int, every: float = 0.0) -> None:
    """Train so many steps with `pretrain` or `finetune` and end as a kill does.

    With a checkpoint every so many seconds: after each step, unless told otherwise.
    """

    def step(self: TrainingStep, number: int, span: Span) -> tuple[torch.Tensor, torch.Tensor]:
        if number == steps:
            raise KilledError
        return take_step(self, number, span)

    take_step = TrainingStep.__call__
    args = script.build_parser().parse_args([*arguments, f"--checkpoint-seconds={every}"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", step)
        with pytest.raises(KilledError):
            script.run(args)


def checkpoints(runs: Path) -> list[Path]:
    """Return the checkpoints below a folder of runs, oldest first."""
    return sorted(runs.glob("*/checkpoint-*"))
