"""Masked-language-model pretraining: the loop, its measurements and its checkpoints."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from cloze.cli import log, progress
from cloze.errors import ClozeError
from cloze.objectives.mlm import PretrainingModel
from cloze.objectives.rows import RowBatches, describe_rows
from cloze.train.budget import Budget
from cloze.train.distributed import World
from cloze.train.loss_watch import LossWatch, LossWindow
from cloze.train.recipe import RULES, PretrainingRecipe
from cloze.train.run_directory import RunDirectory
from cloze.train.schedules import Span, factor_over, stage
from cloze.train.stop_signal import StopSignal
from cloze.train.training_state import (
    finite_or_none,
    gather_tensors,
    or_infinity,
    restore_tensors,
    watch_from_state,
    watch_state,
    weights_on_cpu,
)
from cloze.train.training_step import TrainingStep
from cloze.train.validation import Pauses, Validation

LOG_STEPS = 10


class TrainingStoppedError(ClozeError):
    """Training was asked to stop; the message says how to go on."""


@dataclass(frozen=True)
class Routine:
    """What happens between steps: an evaluation every `eval_steps` steps (None: at equal
    shares of the run), a checkpoint every `checkpoint_seconds`, and after each of `keep_at`
    percent of the run the weights are kept for good."""

    eval_steps: int | None
    checkpoint_seconds: float
    keep_at: tuple[int, ...] = ()


class Pretraining:
    """One run: it starts or resumes, trains to the end of its budget and leaves the model there."""

    def __init__(
        self,
        model: PretrainingModel,
        step: TrainingStep,
        train: RowBatches,
        validation: Validation,
        recipe: PretrainingRecipe,
        budget: Budget,
        routine: Routine,
        device: torch.device,
        run: RunDirectory,
        world: World,
    ) -> None:
        self.model = model
        self._training_step, self._train, self._validation = step, train, validation
        self._recipe, self._budget, self._routine = recipe, budget, routine
        self._run, self._world = run, world
        self.steps_done = 0
        self.train_seconds = 0.0
        self.resumed_from: list[int] = []
        self._evaluated_at = 0
        self._evaluations, self._planned_evaluations = 0, RULES.most_evaluations
        self._kept: list[int] = []
        self._stop = StopSignal()
        self._window = LossWindow(LOG_STEPS, device)
        self._spans: list[Span] = []
        self._watch = LossWatch()
        self._resume()

    def train(self) -> None:
        """Train to the end. Raises `TrainingStoppedError` on SIGTERM, after a checkpoint.

        Raises `ClozeError` naming step and batch if the loss is no number any more or
        rises and stays there.
        """
        bar = progress(
            total=self._budget.max_steps,
            initial=self.steps_done,
            unit="step",
            description="pretrain",
        )
        with self._stop, bar:
            if self.steps_done == 0:
                self._look_at_the_start()
            self._take_steps(bar)
            self._keep_weights(Span(1.0, 1.0))
            if self._spans:
                self._close_window(bar)
            if self._evaluated_at < self.steps_done:
                self._evaluate()

    def _take_steps(self, bar: Any) -> None:
        self.model.train()
        last_checkpoint: float | None = None
        while True:
            stop, readings = self._world.agree(self._stop.received, self._budget.readings())
            if last_checkpoint is None:
                last_checkpoint = readings[0]
            if stop or readings[0] - last_checkpoint >= self._routine.checkpoint_seconds:
                self._save_checkpoint()
                # The next reading is one that all processes agree on.
                last_checkpoint = None
            if stop:
                raise TrainingStoppedError(
                    f"stopped by a signal after {self._budget.describe(self.steps_done)}, saved in "
                    f"{self._run.path}; run the same command again to go on"
                )
            span = self._budget.next_span(self.steps_done, readings)
            if span is None:
                return
            self._step(span)
            self._keep_weights(span)
            bar.update()
            if len(self._spans) == LOG_STEPS:
                self._close_window(bar)
            if self._evaluation_is_due(span):
                self._evaluate()

    def _step(self, span: Span) -> None:
        started = time.perf_counter()
        loss, norm = self._training_step(
            self.steps_done,
            self._stage(span),
            self._learning_rate_factor(span),
        )
        self._window.put(len(self._spans), loss, norm)
        self._spans.append(span)
        self.steps_done += 1
        self.train_seconds += time.perf_counter() - started

    def _keep_weights(self, span: Span) -> None:
        for percent in self._routine.keep_at:
            if percent not in self._kept and percent <= 100 * span.end:
                self._kept.append(percent)
                if self._world.is_main:
                    self._run.keep(percent, weights_on_cpu(self.model))

    def _stage(self, span: Span) -> int:
        return stage(len(self._recipe.mlm_probability), span.start)

    def _learning_rate_factor(self, span: Span) -> float:
        recipe = self._recipe
        return factor_over(recipe.lr_scheduler_type, span, recipe.warmup, recipe.cooldown_fraction)

    def _look_at_the_start(self) -> None:
        if self._world.is_main:
            self._note(self._validation.look_at_the_start(self.model))
        self._planned_evaluations = self._world.share(self._budget.affordable_evaluations())

    def _note(self, pauses: Pauses) -> None:
        self._budget.note_pauses(pauses.evaluation, pauses.save)

    def _evaluation_is_due(self, span: Span) -> bool:
        if self._routine.eval_steps is not None:
            return self.steps_done % self._routine.eval_steps == 0
        return span.start >= (self._evaluations + 1) / self._planned_evaluations

    def _evaluate(self) -> None:
        self._evaluated_at = self.steps_done
        self._evaluations += 1
        if not self._world.is_main:
            return
        where = f"{self._budget.describe(self.steps_done)}, {self.train_seconds:.0f} s of training"
        pauses = self._validation.look(self.model, self.steps_done, where)
        if pauses is not None:
            self._note(pauses)

    def load_weights(self, file: Path) -> None:
        """Give the model weights that the run has kept: the best ones, or those on its way."""
        self.model.load_state_dict(load_file(file))

    def _window_values(self) -> tuple[list[float], list[float]]:
        """Return the losses and gradient norms since the last record, over all processes.

        Raises `ClozeError` if one is no number. Waits for the device.
        """
        started = time.perf_counter()
        values = self._world.mean(self._window.values)[:, : len(self._spans)]
        losses, norms = values.tolist()
        # A GPU has until here for the steps that were only queued.
        self.train_seconds += time.perf_counter() - started
        first_step = self.steps_done - len(self._spans)
        for step, (loss, norm) in enumerate(zip(losses, norms, strict=True), first_step):
            # Loss scaling meets infinite gradients on purpose and leaves such a step out.
            checked = (loss,) if self._training_step.scaler.is_enabled() else (loss, norm)
            if not all(map(math.isfinite, checked)):
                raise self._divergence(step, f"the loss is {loss}, its gradient's norm {norm}")
        return losses, norms

    def _close_window(self, bar: Any) -> None:
        losses, norms = self._window_values()
        first_step = self.steps_done - len(losses)
        if (spike := self._watch.spike(first_step, losses)) is not None:
            raise self._divergence(*spike)
        recipe, span = self._recipe, self._spans[-1]
        tokens = self.steps_done * recipe.train_batch_size * self._train.row_length
        record: dict[str, Any] = {
            "step": self.steps_done,
            "loss": sum(losses) / len(losses),
            "grad_norm": max(norms),
            "learning_rate": recipe.learning_rate * self._learning_rate_factor(span),
            "mlm_probability": recipe.mlm_probability[self._stage(span)],
            "progress": span.start,
            "tokens_per_second": round(tokens / self.train_seconds, 1),
            "train_seconds": round(self.train_seconds, 3),
        }
        if self._budget.max_steps is None:
            # By the clock, no two runs have the same schedule: keep what this one had.
            record["step_progress"] = [round(span.start, 7) for span in self._spans]
        self._spans.clear()
        bar.set_postfix_str(
            f"loss {record['loss']:.3f}, {record['tokens_per_second']:,.0f} tokens/s"
        )
        if self._world.is_main:
            self._run.metrics.append(record)

    def _divergence(self, step: int, what: str) -> ClozeError:
        """Return what to say when step `step` (from 0) went wrong."""
        recipe = self._recipe
        rows = self._train.row_numbers(recipe.seed, step, recipe.train_batch_size)
        good = [str(path) for path in self._run.checkpoints(until=step)]
        return ClozeError(
            f"training diverged at step {step + 1}: {what}; lower learning_rate "
            f"({recipe.learning_rate:g}) or raise warmup_steps. Last good checkpoint: "
            f"{good[-1] if good else 'none'}. Batch: {describe_rows(rows)} "
            f"(RowBatches.training_batch({recipe.seed}, {step}, {recipe.train_batch_size}))"
        )

    def _save_checkpoint(self) -> None:
        # Before anything is written, so that no checkpoint has weights that are no numbers.
        losses, norms = self._window_values()
        if not self._world.is_main or self.steps_done == 0:
            return
        self._run.save_checkpoint(
            self.steps_done,
            gather_tensors(self.model, self._training_step.optimizers),
            {
                "train_seconds": self.train_seconds,
                "resumed_from": self.resumed_from,
                "best_validation_loss": finite_or_none(self._validation.best_loss),
                "evaluated_at": self._evaluated_at,
                "evaluations": self._evaluations,
                "planned_evaluations": self._planned_evaluations,
                "kept": self._kept,
                "window": [losses, norms, [[span.start, span.end] for span in self._spans]],
                "watch": watch_state(self._watch),
                "budget": self._budget.state(),
                "grad_scaler": self._training_step.scaler.state_dict(),
            },
        )

    def _resume(self) -> None:
        """Go on from the newest sound checkpoint, the same one in every process."""
        checkpoint = None
        if self._world.is_main:
            checkpoint = self._run.load_checkpoint()
            # Even what was recorded before the first step is made again.
            self._validation.rewind(checkpoint[1]["step"] if checkpoint else -1)
        step = self._world.share(checkpoint[1]["step"] if checkpoint else None)
        if step is None:
            return
        tensors, state = checkpoint or self._run.load_checkpoint_of(step)
        restore_tensors(tensors, self.model, self._training_step.optimizers, self._run.path)
        self._training_step.scaler.load_state_dict(state["grad_scaler"])
        self._budget.load_state(state["budget"])
        self._watch = watch_from_state(state["watch"])
        losses, norms, spans = state["window"]
        self._spans = [Span(*span) for span in spans]
        self._window.fill(losses, norms)
        self.steps_done, self.train_seconds = step, state["train_seconds"]
        self._validation.best_loss = or_infinity(state["best_validation_loss"])
        self._evaluated_at, self._evaluations = state["evaluated_at"], state["evaluations"]
        self._planned_evaluations, self._kept = state["planned_evaluations"], state["kept"]
        self.resumed_from = [*state["resumed_from"], step]
        log.info("resuming after %s", self._budget.describe(step))
