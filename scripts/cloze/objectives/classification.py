"""Classes of texts or pairs, one of several for each."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cloze.objectives.sequence import SequenceObjective
from cloze.objectives.texts import EncodedTexts
from cloze.tasks.kind import Outcome
from cloze.tasks.labels import labels_outcome
from cloze.tasks.task import Task, TaskSplit


class Classification(SequenceObjective):
    """Softmax over the task's labels; targets are their numbers, int64."""

    @staticmethod
    def losses(logits: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each text in nats, float32 [T]."""
        return F.cross_entropy(logits, targets, reduction="none")

    @classmethod
    def outcome(
        cls, task: Task, split: TaskSplit, encoded: EncodedTexts, outputs: np.ndarray
    ) -> Outcome:
        """Return the measures of `task_metrics` and the cross-entropy in nats a text."""
        probabilities = torch.from_numpy(outputs).softmax(dim=-1).numpy()
        targets = cls.targets(split)
        outcome = labels_outcome(task, targets, outputs.argmax(axis=1), probabilities)
        chosen = probabilities[np.arange(len(targets)), targets]
        smallest = np.finfo(np.float32).tiny
        outcome.metrics["cross_entropy"] = float(-np.log(np.maximum(chosen, smallest)).mean())
        return outcome

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
