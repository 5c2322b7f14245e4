"""How long encoders take to pretrain on this machine and how much text they see, measured.

Each encoder takes real optimizer steps on random rows, in a process of its own, so neither
memory nor threads of one are those of another.
"""

import argparse
import concurrent.futures
import concurrent.futures.process
import dataclasses
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cloze.errors import ClozeError
from cloze.model.device import Compute
from cloze.objectives.mlm import MaskedLanguageModeling, PretrainingData
from cloze.tokens.shards import Rows, id_dtype
from cloze.tokens.tokenizer import SpecialIds
from cloze.train.budget import Span
from cloze.train.fitting import fit_plan
from cloze.train.memory import probe_micro_batch_size
from cloze.train.processes import World
from cloze.train.step import TrainingStep
from cloze.train.utilisation import Utilisation, matmul_peak, peak_memory_bytes, training_flop

# Tokens a weight that make the most of a given amount of computing (Hoffmann et al. 2022, §3).
TOKENS_PER_WEIGHT = 20
_MANY_EPOCHS = 40
_WARM_UP_STEPS, _MIN_STEPS = 2, 3
_ROWS_OF_A_TRIAL = 512
_AT_THE_PEAK = Span(0.5, 0.5)


@dataclass(frozen=True)
class Corpus:
    """A data set: its training tokens, padding apart, its rows, and what fits into a row."""

    tokens: int
    rows: int
    row_length: int

    @property
    def tokens_per_row(self) -> float:
        """Mean number of tokens of a row, padding apart."""
        return self.tokens / self.rows


@dataclass(frozen=True)
class Preset:
    """An encoder of a configuration: its name and the arguments of `pretrain.py`.

    `args.threads` must be capped to the machine's.
    """

    name: str
    args: argparse.Namespace
    vocab_size: int


@dataclass(frozen=True)
class Measurement:
    """What a preset's training takes here.

    `max_steps`: where the recipe ends by steps; `flop`: of a row. `startup_seconds`: the first
    step, compilation included. `tokens_per_second` counts the places of the rows, as
    `metrics.jsonl` does. `layer_weights`: those of the layers' matrices, embeddings and head
    apart.
    """

    compute: Compute
    train_batch_size: int
    max_steps: int | None
    flop: float
    step_seconds: float
    startup_seconds: float
    tokens_per_second: float
    peak_memory_bytes: int
    parameters: int
    layer_weights: int
    utilisation: Utilisation


@dataclass(frozen=True)
class Plan:
    """A preset's run: `tokens` it sees, padding apart, and its 6N + 12·L·D·T operations."""

    preset: Preset
    measured: Measurement
    steps: int
    seconds: float
    tokens: float
    epochs: float
    flop: float

    @property
    def tokens_per_weight(self) -> float:
        """Tokens seen for each weight of the layers."""
        return self.tokens / self.measured.layer_weights


def make_plans(presets: Sequence[Preset], corpus: Corpus, seconds: float) -> Iterator[Plan]:
    """Measure the presets one after the other, `seconds` of steps each, and plan their runs.

    Raises `ClozeError` for an encoder that cannot train here.
    """
    for preset in presets:
        yield plan_run(preset, _in_another_process(preset, corpus, seconds), corpus)


def plan_run(preset: Preset, measured: Measurement, corpus: Corpus) -> Plan:
    """Return what a preset's run comes to; starting counts, evaluation does not."""
    steps = measured.max_steps
    if steps is None:
        left = preset.args.budget - measured.startup_seconds
        steps = max(0, int(left / measured.step_seconds))
    rows = steps * measured.train_batch_size
    return Plan(
        preset=preset,
        measured=measured,
        steps=steps,
        seconds=measured.startup_seconds + steps * measured.step_seconds,
        tokens=rows * corpus.tokens_per_row,
        epochs=rows / corpus.rows,
        flop=rows * measured.flop,
    )


def recommend(plans: Sequence[Plan]) -> str:
    """Return which of the plans to take, with the reason.

    Of the encoders that see 20 tokens for each weight of their layers the largest learns
    most from the same computing; below that a smaller one learns more.
    """
    fed = [plan for plan in plans if plan.tokens_per_weight >= TOKENS_PER_WEIGHT]
    if fed:
        best = max(fed, key=lambda plan: (plan.measured.layer_weights, plan.tokens))
        reason = f"the largest that sees {TOKENS_PER_WEIGHT} tokens or more a weight of its layers"
    else:
        best = max(plans, key=lambda plan: plan.tokens_per_weight)
        reason = (
            f"none sees {TOKENS_PER_WEIGHT} tokens a weight of its layers, and this one comes "
            "nearest; a longer run would serve all of them"
        )
    advice = f"{best.preset.name}: {reason} ({best.tokens_per_weight:,.0f})"
    if best.epochs > _MANY_EPOCHS:
        advice += f"; {best.epochs:,.0f} epochs are many, so more text would help it"
    return advice


