"""Why a loss does not fall: what a run's measurements and its data say about it.

An encoder first learns how frequent each token is, which brings the loss to the unigram
floor; only what it learns from context brings it lower. Many recipes that fail stay there.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloze.cli import log
from cloze.model.encoder import EncoderConfig
from cloze.objectives.mlm import EVALUATION_BATCH_SIZE, MaskedLanguageModeling, PretrainingData
from cloze.objectives.rows import MaskedBatch
from cloze.tokens.shards import Rows
from cloze.train.fitting import usual_learning_rate
from cloze.train.plan import TrainingPlan

# Validation on a small split is uncertain by some hundredths of a nat.
FLOOR_MARGIN = 0.1
PLATEAU_PROGRESS = 0.25
_STILL_FALLING = 0.01
_RISEN = 0.05
_DUPLICATES = 0.2
_RATE_TOO_HIGH, _RATE_TOO_LOW = 3.0, 0.1
_LOSS_ROSE = 0.3
_MEMORISED = 1.0
_MASKS_OFF = 0.2
_USUAL_RATES = (0.05, 0.6)
_FEW_STEPS = 2000
_HASHED_SAMPLES = 200_000


@dataclass(frozen=True)
class RunFacts:
    """What the doctor knows besides the measurements.

    `unigram_entropy` in nats a token, as `unigram_entropy` returns it. `warmup`: a share
    of the run. `usual_learning_rate`: what encoders of this kind and width are trained
    with. `predicted_share` as the function of that name measured it, `mlm_probability`
    what was asked for. `duplicate_share`: see the function.
    """

    unigram_entropy: float
    layout: str
    warmup: float
    learning_rate: float
    usual_learning_rate: float
    mlm_probability: float
    predicted_share: float
    duplicate_share: float


def run_facts(
    data: PretrainingData, config: EncoderConfig, recipe: Mapping[str, Any], unigram_entropy: float
) -> RunFacts:
    """Return what data and `recipe`, as `metrics.json` holds it, say; entropy in nats a token."""
    rate = recipe["mlm_probability"][-1]
    validation = data.validation.with_mlm_probability(rate)
    few = next(iter(validation.evaluation_batches(EVALUATION_BATCH_SIZE)))
    return RunFacts(
        unigram_entropy=unigram_entropy,
        layout=config.layout,
        warmup=recipe["warmup_ratio"],
        learning_rate=recipe["learning_rate"],
        usual_learning_rate=usual_learning_rate(config),
        mlm_probability=rate,
        predicted_share=predicted_share(few, data.special.all),
        duplicate_share=duplicate_share(data.train_rows),
    )


def watch(
    objective: MaskedLanguageModeling, plan: TrainingPlan
) -> Callable[[Sequence[dict[str, Any]]], None]:
    """Return a function that logs how the run of these goes, given its records so far."""
    config, entropy = objective.model.config, objective.unigram_entropy
    facts = run_facts(objective.data, config, plan.settings, entropy)

    def say_how_it_goes(records: Sequence[dict[str, Any]]) -> None:
        lines = diagnose(records, facts)
        for line in lines:
            # More than one line: a plateau and its likely causes.
            (log.warning if len(lines) > 1 else log.info)("%s", line)

    return say_how_it_goes


def diagnose(records: Sequence[dict[str, Any]], facts: RunFacts) -> list[str]:
    """Return sentences about how a run goes; none before its first validation.

    `records` are those of `metrics.jsonl`: of training with `step`, `loss`, `grad_norm` and
    `progress` (the share of the run done), of validation with `step`, `validation_loss` and,
    where it is an objective, `validation_next_sentence_loss`. A loss within 0.1 nats of the
    unigram floor, or above it, after a quarter of the run is a plateau; the sentences after
    the first name its likely causes, one each.
    """
    validation = [record for record in records if "validation_loss" in record]
    training = [record for record in records if "progress" in record]
    if not validation or not training:
        return []
    last = validation[-1]
    loss, floor = last["validation_loss"], facts.unigram_entropy
    if loss < floor - FLOOR_MARGIN:
        return [_beyond_the_floor(validation, floor)]
    progress = training[-1]["progress"]
    if progress < PLATEAU_PROGRESS:
        return []
    where = "at" if loss <= floor + FLOOR_MARGIN else "above"
    return [
        f"after {100 * progress:.0f} % of the run (step {last['step']}) the validation loss, "
        f"{loss:.3f}, is still {where} the unigram floor of {floor:.3f}: the encoder has learned "
        "nothing from context. Likely causes:",
        *(f"- {cause}" for cause in _causes(training, validation, progress, facts)),
    ]


def _beyond_the_floor(validation: Sequence[dict[str, Any]], floor: float) -> str:
    losses = [record["validation_loss"] for record in validation]
    below = f"validation loss {losses[-1]:.3f}, {floor - losses[-1]:.2f} below the unigram floor"
    lowest = min(range(len(losses)), key=losses.__getitem__)
    if losses[-1] > losses[lowest] + _RISEN:
        return (
            f"{below}, but risen since step {validation[lowest]['step']} ({losses[lowest]:.3f}): "
            "the encoder memorises its text; take best/, or more text or fewer steps"
        )
    if len(losses) < 2:
        return below
    before = losses[-1 - max(1, len(losses) // 4)]
    if before - losses[-1] > _STILL_FALLING * before:
        return f"{below} and still falling: more steps would lower it further"
    return f"{below} and falling no more"


def _causes(
    training: Sequence[dict[str, Any]],
    validation: Sequence[dict[str, Any]],
    progress: float,
    facts: RunFacts,
) -> list[str]:
    """Return what the figures speak for, the strongest evidence first."""
    found = [
        _wrong_masks(facts),
        _rate_too_high(training, facts),
        _duplicate_text(training, validation[-1], facts),
        _warming_up(progress, facts),
        _rate_too_low(training, validation, facts),
        _too_few_steps(training, facts),
    ]
    return [cause for cause in found if cause] or [
        "no figure of this run points to one; try half the learning rate, and if that changes "
        "nothing, look at the text in the data set's corpus.html"
    ]


def _wrong_masks(facts: RunFacts) -> str | None:
    asked, found = facts.mlm_probability, facts.predicted_share
    if abs(found - asked) > _MASKS_OFF * asked:
        return (
            f"masks: {100 * found:.1f} % of the ordinary tokens are predicted where "
            f"mlm_probability asks for {100 * asked:.1f} %; check max_length and the rows' lengths"
        )
    if not _USUAL_RATES[0] <= asked <= _USUAL_RATES[1]:
        return (
            f"masks: mlm_probability is {asked:g}; "
            f"{'too little is left to read' if asked > 0.5 else 'too little is asked a step'}; "
            "0.15 to 0.4 is usual"
        )
    return None


def _rate_too_high(training: Sequence[dict[str, Any]], facts: RunFacts) -> str | None:
    losses = [record["loss"] for record in training]
    lowest = min(range(len(losses)), key=losses.__getitem__)
    highest_later = max(losses[lowest:])
    ratio = facts.learning_rate / facts.usual_learning_rate
    lower = f"lower it to {facts.usual_learning_rate:.1g} or raise warmup"
    if highest_later > losses[lowest] + _LOSS_ROSE:
        return (
            f"learning_rate {facts.learning_rate:g} is too high: the training loss rose from "
            f"{losses[lowest]:.2f} to {highest_later:.2f} after step {training[lowest]['step']}; "
            f"{lower}"
        )
    if ratio > _RATE_TOO_HIGH:
        return (
            f"learning_rate {facts.learning_rate:g} is {ratio:.0f} times what {facts.layout} "
            f"encoders of this width are usually trained with, which can leave them blind to "
            f"their input; {lower}"
        )
    norms = [record["grad_norm"] for record in training if "grad_norm" in record]
    quarter = len(norms) // 4
    if quarter and statistics.median(norms[-quarter:]) > 10 * statistics.median(norms[:quarter]):
        return (
            f"learning_rate {facts.learning_rate:g} may be too high: the gradient's norm grew to "
            f"{statistics.median(norms[-quarter:]):.1f} where it began at "
            f"{statistics.median(norms[:quarter]):.1f}; {lower}"
        )
    return None


def _duplicate_text(
    training: Sequence[dict[str, Any]], validation: dict[str, Any], facts: RunFacts
) -> str | None:
    # The training loss is that of all objectives together.
    all_losses = validation["validation_loss"] + validation.get("validation_next_sentence_loss", 0)
    memorised = all_losses - training[-1]["loss"]
    if facts.duplicate_share > _DUPLICATES:
        return (
            f"duplicate lines: {100 * facts.duplicate_share:.0f} % of the training samples are "
            "copies of another; clean the text (near_duplicate_threshold of the corpus finds "
            "documents that differ a little)"
        )
    if memorised > _MEMORISED:
        return (
            f"the training loss, {training[-1]['loss']:.2f}, is {memorised:.2f} below that of "
            "validation: the encoder memorises too little text, or validation is another kind of it"
        )
    return None


def _warming_up(progress: float, facts: RunFacts) -> str | None:
    if progress >= facts.warmup:
        return None
    return (
        f"the warm-up takes the first {100 * facts.warmup:.0f} % of the run and is not over; "
        "wait, or shorten it"
    )


def _rate_too_low(
    training: Sequence[dict[str, Any]], validation: Sequence[dict[str, Any]], facts: RunFacts
) -> str | None:
    ratio = facts.learning_rate / facts.usual_learning_rate
    higher = f"raise it towards {facts.usual_learning_rate:.1g}"
    if ratio < _RATE_TOO_LOW:
        return (
            f"learning_rate {facts.learning_rate:g} is too low: encoders of this width are usually "
            f"trained with {1 / ratio:.0f} times as much; {higher}"
        )
    above = validation[-1]["validation_loss"] > facts.unigram_entropy + FLOOR_MARGIN
    losses = [record["loss"] for record in training]
    half = len(losses) // 2
    falling = half and statistics.mean(losses[:half]) > statistics.mean(losses[half:]) + 0.02
    if above and falling and ratio < 1.0:
        return (
            f"learning_rate {facts.learning_rate:g} may be too low: the loss falls steadily, but "
            f"has not even come to the floor; {higher}"
        )
    return None


def _too_few_steps(training: Sequence[dict[str, Any]], facts: RunFacts) -> str | None:
    step = training[-1]["step"]
    if step >= _FEW_STEPS:
        return None
    sooner = "" if facts.layout == "modernbert" else "; layout modernbert leaves it sooner"
    return (
        f"too few steps: {step:,} so far, and small encoders often leave the floor only after a "
        f"few thousand{sooner}"
    )


def duplicate_share(rows: Rows) -> float:
    """Return the share of samples that equal an earlier one, among the first 200,000."""
    bounds = rows.sample_offsets[: _HASHED_SAMPLES + 1].tolist()
    seen = {
        hash(rows.input_ids[start:stop].tobytes()) for start, stop in itertools.pairwise(bounds)
    }
    return 1.0 - len(seen) / max(1, len(bounds) - 1)


def predicted_share(batch: MaskedBatch, special_token_ids: frozenset[int]) -> float:
    """Return the share of a batch's ordinary tokens that are predicted."""
    original = batch.packed.input_ids.scatter(1, batch.positions, batch.labels).numpy()
    ordinary = (batch.packed.sample_ids.numpy() > 0) & ~np.isin(original, list(special_token_ids))
    count = int(ordinary.sum())
    return int((batch.weights > 0).sum()) / count if count else math.nan
