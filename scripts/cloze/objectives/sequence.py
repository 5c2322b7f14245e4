"""Objectives that give each text, or pair of texts, one vector of outputs.

A kind of task is a subclass in a module of its own, which says what it learns (`targets`,
`losses`) and what its predictions are worth (`outcome`); see `classification`.
"""

from abc import abstractmethod
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig
from cloze.model.heads import SequenceClassifier, default_pooling
from cloze.model.hf import load_classifier
from cloze.objectives.task import (
    TargetBatch,
    TaskObjective,
    TrainingRows,
    predict_batches,
)
from cloze.objectives.texts import EncodedTexts, pack_texts, rounded_places, slot_values
from cloze.tasks.task import Task, TaskSplit


class SequenceObjective(TaskObjective[TargetBatch]):
    """Learn one target a text: an int64 class, a float32 score, or float32 [num_labels]."""

    model: SequenceClassifier

    def __init__(self, model: SequenceClassifier, data: TrainingRows, settings: Namespace) -> None:
        super().__init__(model, data, settings)
        targets = self.targets(data.split)
        self._weights = self.text_weights(targets, data.train, settings.class_weights)
        self._targets = targets.astype(np.float32) if targets.dtype.kind in "fb" else targets

    @classmethod
    def build(cls, config: EncoderConfig, task: Task, settings: Namespace) -> SequenceClassifier:
        """Return a classifier with an output a label."""
        pooling = settings.classifier_pooling or default_pooling(config)
        return SequenceClassifier(config, len(task.labels), settings.classifier_dropout, pooling)

    @classmethod
    def load(cls, folder: Path) -> tuple[SequenceClassifier, list[str]]:
        """Return a fine-tuned model and the names of its labels."""
        return load_classifier(folder)

    @staticmethod
    def targets(split: TaskSplit) -> np.ndarray:
        """Return what is learnt of each text of a split: int64 or float64 [num_texts]."""
        return split.labels

    @staticmethod
    @abstractmethod
    def losses(logits: Tensor, targets: Tensor) -> Tensor:
        """Return each text's loss, float32 [T]; logits [T, num_labels] float32, targets [T]."""

    @staticmethod
    def text_weights(targets: np.ndarray, texts: np.ndarray, class_weights: str) -> np.ndarray:
        """Return what each text counts in the loss, float32 [num_texts]; `texts` are trained on."""
        return np.ones(len(targets), dtype=np.float32)

    def batch(
        self, step: int, batch_size: int, progress: float, part: tuple[int, int] | None
    ) -> TargetBatch:
        """Return texts of the global batch of a step; see `Objective.batch`."""
        texts = self._texts_of_batch(step, batch_size)
        own = texts if part is None else texts[part[0] : part[1]]
        # A process that has no text of a short batch takes part all the same, with a loss of 0.
        batch, order = pack_texts(self._encoded, own if len(own) else texts[:1])
        places = rounded_places(int(batch.sample_ids.max()))
        weights = slot_values(batch, order, self._weights, places)
        total = weights.sum() if part is None else self._weights[texts].sum()
        weights = weights / total if len(own) else np.zeros_like(weights)
        targets = slot_values(batch, order, self._targets, places)
        return TargetBatch(batch, torch.from_numpy(targets), torch.from_numpy(weights))

    @classmethod
    def loss(cls, model: nn.Module, batch: TargetBatch) -> Tensor:
        """Return the sum of weight times loss over the texts of a batch, a float32 scalar."""
        logits = model.row_logits(batch.packed, batch.targets.shape[1])  # type: ignore[operator]
        losses = cls.losses(logits.flatten(0, 1).float(), batch.targets.flatten(0, 1))
        return (losses * batch.weights.flatten()).sum()

    @classmethod
    def predict(
        cls, model: nn.Module, encoded: EncodedTexts, compute: Compute, texts: np.ndarray | None
    ) -> Any:
        """Return the logits of the texts, float32 [num_texts, num_labels]."""
        size: Any = (len(encoded.lengths), model.num_labels)
        logits = np.empty(size, dtype=np.float32)
        for numbers, _, found in predict_batches(model, encoded, compute, texts, model):
            logits[numbers] = found
        return logits if texts is None else logits[texts]
