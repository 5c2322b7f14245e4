"""Fine-tuning: an encoder and a new classification head, trained on a task's sentences."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from cloze.cli import progress
from cloze.encoder.config import EncoderConfig
from cloze.encoder.device import Compute
from cloze.encoder.heads import SequenceClassifier
from cloze.encoder.model_io import load_encoder_into
from cloze.errors import ClozeError
from cloze.pretraining.optimization import adamw, learning_rate_factor, set_learning_rate
from cloze.tasks.sentence_batches import EncodedTexts, pack_texts

MIN_MAX_LENGTH = 4


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained; names as in Hugging Face's `TrainingArguments`.

    `warmup_ratio` is the share of the steps in which the learning rate rises from 0;
    it then falls to 0 in a straight line.
    """

    learning_rate: float
    num_train_epochs: int
    train_batch_size: int
    warmup_ratio: float
    weight_decay: float
    max_grad_norm: float
    seed: int

    def num_steps(self, num_texts: int) -> int:
        """Optimizer steps of the whole training; an epoch's last batch may be smaller."""
        return self.num_train_epochs * math.ceil(num_texts / self.train_batch_size)


@dataclass(frozen=True)
class TrainingResult:
    """`tokens` counts every pass; `mean_loss` (nats) is over the last epoch's texts."""

    steps: int
    tokens: int
    seconds: float
    mean_loss: float


def check_max_length(max_length: int, max_position_embeddings: int) -> None:
    """Raise `ClozeError` if the encoder cannot read texts of `max_length` tokens."""
    if max_length < MIN_MAX_LENGTH:
        raise ClozeError(
            f"--max-length {max_length}: leaves no room for a text beside [CLS] and [SEP]; "
            f"use {MIN_MAX_LENGTH} or more"
        )
    if max_length > max_position_embeddings:
        raise ClozeError(
            f"--max-length {max_length}: the encoder has {max_position_embeddings} positions; "
            "use that many or fewer"
        )


def build_classifier(
    config: EncoderConfig,
    num_labels: int,
    *,
    classifier_dropout: float,
    seed: int,
    pretrained: Path | None,
) -> SequenceClassifier:
    """Return a classifier drawn from `seed`; its encoder is that of `pretrained` if given."""
    torch.manual_seed(seed)
    pooling = "mean" if config.layout == "modernbert" else "cls"
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
) -> TrainingResult:
    """Train `model` in place on every text, in an order drawn from the seed.

    labels: int64 [num_texts]. On a CPU, two runs with the same seed, number of threads
    and library versions give the same weights. Raises `ClozeError` if the loss stops
    being a number.
    """
    torch.manual_seed(recipe.seed)
    model.to(compute.torch_device).train()
    optimizer = adamw(model, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay)
    num_steps = recipe.num_steps(len(labels))
    warmup_steps = math.ceil(recipe.warmup_ratio * num_steps)
    losses, sizes = np.zeros(num_steps), np.zeros(num_steps)
    started = time.perf_counter()
    with progress(total=num_steps, unit=" steps", description="fine-tune") as bar:
        for step, texts in enumerate(_batches(len(labels), recipe)):
            factor = learning_rate_factor("linear", step, num_steps, warmup_steps)
            set_learning_rate(optimizer, factor * recipe.learning_rate)
            batch, order = pack_texts(encoded, texts)
            with compute.autocast():
                logits = model(batch.to(compute.torch_device))
            target = torch.from_numpy(labels[order]).to(compute.torch_device)
            loss = F.cross_entropy(logits.float(), target)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            losses[step], sizes[step] = loss.item(), len(texts)
            if not torch.isfinite(norm):
                raise ClozeError(
                    f"the training diverged: loss {losses[step]:.4g}, gradient norm {norm:.4g} at "
                    f"step {step + 1} of {num_steps}; lower --learning-rate or use --precision fp32"
                )
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            bar.update()
            bar.set_postfix_str(f"loss {losses[step]:.3f}", refresh=False)
    last_epoch = slice(num_steps - num_steps // recipe.num_train_epochs, num_steps)
    return TrainingResult(
        steps=num_steps,
        seconds=time.perf_counter() - started,
        tokens=recipe.num_train_epochs * len(encoded.input_ids),
        mean_loss=float(np.average(losses[last_epoch], weights=sizes[last_epoch])),
    )


def _batches(num_texts: int, recipe: Recipe) -> Iterator[np.ndarray]:
    """Text numbers of each batch: every epoch is a permutation of its own."""
    for epoch in range(recipe.num_train_epochs):
        order = np.random.default_rng([recipe.seed, epoch]).permutation(num_texts)
        for start in range(0, num_texts, recipe.train_batch_size):
            yield order[start : start + recipe.train_batch_size]
