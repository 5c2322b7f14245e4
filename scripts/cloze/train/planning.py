"""How long encoders take to pretrain on this machine and how much text they see, measured.

Each encoder takes real optimizer steps on random rows, in a process of its own, so neither
memory nor threads of one are those of another.
"""

import concurrent.futures
import concurrent.futures.process
import dataclasses
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cloze.errors import ClozeError
from cloze.model.device import Compute, resolve_compute
from cloze.model.encoder import EncoderConfig
from cloze.model.heads import MaskedLM
from cloze.objectives.masking import Masker
from cloze.objectives.rows import RowBatches
from cloze.tokens.shards import Rows, id_dtype
from cloze.train.distributed import World
from cloze.train.micro_batches import probe_micro_batch_size
from cloze.train.optimization import training_flop
from cloze.train.recipe import PretrainingRecipe, fit_batch_size
from cloze.train.training_step import TrainingStep, measure_tokens_per_second
from cloze.train.utilisation import Utilisation, matmul_peak, peak_memory_bytes

# Tokens a weight that make the most of a given amount of computing (Hoffmann et al. 2022, §3).
TOKENS_PER_WEIGHT = 20
_MANY_EPOCHS = 40
_WARM_UP_STEPS, _MIN_STEPS = 2, 3
_ROWS_OF_A_TRIAL = 512


@dataclass(frozen=True)
class Machine:
    """Flags of `pretrain.py` about the machine, the threads already capped."""

    device: str
    precision: str
    compile: str
    threads: int


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
    """An encoder with its recipe, and what ends its run: `max_steps` or, if None, `seconds`.

    `fits_batch_size`: the recipe leaves `train_batch_size` to be fitted to the clock.
    """

    name: str
    config: EncoderConfig
    recipe: PretrainingRecipe
    max_steps: int | None
    seconds: float | None
    fits_batch_size: bool


@dataclass(frozen=True)
class Measurement:
    """What a preset's training takes here.

    `startup_seconds`: the first step, compilation included. `tokens_per_second` counts the
    places of the rows, as `metrics.jsonl` does. `layer_weights`: those of the layers'
    matrices, embeddings and head apart.
    """

    compute: Compute
    train_batch_size: int
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


def make_plans(
    presets: Sequence[Preset], corpus: Corpus, machine: Machine, seconds: float
) -> Iterator[Plan]:
    """Measure the presets one after the other, `seconds` of steps each, and plan their runs.

    Raises `ClozeError` for an encoder that cannot train here.
    """
    for preset in presets:
        yield plan_run(preset, _in_another_process(preset, corpus, machine, seconds), corpus)