def _in_another_process(preset: Preset, corpus: Corpus, seconds: float) -> Measurement:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        future = pool.submit(measure, preset, corpus, seconds)
        try:
            return future.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise ClozeError(
                f"encoders.{preset.name}: its process was killed, as happens when memory runs "
                "out; lower train_batch_size or leave it out with --encoders"
            ) from error


def measure(preset: Preset, corpus: Corpus, seconds: float) -> Measurement:
    """Take optimizer steps for about `seconds` after those that warm up; computes as a run would.

    Raises `ClozeError` for a device that is absent and if not one row fits into its memory.
    """
    length = corpus.row_length
    objective = MaskedLanguageModeling(_random_data(preset, length), preset.args)
    model = objective.model
    plan = fit_plan(preset.args, objective, preset.args.threads, World())
    objective.mask_at(plan.objective["mlm_probability"])
    model.to(plan.compute.torch_device)
    step = TrainingStep(objective, plan, World())
    batch_size = plan.recipe.train_batch_size
    if plan.compute.device == "cuda":
        size = probe_micro_batch_size(
            batch_size, lambda rows: step.attempt(objective.fullest_batch(rows))
        )
        step.plan = dataclasses.replace(plan, micro_batch_size=size)
    startup_seconds, step_seconds = _time_steps(step, seconds)
    peak_bytes = peak_memory_bytes(plan.compute.device)
    flop = training_flop(model.config, length, length, max(plan.objective["mlm_probability"]))
    return Measurement(
        compute=plan.compute,
        train_batch_size=batch_size,
        max_steps=plan.max_steps,
        flop=flop,
        step_seconds=step_seconds,
        startup_seconds=startup_seconds,
        tokens_per_second=batch_size * length / step_seconds,
        peak_memory_bytes=peak_bytes,
        parameters=sum(p.numel() for p in model.parameters()),
        layer_weights=sum(p.numel() for p in model.encoder.layers.parameters() if p.dim() > 1),
        utilisation=Utilisation(
            batch_size * flop / step_seconds,
            matmul_peak(plan.compute.device, plan.compute.precision),
        ),
    )


def _time_steps(step: TrainingStep, seconds: float) -> tuple[float, float]:
    """Return the seconds of the first step and of one of those after the warm-up."""
    started = time.perf_counter()
    step(0, _AT_THE_PEAK)[0].item()
    startup_seconds = time.perf_counter() - started
    for number in range(1, 1 + _WARM_UP_STEPS):
        step(number, _AT_THE_PEAK)[0].item()
    count, started = 0, time.perf_counter()
    while count < _MIN_STEPS or time.perf_counter() - started < seconds:
        loss, _ = step(1 + _WARM_UP_STEPS + count, _AT_THE_PEAK)
        count += 1
        if count % _MIN_STEPS == 0:
            loss.item()
    loss.item()
    return startup_seconds, (time.perf_counter() - started) / count


def _random_data(preset: Preset, row_length: int) -> PretrainingData:
    """Return full rows of one sample each with random ids.

    How fast a step is depends on shapes alone.
    """
    vocab_size = preset.vocab_size
    shape = (_ROWS_OF_A_TRIAL, row_length)
    ids = np.random.default_rng(0).integers(1, vocab_size, shape)
    bounds = np.arange(shape[0] + 1) * row_length
    rows = Rows(
        max_length=row_length,
        row_length=row_length,
        vocab_size=vocab_size,
        input_ids=ids.astype(id_dtype(vocab_size)).ravel(),
        row_offsets=bounds,
        sample_offsets=bounds,
        word_starts=np.ones(ids.size, dtype=bool),
        sentence_starts=np.zeros(ids.size, dtype=bool),
        documents=np.arange(shape[0], dtype=np.uint32),
        second_lengths=np.zeros(shape[0], dtype=np.uint32),
        is_next=np.zeros(shape[0], dtype=bool),
    )
    special = SpecialIds(0, 0, 0, 0, mask=vocab_size - 1, all=frozenset({0}))
    return PretrainingData.of_rows(rows, rows, special, preset.args)
