"""Classes of texts or pairs, one of several for each."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cloze.objectives.sequence import SequenceObjective
from cloze.tasks.scores import task_metrics
from cloze.tasks.task import Task


class Classification(SequenceObjective):
    """Softmax over the task's labels; targets are their numbers, int64."""

    @staticmethod
    def losses(logits: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each text in nats, float32 [T]."""
        return F.cross_entropy(logits, targets, reduction="none")

    @staticmethod
    def predictions(logits: np.ndarray) -> np.ndarray:
        """Return the likeliest class of each text, int64 [num_texts]."""
        return logits.argmax(axis=1)

    @staticmethod
    def probabilities(logits: np.ndarray) -> np.ndarray:
        """Return the probabilities of the labels, float32 [num_texts, num_labels]."""
        return torch.from_numpy(logits).softmax(dim=-1).numpy()

    @classmethod
    def metrics(cls, task: Task, targets: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """Return the measures of `task_metrics` and the cross-entropy in nats a text."""
        chosen = cls.probabilities(logits)[np.arange(len(targets)), targets]
        smallest = np.finfo(np.float32).tiny
        return {
            **task_metrics(targets, cls.predictions(logits), task.labels, task.metric),
            "cross_entropy": float(-np.log(np.maximum(chosen, smallest)).mean()),
        }

    @staticmethod
    def text_weights(targets: np.ndarray, texts: np.ndarray, class_weights: str) -> np.ndarray:
        """Return what each text counts in the loss, float32 [num_texts].

        `balanced`: the number of `texts` over classes times that of the text's class, as in
        scikit-learn; `none`: 1.
        """
        if class_weights == "none":
            return np.ones(len(targets), dtype=np.float32)
        counts = np.bincount(targets[texts], minlength=int(targets.max()) + 1)
        weights = len(texts) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        return weights[targets].astype(np.float32)