def plan_run(preset: Preset, measured: Measurement, corpus: Corpus) -> Plan:
    """Return what a preset's run comes to; starting counts, evaluation does not."""
    if preset.max_steps is not None:
        steps = preset.max_steps
    else:
        assert preset.seconds is not None
        left = preset.seconds - measured.startup_seconds
        steps = max(0, int(left / measured.step_seconds))
    rows = steps * measured.train_batch_size
    return Plan(
        preset=preset,
        measured=measured,
        steps=steps,
        seconds=measured.startup_seconds + steps * measured.step_seconds,
        tokens=rows * corpus.tokens_per_row,
        epochs=rows / corpus.rows,
        flop=_flop(preset, rows * corpus.row_length, corpus.row_length),
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


def _flop(preset: Preset, tokens: int, length: int) -> float:
    return training_flop(preset.config, tokens, length, max(preset.recipe.mlm_probability))


def _in_another_process(
    preset: Preset, corpus: Corpus, machine: Machine, seconds: float
) -> Measurement:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        future = pool.submit(measure, preset, corpus, machine, seconds)
        try:
            return future.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise ClozeError(
                f"encoders.{preset.name}: its process was killed, as happens when memory runs "
                "out; lower train_batch_size or leave it out with --encoders"
            ) from error


def measure(preset: Preset, corpus: Corpus, machine: Machine, seconds: float) -> Measurement:
    """Take optimizer steps for about `seconds` after those that warm up; computes as a run would.

    Raises `ClozeError` for a device that is absent and if not one row fits into its memory.
    """
    length = corpus.row_length
    batches = RowBatches(*_random_data(preset, length))
    model = MaskedLM(preset.config)
    compute, recipe = _decide(preset, model, batches, machine)
    model.to(compute.torch_device)
    step = TrainingStep(model, batches, recipe, compute, World())
    if compute.device == "cuda":
        step.micro_batch_size = probe_micro_batch_size(step.num_rows, step.attempt)
    startup_seconds, step_seconds = _time_steps(step, seconds)
    peak_bytes = peak_memory_bytes(compute.device)
    places = recipe.train_batch_size * length
    return Measurement(
        compute=compute,
        train_batch_size=recipe.train_batch_size,
        step_seconds=step_seconds,
        startup_seconds=startup_seconds,
        tokens_per_second=places / step_seconds,
        peak_memory_bytes=peak_bytes,
        parameters=sum(p.numel() for p in model.parameters()),
        layer_weights=sum(p.numel() for p in model.encoder.layers.parameters() if p.dim() > 1),
        utilisation=Utilisation(
            _flop(preset, places, length) / step_seconds,
            matmul_peak(compute.device, compute.precision),
        ),
    )


def _decide(
    preset: Preset, model: MaskedLM, batches: RowBatches, machine: Machine
) -> tuple[Compute, PretrainingRecipe]:
    """Return how a run of this length computes and its recipe with the batch size it gets."""
    length, recipe = batches.row_length, preset.recipe
    if preset.max_steps is not None:
        tokens: float = preset.max_steps * recipe.train_batch_size * length
    else:
        assert preset.seconds is not None
        trial = resolve_compute(machine.device, machine.precision, "off", machine.threads, 0.0)
        model.to(trial.torch_device)
        tokens = preset.seconds * measure_tokens_per_second(model, batches, trial)
        if preset.fits_batch_size:
            rows = fit_batch_size(length, tokens)
            recipe = dataclasses.replace(recipe, train_batch_size=rows)
    flop = _flop(preset, round(tokens), length)
    compute = resolve_compute(
        machine.device, machine.precision, machine.compile, machine.threads, flop
    )
    return compute, recipe


def _time_steps(step: TrainingStep, seconds: float) -> tuple[float, float]:
    """Return the seconds of the first step and of one of those after the warm-up."""
    started = time.perf_counter()
    step(0, 0, 1.0)[0].item()
    startup_seconds = time.perf_counter() - started
    for number in range(1, 1 + _WARM_UP_STEPS):
        step(number, 0, 1.0)[0].item()
    count, started = 0, time.perf_counter()
    while count < _MIN_STEPS or time.perf_counter() - started < seconds:
        loss, _ = step(1 + _WARM_UP_STEPS + count, 0, 1.0)
        count += 1
        if count % _MIN_STEPS == 0:
            loss.item()
    loss.item()
    return startup_seconds, (time.perf_counter() - started) / count


def _random_data(preset: Preset, row_length: int) -> tuple[Rows, Masker, int]:
    """Return full rows of one sample each with random ids, their masker and the padding's id.

    How fast a step is depends on shapes alone.
    """
    vocab_size = preset.config.vocab_size
    special = frozenset({preset.config.pad_token_id})
    shape = (_ROWS_OF_A_TRIAL, row_length)
    ids = np.random.default_rng(0).integers(len(special), vocab_size, shape)
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
    masker = Masker(
        vocab_size=vocab_size,
        mask_token_id=vocab_size - 1,
        special_token_ids=special,
        mlm_probability=preset.recipe.mlm_probability[0],
        max_length=row_length,
        seed=0,
    )
    return rows, masker, preset.config.pad_token_id
