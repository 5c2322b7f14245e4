"""What the objectives of all kinds of tasks share: their rows as epochs of packed batches.

A kind is a subclass in a module of its own, named in `settings.tasks.FINETUNING_OBJECTIVES`: it
says how rows become tokens (`encode`), which head reads them (`build`, `load`), what they cost
(`batch`, `loss`), and what is predicted (`predict`) and worth (`outcome`).
"""

import contextlib
import dataclasses
import importlib
from abc import abstractmethod
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from cloze.cli import progress
from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig, PackedBatch
from cloze.model.hf import LoadedParts, load_matching
from cloze.objectives.objective import B, Objective, map_tensors, moved
from cloze.objectives.texts import EncodedTexts, encode_texts, packed_batches
from cloze.settings.tasks import FINETUNING_OBJECTIVES
from cloze.tasks.kind import Outcome
from cloze.tasks.task import Task, TaskSplit

_ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class TrainingRows:
    """A task's training split, encoded, and the numbers of its rows on either side.

    `train`, `held_out`: int64; what stands in neither is left out of both.
    """

    task: Task
    split: TaskSplit
    encoded: EncodedTexts
    train: np.ndarray
    held_out: np.ndarray

    @property
    def train_texts(self) -> np.ndarray:
        """Numbers of the encoded texts that are trained on, int64; a long row may have several."""
        return self.encoded.texts_of(self.train)


@dataclass(frozen=True)
class TargetBatch:
    """Packed texts, what is to be learnt at some places of each row, and what that counts.

    `targets`: [B, P, …] of the type that the loss takes, the places P being those of a row's
    texts or of some of its tokens; `weights`: float32 [B, P], 0 where nothing is learnt.
    `positions`: int64 [B, P], which tokens these are.
    """

    packed: PackedBatch
    targets: Tensor
    weights: Tensor
    positions: Tensor | None = None

    @property
    def num_rows(self) -> int:
        """Rows of this batch."""
        return self.targets.shape[0]

    def to(self, device: torch.device) -> Self:
        """Return the batch on `device`."""
        return map_tensors(self, lambda tensor: moved(tensor, device))

    def rows(self, start: int, stop: int) -> Self:
        """Return rows `start` to `stop`, which share the memory of this batch."""
        return map_tensors(self, lambda tensor: tensor[start:stop])

    def weighted(self, factor: float) -> Self:
        """Return the batch with its loss times `factor`."""
        return dataclasses.replace(self, weights=self.weights * factor)


