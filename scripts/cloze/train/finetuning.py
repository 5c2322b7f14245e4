"""Fine-tuning: an encoder and a new head, trained on a task's texts."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from cloze.cli import log, progress
from cloze.errors import ClozeError
from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig, PackedBatch
from cloze.model.heads import SequenceClassifier
from cloze.model.hf import load_encoder_into
from cloze.objectives.prediction import predict_logits
from cloze.objectives.texts import EncodedTexts, pack_texts, slot_values
from cloze.train.classifier_optimizer import classifier_adamw, only_tokens_of
from cloze.train.finetuning_recipe import Recipe
from cloze.train.optimization import learning_rate_factor

# Reading a loss makes the host wait for a GPU.
_STEPS_PER_CHECK = 32
# A batch has places for a multiple of this many texts a row: oneDNN keeps a plan of every product
# it meets, up to a megabyte each, for every shape.
_PLACES = 8


@dataclass(frozen=True)
class HeldOut:
    """Text numbers, int64, kept out of training, and what their logits [n, C] are worth."""

    texts: np.ndarray
    score: Callable[[np.ndarray], float]


@dataclass(frozen=True)
class TrainingResult:
    """`tokens` counts every pass; `mean_loss`, as `slot_loss`, is over the last epoch's texts.

    `held_out_scores`: one an epoch; `best_epoch`, from 1, is the one whose weights are kept.
    """

    steps: int
    tokens: int
    seconds: float
    mean_loss: float
    held_out_scores: list[float]
    best_epoch: int


def build_classifier(
    config: EncoderConfig,
    num_labels: int,
    *,
    classifier_dropout: float,
    seed: int,
    pretrained: Path | None,
    pooling: str = "cls",
) -> SequenceClassifier:
    """Return a classifier drawn from `seed`; its encoder is that of `pretrained` if given."""
    torch.manual_seed(seed)
    model = SequenceClassifier(config, num_labels, classifier_dropout, pooling)
    if pretrained is not None:
        load_encoder_into(model, pretrained)
    return model


def train_classifier(
    model: SequenceClassifier,
    encoded: EncodedTexts,
    labels: np.ndarray,
    recipe: Recipe,
    compute: Compute,
    held_out: HeldOut | None = None,
) -> TrainingResult:
    """Train `model` in place on every text that is not held out, in an order drawn from the seed.

    labels: [num_texts], int64 classes or float64 scores. On a CPU, two runs with the same
    seed, number of threads and library versions give the same weights. Raises `ClozeError`
    if the loss stops being a number.
    """
    torch.manual_seed(recipe.seed)
    texts = np.arange(len(labels))
    if held_out is not None:
        texts = np.setdiff1d(texts, held_out.texts, assume_unique=True)
    model.to(compute.torch_device).train()
    started = time.perf_counter()
    with only_tokens_of(model, encoded) as shown:
        trainer = ClassifierTrainer(model, shown, labels, texts, recipe, compute)
        scores = trainer.train(held_out)
    best = int(np.argmax(scores)) if scores else trainer.epochs - 1
    return TrainingResult(
        steps=trainer.step,
        seconds=time.perf_counter() - started,
        tokens=trainer.epochs * int(encoded.lengths[texts].sum()),
        mean_loss=trainer.mean_loss_of_last_epoch(),
        held_out_scores=scores,
        best_epoch=best + 1,
    )


def slot_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of weight times loss over the places of samples in rows, float32 scalar.

    logits: [B, N, num_labels]; targets, weights: [B, N], weights 0 where a row has no
    sample. One label: squared error against float targets; more: cross-entropy in nats
    against class numbers, int64.
    """
    if logits.shape[-1] == 1:
        losses = (logits.squeeze(-1).float() - targets).square().flatten()
    else:
        flat = logits.flatten(0, 1).float()
        losses = F.cross_entropy(flat, targets.flatten(), reduction="none")
    return (losses * weights.flatten()).sum()


