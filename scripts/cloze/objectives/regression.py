"""A score for each text or pair."""

import numpy as np
from torch import Tensor

from cloze.errors import ClozeError
from cloze.objectives.sequence import SequenceObjective
from cloze.objectives.texts import EncodedTexts
from cloze.tasks.kind import Outcome
from cloze.tasks.labels import labels_outcome
from cloze.tasks.task import Task, TaskSplit


class Regression(SequenceObjective):
    """Squared error of one number a text, the task's scores as they are."""

    @staticmethod
    def losses(logits: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of each text, float32 [T]."""
        return (logits.squeeze(-1) - targets).square()

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