class TaskObjective(Objective[B]):
    """Learn the rows of a task; each epoch is a permutation of the training texts of its own."""

    metric_for_best_model = "held_out_score"
    greater_is_better = True
    has_head: ClassVar[bool] = True
    """Whether there are weights besides the encoder's, which only training makes useful."""
    recipe: ClassVar[tuple[str, ...]] = ("classifier_dropout", "class_weights")
    """Settings of this kind alone that `metrics.json` tells of."""
    model: Any

    def __init__(self, model: nn.Module, data: TrainingRows, settings: Namespace) -> None:
        """Take the model to train and its data; `settings`: those of `FinetuningSettings`."""
        self.model, self.data, self._seed = model, data, settings.seed
        self._encoded, self._texts = data.encoded, data.train_texts
        self.num_examples, self.num_eval_examples = len(self._texts), len(data.held_out)
        self.tokens_per_example = float(data.encoded.lengths[self._texts].mean())
        self.places_per_example = self.tokens_per_example

    @classmethod
    def encode(
        cls, tokenizer: Tokenizer, split: TaskSplit, settings: Namespace, vocab_size: int
    ) -> EncodedTexts:
        """Return the rows of a split as tokens; `settings`: those of `TextSettings`."""
        return encode_texts(
            tokenizer,
            split.texts,
            settings.max_length,
            vocab_size,
            pairs=split.pairs,
            truncation=settings.truncation,
        )

    @classmethod
    def text_recipe(cls, settings: Namespace) -> dict[str, Any]:
        """Return by what `encode` reads rows, for the record of a run."""
        return {"max_length": settings.max_length, "truncation": settings.truncation}

    @classmethod
    @abstractmethod
    def build(cls, config: EncoderConfig, task: Task, settings: Namespace) -> nn.Module:
        """Return an encoder with the head of the task, drawn from PyTorch's generator."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> tuple[nn.Module, list[str]]:
        """Return a fine-tuned model and the names of its labels, none where a task has none."""

    @classmethod
    def load_matching(cls, model: Any, folder: Path, task: Task, reset_heads: bool) -> LoadedParts:
        """Fill the encoder from a model folder, and the head where it matches."""
        return load_matching(model, folder, labels=task.labels, reset_heads=reset_heads)

    @classmethod
    @abstractmethod
    def predict(
        cls, model: nn.Module, encoded: EncodedTexts, compute: Compute, texts: np.ndarray | None
    ) -> Any:
        """Return the model's outputs for the texts with these numbers, None for all."""

    @classmethod
    @abstractmethod
    def outcome(cls, task: Task, split: TaskSplit, encoded: EncodedTexts, outputs: Any) -> Outcome:
        """Return what outputs for all texts of a split are worth, and what is kept of each row."""

    def pooling(self) -> dict[str, str]:
        """Return what the head reads of a text, where it reads one vector."""
        pooling = getattr(self.model, "pooling", None)
        return {} if pooling is None else {"classifier_pooling": pooling}

    def fit(self, compute: Compute) -> dict[str, Any]:
        """Return what the model is worth on the training split; empty where that has no measure."""
        outputs = self.predict(self.model, self.data.encoded, compute, None)
        data = self.data
        return self.outcome(data.task, data.split, data.encoded, outputs).metrics

    def evaluate(self, compute: Compute, num_examples: int) -> dict[str, float]:
        """Return the task's score on the rows that are held out, all of them."""
        rows, encoded = self.data.held_out, self._encoded
        texts = encoded.texts_of(rows)
        outputs = self.predict(self.model, encoded, compute, texts)
        self.model.train()
        split = self.data.split.take(rows)
        outcome = self.outcome(self.data.task, split, encoded.take(texts), outputs)
        return {"held_out_score": outcome.metrics["score"]}

    def calibrate(self, compute: Compute) -> None:
        """Choose on the held-out rows what a trained model has besides its weights, if anything."""

    def describe_batch(self, step: int, batch_size: int) -> str:
        """Return the numbers of the first rows of a batch."""
        texts = self._texts_of_batch(step, batch_size)
        rows = self._encoded.row_of(texts)
        return f"{len(texts)} rows of the training split, from 0: {', '.join(map(str, rows[:8]))}"

    def _texts_of_batch(self, step: int, batch_size: int) -> np.ndarray:
        epoch, number = divmod(step, self.steps_per_epoch(batch_size))
        order = np.random.default_rng([self._seed, epoch]).permutation(self._texts)
        return order[number * batch_size : (number + 1) * batch_size]

    @contextlib.contextmanager
    def only_occurring_tokens(self) -> Iterator[None]:
        """Let the model hold only the embeddings of tokens that occur in the task.

        Of a vocabulary of 30,000 a small task shows a third; the rest would get gradients of
        0 and still cost AdamW more than a small encoder's layers. Afterwards the embeddings
        are whole again: those that the task never showed are as they were before.
        """
        whole, encoded = self.model.encoder.token_embedding, self._encoded
        occurring, renumbered = np.unique(encoded.input_ids, return_inverse=True)
        rows = torch.from_numpy(occurring).long().to(whole.weight.device)
        held = nn.Embedding(len(occurring), whole.embedding_dim, device=whole.weight.device)
        with torch.no_grad():
            held.weight.copy_(whole.weight[rows])
        self.model.encoder.token_embedding = held
        # What stands after a row's last text is read by nothing and learns nothing: any token does.
        special = dataclasses.replace(encoded.special, pad=0)
        self._encoded = dataclasses.replace(
            encoded, input_ids=renumbered.astype(np.int32), special=special
        )
        try:
            yield
        finally:
            with torch.no_grad():
                whole.weight[rows] = held.weight
            self.model.encoder.token_embedding, self._encoded = whole, encoded


def objective_of(task: Task) -> type[TaskObjective[Any]]:
    """Return the objective of a task, by the kind that its `task.json` names."""
    module, _, name = FINETUNING_OBJECTIVES[task.objective].partition(":")
    kind: type[TaskObjective[Any]] = getattr(importlib.import_module(module), name)
    return kind


@torch.inference_mode()
def predict_batches(
    model: nn.Module,
    encoded: EncodedTexts,
    compute: Compute,
    texts: np.ndarray | None,
    run: Callable[[PackedBatch], Tensor],
) -> Iterator[tuple[np.ndarray, PackedBatch, np.ndarray]]:
    """Yield numbers of texts, their batch on the CPU, and what `run` gives for it, float32.

    texts: int64 numbers of those that count, None for all. The model is put into evaluation
    mode and left there.
    """
    model.eval()
    total = len(encoded.lengths) if texts is None else len(texts)
    with progress(total=total, unit=" texts", description="predict") as bar:
        for batch, numbers in packed_batches(encoded, _ROWS_AT_ONCE, texts):
            with compute.autocast():
                found = run(batch.to(compute.torch_device))
            yield numbers, batch, found.float().cpu().numpy()
            bar.update(len(numbers))
