"""Objectives that give each text, or pair of texts, one vector of outputs.

A kind of task is a subclass in a module of its own, which says what it learns (`targets`,
`losses`) and what its predictions are worth (`metrics`); see `classification`.
"""

import contextlib
import dataclasses
import importlib
import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cloze.cli import progress
from cloze.model.device import Compute
from cloze.model.encoder import PackedBatch
from cloze.model.heads import SequenceClassifier
from cloze.objectives.objective import Objective, map_tensors, moved
from cloze.objectives.texts import EncodedTexts, pack_texts, packed_batches, slot_values
from cloze.settings.tasks import FINETUNING_OBJECTIVES
from cloze.tasks.task import Task, TaskSplit

# A batch has places for a multiple of this many texts a row: oneDNN keeps a plan of every product
# it meets, up to a megabyte each, for every shape.
_PLACES = 8
_ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class SequenceBatch:
    """Packed texts with a target and a weight at each text's place in its row.

    `targets`: [B, N], int64 classes or float32 scores; `weights`: float32 [B, N], 0 where a
    row has no n-th text.
    """

    packed: PackedBatch
    targets: Tensor
    weights: Tensor

    @property
    def num_rows(self) -> int:
        """Rows of this batch."""
        return self.targets.shape[0]

    def to(self, device: torch.device) -> "SequenceBatch":
        """Return the batch on `device`."""
        return map_tensors(self, lambda tensor: moved(tensor, device))

    def rows(self, start: int, stop: int) -> "SequenceBatch":
        """Return rows `start` to `stop`, which share the memory of this batch."""
        return map_tensors(self, lambda tensor: tensor[start:stop])

    def weighted(self, factor: float) -> "SequenceBatch":
        """Return the batch with its loss times `factor`."""
        return dataclasses.replace(self, weights=self.weights * factor)


@dataclass(frozen=True)
class LabelledTexts:
    """A task's training split, tokenised, and the numbers of its texts on either side.

    `train`, `held_out`: int64; what stands in neither is left out of both.
    """

    task: Task
    split: TaskSplit
    encoded: EncodedTexts
    train: np.ndarray
    held_out: np.ndarray


class SequenceObjective(Objective[SequenceBatch]):
    """Learn one target a text; each epoch is a permutation of the training texts of its own."""

    metric_for_best_model = "held_out_score"
    greater_is_better = True
    model: SequenceClassifier

    def __init__(
        self, model: SequenceClassifier, data: LabelledTexts, class_weights: str, seed: int
    ) -> None:
        self.model, self.data, self._seed = model, data, seed
        self._encoded = data.encoded
        targets = self.targets(data.split)
        self._weights = self.text_weights(targets, data.train, class_weights)
        self._targets = targets.astype(np.float32) if targets.dtype.kind == "f" else targets
        self.num_examples, self.num_eval_examples = len(data.train), len(data.held_out)
        self.tokens_per_example = float(data.encoded.lengths[data.train].mean())
        self.places_per_example = self.tokens_per_example

    @staticmethod
    def targets(split: TaskSplit) -> np.ndarray:
        """Return what is learnt of each text of a split: int64 or float64 [num_texts]."""
        return split.labels

    @staticmethod
    @abstractmethod
    def losses(logits: Tensor, targets: Tensor) -> Tensor:
        """Return each text's loss, float32 [T]; logits [T, num_labels] float32, targets [T]."""

    @staticmethod
    @abstractmethod
    def predictions(logits: np.ndarray) -> np.ndarray:
        """Return what a user is told of each text, [num_texts], from logits like that."""

    @staticmethod
    @abstractmethod
    def probabilities(logits: np.ndarray) -> np.ndarray:
        """Return the probability of each label, float32 [num_texts, num_labels]; 0 of a score."""

    @classmethod
    @abstractmethod
    def metrics(cls, task: Task, targets: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """Return what logits [num_texts, num_labels] are worth; the task's own as `score`."""

    @staticmethod
    def text_weights(targets: np.ndarray, texts: np.ndarray, class_weights: str) -> np.ndarray:
        """Return what each text counts in the loss, float32 [num_texts]; `texts` are trained on."""
        return np.ones(len(targets), dtype=np.float32)

    def batch(
        self, step: int, batch_size: int, progress: float, part: tuple[int, int] | None
    ) -> SequenceBatch:
        """Return texts of the global batch of a step; see `Objective.batch`."""
        texts = self._texts_of_batch(step, batch_size)
        own = texts if part is None else texts[part[0] : part[1]]
        # A process that has no text of a short batch takes part all the same, with a loss of 0.
        batch, order = pack_texts(self._encoded, own if len(own) else texts[:1])
        places = _PLACES * math.ceil(int(batch.sample_ids.max()) / _PLACES)
        weights = slot_values(batch, order, self._weights, places)
        total = weights.sum() if part is None else self._weights[texts].sum()
        weights = weights / total if len(own) else np.zeros_like(weights)
        targets = slot_values(batch, order, self._targets, places)
        return SequenceBatch(batch, torch.from_numpy(targets), torch.from_numpy(weights))

    @classmethod
    def loss(cls, model: nn.Module, batch: SequenceBatch) -> Tensor:
        """Return the sum of weight times loss over the texts of a batch, a float32 scalar."""
        logits = model.row_logits(batch.packed, batch.targets.shape[1])  # type: ignore[operator]
        losses = cls.losses(logits.flatten(0, 1).float(), batch.targets.flatten())
        return (losses * batch.weights.flatten()).sum()

    def evaluate(self, compute: Compute, num_examples: int) -> dict[str, float]:
        """Return the task's score on the texts that are held out, all of them."""
        logits = predict_logits(self.model, self._encoded, compute, self.data.held_out)
        self.model.train()
        held_out = self.targets(self.data.split)[self.data.held_out]
        return {"held_out_score": self.metrics(self.data.task, held_out, logits)["score"]}

    def describe_batch(self, step: int, batch_size: int) -> str:
        """Return the numbers of the first texts of a batch, rows of the training split."""
        texts = self._texts_of_batch(step, batch_size)
        return f"{len(texts)} rows of the training split, from 0: {', '.join(map(str, texts[:8]))}"

    def _texts_of_batch(self, step: int, batch_size: int) -> np.ndarray:
        epoch, number = divmod(step, self.steps_per_epoch(batch_size))
        order = np.random.default_rng([self._seed, epoch]).permutation(self.data.train)
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


def objective_of(task: Task) -> type[SequenceObjective]:
    """Return the objective of a task, by the kind that its `task.json` names."""
    module, _, name = FINETUNING_OBJECTIVES[task.objective].partition(":")
    kind: type[SequenceObjective] = getattr(importlib.import_module(module), name)
    return kind


@torch.inference_mode()
def predict_logits(
    model: SequenceClassifier,
    encoded: EncodedTexts,
    compute: Compute,
    texts: np.ndarray | None = None,
) -> np.ndarray:
    """Return the logits of the texts with these numbers, all by default, float32 [n, num_labels].

    The model is put into evaluation mode and left there.
    """
    model.eval()
    logits = np.empty((len(encoded.lengths), model.num_labels), dtype=np.float32)
    total = len(encoded.lengths) if texts is None else len(texts)
    with progress(total=total, unit=" texts", description="predict") as bar:
        for batch, numbers in packed_batches(encoded, _ROWS_AT_ONCE, texts):
            with compute.autocast():
                found = model(batch.to(compute.torch_device))
            logits[numbers] = found.float().cpu().numpy()
            bar.update(len(numbers))
    return logits if texts is None else logits[texts]
