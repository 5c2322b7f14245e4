"""Masked-language-model pretraining: the loop, its state and its measurements."""

import dataclasses
import math
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file
from torch import Tensor

from cloze.cli import log, progress
from cloze.encoder.device import Compute
from cloze.encoder.model import MaskedLM
from cloze.errors import ClozeError
from cloze.pretraining.batches import MaskedBatch, RowBatches
from cloze.pretraining.mlm_evaluation import evaluate_mlm
from cloze.pretraining.optimization import adamw, learning_rate_factor, set_learning_rate
from cloze.pretraining.run_directory import RunDirectory

LOG_STEPS = 10


@dataclasses.dataclass(frozen=True)
class PretrainingRecipe:
    """What decides the weights besides data and architecture; names as in Hugging Face."""

    max_steps: int
    train_batch_size: int
    learning_rate: float
    lr_scheduler_type: str
    warmup_steps: int
    weight_decay: float
    adam_beta1: float
    adam_beta2: float
    adam_epsilon: float
    max_grad_norm: float
    mlm_probability: float
    eval_steps: int
    seed: int


def masked_lm_loss(model: MaskedLM, batch: MaskedBatch) -> Tensor:
    """Return the mean cross-entropy, in nats, over the batch's predictions."""
    logits = model(batch.packed, batch.positions)
    losses = F.cross_entropy(logits.flatten(0, 1).float(), batch.labels.flatten(), reduction="none")
    weights = batch.weights.flatten()
    return (losses * weights).sum() / weights.sum()


class TrainingStoppedError(ClozeError):
    """Training was asked to stop; the message says how to go on."""


