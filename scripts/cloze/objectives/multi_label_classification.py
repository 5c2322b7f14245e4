"""Several labels of a text or pair at once, each by itself."""

from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from cloze.errors import ClozeError
from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig
from cloze.model.heads import SequenceClassifier
from cloze.objectives.sequence import SequenceObjective
from cloze.objectives.texts import EncodedTexts
from cloze.tasks.kind import Outcome
from cloze.tasks.label_sets import label_sets_outcome
from cloze.tasks.task import Task, TaskSplit

_THRESHOLDS = np.arange(5, 96) / 100


class LabelLogits(NamedTuple):
    """Logits [num_texts, num_labels], and the probability from which a label is given."""

    values: np.ndarray
    threshold: float


class MultiLabelClassification(SequenceObjective):
    """A sigmoid for each label; targets are bool [num_texts, num_labels]."""

    @classmethod
    def build(cls, config: EncoderConfig, task: Task, settings: Namespace) -> SequenceClassifier:
        """Return a classifier whose labels do not exclude each other."""
        model = super().build(config, task, settings)
        model.label_threshold = 0.5
        return model

    @classmethod
    def load(cls, folder: Path) -> tuple[SequenceClassifier, list[str]]:
        """Return a fine-tuned model and its labels; `ClozeError` if these exclude each other."""
        model, names = super().load(folder)
        if model.label_threshold is None:
            raise ClozeError(
                f"{folder / 'config.json'}: problem_type is not multi_label_classification; "
                "fine-tune the model on this task"
            )
        return model, names

    @staticmethod
    def losses(logits: Tensor, targets: Tensor) -> Tensor:
        """Return each text's binary cross-entropy in nats, the mean over the labels, [T]."""
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=-1)

    @staticmethod
    def text_weights(targets: np.ndarray, texts: np.ndarray, class_weights: str) -> np.ndarray:
        """Return 1 for each text; raises `ClozeError` for `balanced`."""
        if class_weights != "none":
            raise ClozeError(
                "--class-weights balanced: texts of several labels have no one class; leave it out"
            )
        return SequenceObjective.text_weights(targets, texts, class_weights)

    @classmethod
    def predict(
        cls, model: nn.Module, encoded: EncodedTexts, compute: Compute, texts: np.ndarray | None
    ) -> LabelLogits:
        """Return the logits of the texts and the model's threshold."""
        values = super().predict(model, encoded, compute, texts)
        return LabelLogits(values, float(model.label_threshold))  # type: ignore[arg-type]

    @classmethod
    def outcome(
        cls, task: Task, split: TaskSplit, encoded: EncodedTexts, outputs: LabelLogits
    ) -> Outcome:
        """Return the measures of `label_sets_outcome` and the threshold."""
        probabilities = torch.from_numpy(outputs.values).sigmoid().numpy()
        predictions = probabilities > outputs.threshold
        outcome = label_sets_outcome(task, cls.targets(split), predictions, probabilities)
        outcome.metrics["threshold"] = outputs.threshold
        return outcome

    def calibrate(self, compute: Compute) -> None:
        """Choose the threshold with the best score on the held-out rows, if there are any.

        One for all labels: one for each would fit the noise of rare ones. Of equally good ones that
        nearest to a half.
        """
        rows = self.data.held_out
        if not rows.size:
            return
        logits = self.predict(self.model, self._encoded, compute, rows).values
        split, encoded = self.data.split.take(rows), self._encoded.take(rows)
        scores = {
            threshold: self.outcome(
                self.data.task, split, encoded, LabelLogits(logits, threshold)
            ).metrics["score"]
            for threshold in _THRESHOLDS.tolist()
        }
        self.model.label_threshold = max(scores, key=lambda t: (scores[t], -abs(t - 0.5)))
