"""What decides the weights besides data and architecture, and how what is not given is fitted."""

import argparse
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cloze.errors import ClozeError
from cloze.model.encoder import EncoderConfig


@dataclass(frozen=True)
class FittingRules:
    """The numbers by which a recipe is fitted to an encoder and to a budget.

    `learning_rate_times_width`: peak learning rate times hidden size, by layout; wider
    encoders want smaller steps, post-norm ones much smaller.
    `tokens_per_step`: factor of the square root of the run's tokens, so that a run takes
    about as many steps as a step has tokens (the critical batch size grows with training,
    McCandlish et al. 2018); rounded to a power of two rows.
    `evaluation_share`: the most that evaluations before the last may take of a time budget.
    """

    learning_rate_times_width: Mapping[str, float]
    tokens_per_step: float
    fewest_rows: int
    rows_of_steps: int
    mlm_probability: tuple[float, ...]
    mlm_probability_by_clock: tuple[float, ...]
    most_evaluations: int
    evaluation_share: float


RULES = FittingRules(
    learning_rate_times_width={"bert": 0.13, "modernbert": 0.5},
    tokens_per_step=1.0,
    fewest_rows=8,
    rows_of_steps=32,
    mlm_probability=(0.15,),
    mlm_probability_by_clock=(0.2,),
    most_evaluations=10,
    evaluation_share=0.05,
)


@dataclass(frozen=True)
class PretrainingRecipe:
    """Names as in Hugging Face.

    `warmup` is a share of the run. `mlm_probability` holds one rate for each of as many
    equal shares of the run; validation uses the last.
    """

    train_batch_size: int
    optimizer: str
    learning_rate: float
    muon_learning_rate: float
    lr_scheduler_type: str
    warmup: float
    cooldown_fraction: float
    weight_decay: float
    adam_beta1: float
    adam_beta2: float
    adam_epsilon: float
    max_grad_norm: float
    mlm_probability: tuple[float, ...]
    seed: int

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "PretrainingRecipe":
        """Return what `as_json` was made of."""
        return cls(**{**values, "mlm_probability": tuple(values["mlm_probability"])})

    def as_json(self) -> dict[str, Any]:
        """Return the recipe as plain values."""
        return {**asdict(self), "mlm_probability": list(self.mlm_probability)}


def fit_batch_size(row_length: int, expected_tokens: float) -> int:
    """Return the rows of a step for a run of so many tokens."""
    tokens = RULES.tokens_per_step * math.sqrt(expected_tokens)
    return max(RULES.fewest_rows, 2 ** round(math.log2(max(1.0, tokens / row_length))))


def fit_recipe(
    args: argparse.Namespace, config: EncoderConfig, train_batch_size: int, max_steps: int | None
) -> PretrainingRecipe:
    """Complete a recipe from the command line; `max_steps` is None if only the clock knows."""
    learning_rate = args.learning_rate
    if learning_rate is None:
        learning_rate = RULES.learning_rate_times_width[config.layout] / config.hidden_size
    rates = args.mlm_probability
    if rates is None:
        rates = RULES.mlm_probability if max_steps else RULES.mlm_probability_by_clock
    muon_learning_rate = args.muon_learning_rate
    return PretrainingRecipe(
        train_batch_size=train_batch_size,
        optimizer=args.optimizer,
        learning_rate=learning_rate,
        muon_learning_rate=learning_rate if muon_learning_rate is None else muon_learning_rate,
        lr_scheduler_type=args.lr_scheduler_type,
        warmup=_warmup_share(args.warmup_steps, max_steps),
        cooldown_fraction=args.cooldown_fraction,
        weight_decay=args.weight_decay,
        adam_beta1=args.adam_beta1,
        adam_beta2=args.adam_beta2,
        adam_epsilon=args.adam_epsilon,
        max_grad_norm=args.max_grad_norm,
        mlm_probability=tuple(rates),
        seed=args.seed,
    )


def _warmup_share(warmup_steps: float, max_steps: int | None) -> float:
    if warmup_steps < 1:
        return float(warmup_steps)
    if max_steps is None:
        raise ClozeError(
            f"warmup_steps: {warmup_steps:g} steps, but a budget in time has no known number of "
            "steps; give a share of the run below 1, such as 0.06"
        )
    return min(1.0, warmup_steps / max_steps)