class Pretraining:
    """One run: it starts or resumes, trains to `max_steps` and leaves the model at its end."""

    def __init__(
        self,
        model: MaskedLM,
        train: RowBatches,
        validation: RowBatches,
        recipe: PretrainingRecipe,
        compute: Compute,
        run: RunDirectory,
        checkpoint_seconds: float,
    ) -> None:
        self.model = model.to(compute.torch_device)
        self._train, self._validation = train, validation
        self._recipe, self._compute, self._run = recipe, compute, run
        self._checkpoint_seconds = checkpoint_seconds
        self._optimizer = adamw(
            model,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            adam_beta1=recipe.adam_beta1,
            adam_beta2=recipe.adam_beta2,
            adam_epsilon=recipe.adam_epsilon,
        )
        self._loss: Callable[[MaskedLM, MaskedBatch], Tensor] = masked_lm_loss
        if compute.compile:
            self._loss = torch.compile(masked_lm_loss, dynamic=False)
        self.steps_done = 0
        self.train_seconds = 0.0
        self.resumed_from: list[int] = []
        self.best_validation_loss = math.inf
        self._stop_signal: int | None = None
        self._loss_sum = torch.zeros((), device=compute.torch_device)
        self._resume()

    def train(self) -> None:
        """Train to the end. Raises `TrainingStoppedError` on SIGTERM, after a checkpoint."""
        previous = signal.signal(signal.SIGTERM, self._ask_to_stop)
        bar = progress(
            total=self._recipe.max_steps,
            initial=self.steps_done,
            unit="step",
            description="pretrain",
        )
        try:
            with bar:
                self._train_steps(bar)
        finally:
            signal.signal(signal.SIGTERM, previous)

    def _train_steps(self, bar: Any) -> None:
        started, last_checkpoint = time.perf_counter(), time.perf_counter()
        self.model.train()
        while self.steps_done < self._recipe.max_steps:
            tokens = self._step()
            bar.update()
            now = time.perf_counter()
            self.train_seconds += now - started
            started = now
            if self.steps_done % LOG_STEPS == 0 or self.steps_done == self._recipe.max_steps:
                self._log_training(bar, tokens)
            if self._evaluation_is_due():
                self._evaluate(bar)
                started = time.perf_counter()
            if self._stop_signal or now - last_checkpoint >= self._checkpoint_seconds:
                self._save_checkpoint()
                started = last_checkpoint = time.perf_counter()
            if self._stop_signal:
                raise TrainingStoppedError(
                    f"stopped by signal {self._stop_signal} after step {self.steps_done} of "
                    f"{self._recipe.max_steps}, saved in {self._run.path}; run the same command "
                    "again to go on"
                )

    def _step(self) -> int:
        """Do one optimizer step; returns the number of tokens in its rows."""
        recipe, step = self._recipe, self.steps_done
        batch = self._train.training_batch(recipe.seed, step, recipe.train_batch_size)
        batch = batch.to(self._compute.torch_device)
        # Dropout, where a recipe has it, must not depend on how often the run was resumed.
        torch.manual_seed((recipe.seed << 32) + step)
        with self._compute.autocast():
            loss = self._loss(self.model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.max_grad_norm)
        set_learning_rate(self._optimizer, self._learning_rate(step))
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._loss_sum += loss.detach()
        self.steps_done += 1
        return batch.packed.input_ids.numel()

    def _learning_rate(self, step: int) -> float:
        recipe = self._recipe
        return recipe.learning_rate * learning_rate_factor(
            recipe.lr_scheduler_type, step, recipe.max_steps, recipe.warmup_steps
        )

    def _log_training(self, bar: Any, tokens_per_step: int) -> None:
        since = self.steps_done % LOG_STEPS or LOG_STEPS
        loss = self._loss_sum.item() / since
        self._loss_sum.zero_()
        if not math.isfinite(loss):
            checkpoints = self._run.checkpoints()
            raise ClozeError(
                f"the loss became {loss} between steps {self.steps_done - since} and "
                f"{self.steps_done}; lower learning_rate ({self._recipe.learning_rate}) or raise "
                f"warmup_steps. Last good checkpoint: {checkpoints[-1] if checkpoints else 'none'}"
            )
        speed = self.steps_done * tokens_per_step / self.train_seconds
        record = {
            "step": self.steps_done,
            "loss": loss,
            "learning_rate": self._learning_rate(self.steps_done - 1),
            "tokens_per_second": round(speed, 1),
            "train_seconds": round(self.train_seconds, 3),
        }
        self._run.append_log(record)
        bar.set_postfix_str(f"loss {loss:.3f}, {speed:,.0f} tokens/s")

    def _evaluation_is_due(self) -> bool:
        recipe = self._recipe
        return self.steps_done % recipe.eval_steps == 0 or self.steps_done == recipe.max_steps

    def _evaluate(self, bar: Any) -> None:
        scores = evaluate_mlm(self.model, self._validation, self._compute)
        self._run.append_log({"step": self.steps_done, **scores.as_dict()})
        log.info(
            "step %d: validation loss %.4f, accuracy %.2f %%, %.0f s of training",
            self.steps_done,
            scores.validation_loss,
            100 * scores.validation_accuracy,
            self.train_seconds,
        )
        if scores.validation_loss < self.best_validation_loss:
            self.best_validation_loss = scores.validation_loss
            self._run.save_best(self._weights())

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu() for name, value in self.model.state_dict().items()}

    def load_best(self) -> None:
        """Give the model the weights that had the lowest validation loss."""
        self.model.load_state_dict(load_file(self._run.best))

    def _save_checkpoint(self) -> None:
        tensors = {f"model.{name}": value for name, value in self._weights().items()}
        for index, parameter in enumerate(self._parameters()):
            for key, value in self._optimizer.state[parameter].items():
                tensors[f"optimizer.{index}.{key}"] = value.detach().cpu()
        tensors["loss_sum"] = self._loss_sum.cpu()
        self._run.save_checkpoint(
            self.steps_done,
            tensors,
            {
                "train_seconds": self.train_seconds,
                "best_validation_loss": self.best_validation_loss
                if math.isfinite(self.best_validation_loss)
                else None,
                "resumed_from": self.resumed_from,
            },
        )

    def _parameters(self) -> list[Tensor]:
        return [p for group in self._optimizer.param_groups for p in group["params"]]

    def _resume(self) -> None:
        checkpoint = self._run.load_checkpoint()
        self._run.rewind_log(checkpoint[1]["step"] if checkpoint else 0)
        if checkpoint is None:
            return
        tensors, state = checkpoint
        prefix = "model."
        self.model.load_state_dict(
            {key[len(prefix) :]: t for key, t in tensors.items() if key.startswith(prefix)}
        )
        for index, parameter in enumerate(self._parameters()):
            stem = f"optimizer.{index}."
            self._optimizer.state[parameter] = {
                key[len(stem) :]: tensor.to(parameter.device)
                for key, tensor in tensors.items()
                if key.startswith(stem)
            }
        self._loss_sum = tensors["loss_sum"].to(self._compute.torch_device)
        self.steps_done = state["step"]
        self.train_seconds = state["train_seconds"]
        if state["best_validation_loss"] is not None:
            self.best_validation_loss = state["best_validation_loss"]
        self.resumed_from = [*state["resumed_from"], self.steps_done]
        log.info("resuming after step %d of %d", self.steps_done, self._recipe.max_steps)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop_signal = number
