"""How what a pretraining recipe leaves open is fitted to the encoder and to the budget."""

import argparse
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from cloze.cli import log
from cloze.model.device import Compute, resolve_compute
from cloze.model.encoder import EncoderConfig
from cloze.objectives.mlm import MaskedLanguageModeling
from cloze.train.plan import TrainingPlan, TrainingRecipe, steps_of, warmup_ratio
from cloze.train.processes import World
from cloze.train.utilisation import training_flop

_TRIAL_TOKENS = {"cpu": 2_048, "mps": 4_096, "cuda": 32_768}
# Of a budget in time, for measuring how fast the machine is.
_TRIAL_SHARE = 0.01


@dataclass(frozen=True)
class FittingRules:
    """The numbers by which a recipe is fitted to an encoder and to a budget.

    `learning_rate_times_width`: peak learning rate times hidden size, by layout; wider
    encoders want smaller steps, post-norm ones much smaller.
    `tokens_per_step`: factor of the square root of the run's tokens, so that a run takes
    about as many steps as a step has tokens (the critical batch size grows with training,
    McCandlish et al. 2018); rounded to a power of two rows.
    `adaptation_learning_rate`: share of the usual peak for an encoder that is adapted.
    """

    learning_rate_times_width: Mapping[str, float]
    tokens_per_step: float
    fewest_rows: int
    rows_of_steps: int
    adaptation_learning_rate: float
    mlm_probability: tuple[float, ...]
    mlm_probability_by_clock: tuple[float, ...]


RULES = FittingRules(
    learning_rate_times_width={
        "bert": 0.13,
        "modernbert": 0.5,
        "roberta": 0.13,
        "distilbert": 0.13,
        "electra": 0.13,
    },
    tokens_per_step=1.0,
    fewest_rows=8,
    rows_of_steps=32,
    adaptation_learning_rate=0.25,
    mlm_probability=(0.15,),
    mlm_probability_by_clock=(0.2,),
)


def fit_plan(
    args: argparse.Namespace, objective: MaskedLanguageModeling, threads: int, world: World,
    tokens_per_second: float | None = None,
) -> TrainingPlan:  # fmt: skip
    """Decide for a new run; with a budget in time by the speed given, or measured here."""
    config, length = objective.model.config, objective.data.train_rows.row_length
    batch_size, max_steps, tokens = args.train_batch_size, args.max_steps, args.max_tokens
    if args.budget is not None:
        if tokens_per_second is None:
            compute = resolve_compute(args.device, args.precision, "off", threads, 0.0)
            objective.model.to(compute.torch_device)
            rate = measure_tokens_per_second(objective, compute, _TRIAL_SHARE * args.budget)
            tokens_per_second = world.size * rate
        tokens = tokens_per_second * args.budget
        log.info("about %s tokens/s, %s in all", f"{tokens_per_second:,.0f}", f"{tokens:,.0f}")
    if batch_size is None:
        batch_size = RULES.rows_of_steps
        if tokens is not None:
            batch_size = max(world.size, fit_batch_size(length, tokens))
    if args.max_tokens is not None:
        max_steps = steps_of(args.max_tokens / objective.tokens_per_example, batch_size)
    rates = args.mlm_probability
    if rates is None:
        rates = RULES.mlm_probability if max_steps else RULES.mlm_probability_by_clock
    places = round(tokens if max_steps is None else max_steps * batch_size * length)
    flop = training_flop(config, places, length, max(rates))
    compute = resolve_compute(args.device, args.precision, args.compile, threads, flop)
    recipe = fit_recipe(args, config, batch_size, max_steps)
    return TrainingPlan(
        compute, recipe, max_steps, args.budget, tokens_per_second, {"mlm_probability": list(rates)}
    )


def fit_batch_size(row_length: int, expected_tokens: float) -> int:
    """Return the rows of a step for a run of so many tokens."""
    tokens = RULES.tokens_per_step * math.sqrt(expected_tokens)
    return max(RULES.fewest_rows, 2 ** round(math.log2(max(1.0, tokens / row_length))))


def fit_recipe(
    args: argparse.Namespace, config: EncoderConfig, train_batch_size: int, max_steps: int | None
) -> TrainingRecipe:
    """Complete a recipe from the settings; `max_steps` is None if only the clock knows."""
    learning_rate = args.learning_rate
    if learning_rate is None:
        share = 1.0 if args.adapt is None else RULES.adaptation_learning_rate
        learning_rate = share * usual_learning_rate(config)
    muon_learning_rate = args.muon_learning_rate
    return TrainingRecipe(
        train_batch_size=train_batch_size,
        optimizer=args.optimizer,
        learning_rate=learning_rate,
        muon_learning_rate=learning_rate if muon_learning_rate is None else muon_learning_rate,
        lr_scheduler_type=args.lr_scheduler_type,
        warmup_ratio=warmup_ratio(args.warmup_steps, max_steps),
        cooldown_ratio=args.cooldown_fraction,
        weight_decay=args.weight_decay,
        adam_beta1=args.adam_beta1,
        adam_beta2=args.adam_beta2,
        adam_epsilon=args.adam_epsilon,
        max_grad_norm=args.max_grad_norm,
        seed=args.seed,
    )


def usual_learning_rate(config: EncoderConfig) -> float:
    """Return the peak learning rate for a new encoder of this layout and width."""
    return RULES.learning_rate_times_width[config.layout] / config.hidden_size


def measure_tokens_per_second(
    objective: MaskedLanguageModeling, compute: Compute, seconds: float = 0.0
) -> float:
    """Return how many tokens, padding apart, a forward and backward pass handle a second.

    The best of at least three passes in about so many seconds, uncompiled; changes no weight.
    """
    tokens_per_row = objective.tokens_per_example
    rows = max(1, round(_TRIAL_TOKENS[compute.device] / tokens_per_row))
    batch = objective.batch(0, rows, 0.0, None).to(compute.torch_device)
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < 3 or time.perf_counter() - began < seconds:
        started = time.perf_counter()
        with compute.autocast():
            loss = objective.loss(objective.model, batch)
        loss.backward()
        loss.item()
        if compute.device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    objective.model.zero_grad(set_to_none=True)
    return rows * tokens_per_row / min(taken)
