"""A score for each text or pair."""

from typing import Any

import numpy as np
from torch import Tensor

from cloze.errors import ClozeError
from cloze.objectives.sequence import SequenceObjective
from cloze.tasks.scores import task_metrics
from cloze.tasks.task import Task


class Regression(SequenceObjective):
    """Squared error of one number a text, the task's scores as they are."""

    @staticmethod
    def losses(logits: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of each text, float32 [T]."""
        return (logits.squeeze(-1) - targets).square()

    @staticmethod
    def predictions(logits: np.ndarray) -> np.ndarray:
        """Return the score of each text, float64 [num_texts]."""
        return logits[:, 0].astype(np.float64)

    @staticmethod
    def probabilities(logits: np.ndarray) -> np.ndarray:
        """Return an array [num_texts, 0]: a score has no probabilities."""
        return np.empty((len(logits), 0), dtype=np.float32)

    @classmethod
    def metrics(cls, task: Task, targets: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """Return the correlations and errors of `task_metrics`."""
        return task_metrics(targets, cls.predictions(logits), task.labels, task.metric)

    @staticmethod
    def text_weights(targets: np.ndarray, texts: np.ndarray, class_weights: str) -> np.ndarray:
        """Return 1 for each text; raises `ClozeError` for `balanced`: scores have no classes."""
        if class_weights != "none":
            raise ClozeError(
                "--class-weights balanced: a task of scores has no classes; leave it out"
            )
        return SequenceObjective.text_weights(targets, texts, class_weights)
