"""What happens at an evaluation: scores, the best weights, guesses, and how the run goes."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cloze.cli import log
from cloze.model.device import Compute
from cloze.objectives.mlm import PretrainingModel, masked_lm_of
from cloze.objectives.mlm_evaluation import MLMScores, evaluate_mlm, masked_bits_per_byte
from cloze.objectives.prediction_history import PredictionHistory
from cloze.objectives.rows import RowBatches
from cloze.train.run_directory import RunDirectory
from cloze.train.training_state import weights_on_cpu

_TRIAL_ROWS = 64
# Told the run's records so far after every evaluation.
OnEvaluation = Callable[[Sequence[dict[str, Any]]], None]


@dataclass(frozen=True)
class Pauses:
    """Seconds that training stands still for an evaluation and for writing a model."""

    evaluation: float
    save: float


class Validation:
    """The validation split and what is kept of every look at it.

    `ordinary_tokens` and `text_bytes` as for `masked_bits_per_byte`.
    """

    def __init__(
        self,
        batches: RowBatches,
        compute: Compute,
        run: RunDirectory,
        history: PredictionHistory,
        on_evaluation: OnEvaluation,
        ordinary_tokens: int,
        text_bytes: int,
    ) -> None:
        self._batches, self._compute, self._run = batches, compute, run
        self._history, self._on_evaluation = history, on_evaluation
        self._ordinary_tokens, self._text_bytes = ordinary_tokens, text_bytes
        self.best_loss = math.inf

    def rewind(self, step: int) -> None:
        """Forget what was recorded after `step`, which a resumed run makes again."""
        self._run.metrics.rewind(step)
        self._history.rewind(step)

    def look_at_the_start(self, model: PretrainingModel) -> Pauses:
        """Record the loss of guessing, about ln V, and find out how long a look takes."""
        started = time.perf_counter()
        few = self._batches.first_rows(_TRIAL_ROWS)
        loss = evaluate_mlm(model, few, self._compute).validation_loss
        share = few.num_rows / self._batches.num_rows
        seconds = (time.perf_counter() - started) / share
        self._run.metrics.append({"step": 0, "initial_loss": loss})
        self._history.record(masked_lm_of(model), 0)
        log.info("initial loss %.3f, ln V %.3f", loss, math.log(model.config.vocab_size))
        return Pauses(seconds, self._save(model))

    def look(self, model: PretrainingModel, step: int, where: str) -> Pauses | None:
        """Score the whole split, record it, and keep the weights if they are the best so far.

        `where` says how far the run is. Returns the seconds it took if weights were kept.
        """
        started = time.perf_counter()
        scores = evaluate_mlm(model, self._batches, self._compute)
        loss = scores.validation_loss
        bits = masked_bits_per_byte(loss, self._ordinary_tokens, self._text_bytes)
        self._run.metrics.append(
            {"step": step, **scores.as_dict(), "validation_masked_bits_per_byte": bits}
        )
        self._history.record(masked_lm_of(model), step)
        seconds = time.perf_counter() - started
        log.info("%s: %s", where, _described(scores))
        self._on_evaluation(self._run.metrics.read())
        if loss >= self.best_loss:
            return None
        self.best_loss = loss
        return Pauses(seconds, self._save(model))

    def _save(self, model: PretrainingModel) -> float:
        started = time.perf_counter()
        self._run.save_best(weights_on_cpu(model))
        return time.perf_counter() - started


def _described(scores: MLMScores) -> str:
    text = (
        f"validation loss {scores.validation_loss:.4f}, "
        f"accuracy {100 * scores.validation_accuracy:.2f} %"
    )
    if scores.validation_next_sentence_accuracy is not None:
        text += f", next sentence {100 * scores.validation_next_sentence_accuracy:.2f} %"
    return text
