"""A score for each text or pair."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cloze.errors import ClozeError
from cloze.model.device import Compute
from cloze.model.heads import SequenceClassifier
from cloze.model.hf import LoadedParts
from cloze.objectives.sequence import SequenceObjective
from cloze.objectives.task import TrainingRows
from cloze.objectives.texts import EncodedTexts
from cloze.tasks.kind import Outcome
from cloze.tasks.labels import labels_outcome
from cloze.tasks.task import Task, TaskSplit


class Regression(SequenceObjective):
    """Squared error of one number a text.

    Learnt are scores of mean 0 and deviation 1, so that any unit is learnt alike; `calibrate` puts
    the unit back into the last layer.
    """

    def __init__(self, model: SequenceClassifier, data: TrainingRows, settings: Namespace) -> None:
        super().__init__(model, data, settings)
        scores = data.split.labels[data.train]
        self._mean, self._deviation = float(scores.mean()), float(scores.std()) or 1.0
        if model.has_unit:
            self._take_unit_out()
        standard = (data.split.labels - self._mean) / self._deviation
        self._targets = standard.astype(np.float32)

    @classmethod
    def load_matching(
        cls, model: SequenceClassifier, folder: Path, task: Task, reset_heads: bool
    ) -> LoadedParts:
        """Fill the encoder from a model folder, and the head where it matches."""
        parts = super().load_matching(model, folder, task, reset_heads)
        model.has_unit = parts.has_classifier
        return parts

    @torch.no_grad()
    def _take_unit_out(self) -> None:
        layer = self.model.classifier
        layer.weight /= self._deviation
        layer.bias.sub_(self._mean).div_(self._deviation)

    @staticmethod
    def losses(logits: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of each text, float32 [T]."""
        return (logits.squeeze(-1) - targets).square()

    @torch.no_grad()
    def calibrate(self, compute: Compute) -> None:
        """Let the last layer give scores in their own unit."""
        layer = self.model.classifier
        layer.weight *= self._deviation
        layer.bias.mul_(self._deviation).add_(self._mean)
        self.model.has_unit = True

    @classmethod
    def outcome(
        cls, task: Task, split: TaskSplit, encoded: EncodedTexts, outputs: np.ndarray
    ) -> Outcome:
        """Return the correlations and errors of `task_metrics`."""
        no_probabilities = np.empty((len(outputs), 0), dtype=np.float32)
        scores = outputs[:, 0].astype(np.float64)
        return labels_outcome(task, cls.targets(split), scores, no_probabilities)

    @staticmethod
    def text_weights(targets: np.ndarray, texts: np.ndarray, class_weights: str) -> np.ndarray:
        """Return 1 for each text; raises `ClozeError` for `balanced`: scores have no classes."""
        if class_weights != "none":
            raise ClozeError(
                "--class-weights balanced: a task of scores has no classes; leave it out"
            )
        return SequenceObjective.text_weights(targets, texts, class_weights)