class ClassifierTrainer:
    """The loop over epochs and steps."""

    def __init__(
        self,
        model: SequenceClassifier,
        encoded: EncodedTexts,
        labels: np.ndarray,
        texts: np.ndarray,
        recipe: Recipe,
        compute: Compute,
    ) -> None:
        self._model, self._encoded, self._recipe, self.compute = model, encoded, recipe, compute
        is_regression = model.num_labels == 1
        self._targets = labels.astype(np.float32 if is_regression else np.int64)
        self._texts = texts
        self._weights = text_weights(labels, texts, recipe.class_weights, is_regression)
        self._optimizer = classifier_adamw(model, recipe)
        self._parameters = list(model.parameters())
        self._scaler = compute.grad_scaler()
        self._num_steps = recipe.num_steps(len(texts))
        self._warmup_steps = math.ceil(recipe.warmup_ratio * self._num_steps)
        self._losses = torch.zeros(self._num_steps, device=compute.torch_device)
        self._norms = torch.zeros_like(self._losses)
        self._sizes = np.zeros(self._num_steps)
        self.step = self.epochs = 0

    def train(self, held_out: HeldOut | None) -> list[float]:
        """Train to the end; returns the held-out score of each epoch, if any is held out."""
        scores: list[float] = []
        best: dict[str, Tensor] = {}
        with progress(total=self._num_steps, unit=" steps", description="fine-tune") as bar:
            for epoch in range(self._recipe.num_train_epochs):
                for texts in self._batches(epoch):
                    self.train_step(texts)
                    bar.update()
                    if self.step % _STEPS_PER_CHECK == 0:
                        self._check_losses()
                        bar.set_postfix_str(f"loss {self._losses[self.step - 1]:.3f}", False)
                self._check_losses()
                self.epochs += 1
                if held_out is None:
                    continue
                logits = predict_logits(self._model, self._encoded, self.compute, held_out.texts)
                self._model.train()
                scores.append(held_out.score(logits))
                log.info("epoch %d: held-out score %.4f", epoch + 1, scores[-1])
                if scores[-1] > max(scores[:-1], default=-math.inf):
                    best = {name: v.clone() for name, v in self._model.state_dict().items()}
                if len(scores) - 1 - int(np.argmax(scores)) >= self._recipe.early_stopping_patience:
                    break
        if best:
            self._model.load_state_dict(best)
        return scores

    def mean_loss_of_last_epoch(self) -> float:
        """Mean over the texts of the last epoch, as they were met."""
        steps = slice(self.step - self.step // self.epochs, self.step)
        losses = self._losses[steps].cpu().double().numpy()
        return float(np.average(losses, weights=self._sizes[steps]))

    def _batches(self, epoch: int) -> Iterator[np.ndarray]:
        """Text numbers of each batch: every epoch is a permutation of its own."""
        order = np.random.default_rng([self._recipe.seed, epoch]).permutation(self._texts)
        for start in range(0, len(order), self._recipe.train_batch_size):
            yield order[start : start + self._recipe.train_batch_size]

    def train_step(self, texts: np.ndarray) -> None:
        """Update the weights by the texts with these numbers."""
        batch, targets, weights = self._batch(texts)
        with self.compute.autocast():
            logits = self._model.row_logits(batch, targets.shape[1])
        loss = slot_loss(logits, targets, weights)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._recipe.max_grad_norm)
        factor = learning_rate_factor("linear", self.step, self._num_steps, self._warmup_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = factor * group["initial_lr"]
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        self._losses[self.step], self._norms[self.step] = loss.detach(), norm
        self._sizes[self.step] = len(texts)
        self.step += 1

    def _batch(self, texts: np.ndarray) -> tuple[PackedBatch, Tensor, Tensor]:
        batch, order = pack_texts(self._encoded, texts)
        places = _PLACES * math.ceil(int(batch.sample_ids.max()) / _PLACES)
        weights = slot_values(batch, order, self._weights, places)
        device = self.compute.torch_device
        return (
            batch.to(device),
            torch.from_numpy(slot_values(batch, order, self._targets, places)).to(device),
            torch.from_numpy(weights / weights.sum()).to(device),
        )

    def _check_losses(self) -> None:
        finite = torch.isfinite(self._losses[: self.step])
        if not self._scaler.is_enabled():
            finite &= torch.isfinite(self._norms[: self.step])
        if len(broken := torch.nonzero(~finite)):
            step = int(broken[0])
            raise ClozeError(
                f"the training diverged: loss {self._losses[step].item():.4g}, gradient norm "
                f"{self._norms[step].item():.4g} at step {step + 1} of {self._num_steps}; "
                "lower --learning-rate or use --precision fp32"
            )


def text_weights(
    labels: np.ndarray, texts: np.ndarray, class_weights: str, is_regression: bool
) -> np.ndarray:
    """Return what each text counts in the loss, float32 [num_texts].

    `balanced`: the number of `texts` over classes times that of the text's class, as in
    scikit-learn. Raises `ClozeError` for that in a regression.
    """
    if class_weights == "none":
        return np.ones(len(labels), dtype=np.float32)
    if is_regression:
        raise ClozeError("--class-weights balanced: a task of scores has no classes; leave it out")
    counts = np.bincount(labels[texts], minlength=int(labels.max()) + 1)
    weights = len(texts) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return weights[labels].astype(np.float32)
