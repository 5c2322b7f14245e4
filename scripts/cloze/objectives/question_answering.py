"""Answers to questions as spans of a context: where one starts and where it ends."""

from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig
from cloze.model.heads import QuestionAnswerer
from cloze.model.hf import load_question_answerer
from cloze.objectives.answer_spans import (
    AnswerSpan,
    EncodedQuestions,
    FoundAnswers,
    WindowLimits,
    encode_questions,
    find_answers,
)
from cloze.objectives.task import TargetBatch, TaskObjective, TrainingRows, predict_batches
from cloze.objectives.texts import EncodedTexts, pack_texts, rounded_places, slot_values
from cloze.tasks.answers import best_null_threshold
from cloze.tasks.kind import Outcome
from cloze.tasks.question_answering import (
    AnswerPredictions,
    answers_outcome,
    scores_of_answers,
)
from cloze.tasks.task import Task, TaskSplit

# Where a row has no n-th window; finite, so that a weight of 0 makes it 0.
_LOWEST = -1e30


class SpanLogits(NamedTuple):
    """A model's logits of start and end at every token, float32 [num_tokens, 2], and its threshold.

    `null_threshold`: as in `QuestionAnswerer`.
    """

    values: np.ndarray
    null_threshold: float | None


class QuestionAnswering(TaskObjective[TargetBatch]):
    """Cross-entropy of an answer's first and last token in each window, [CLS] where none is.

    Targets are int64 [B, N, 2], the tokens of the row where each window's answer starts and ends.
    """

    model: QuestionAnswerer
    _encoded: EncodedQuestions

    def __init__(self, model: QuestionAnswerer, data: TrainingRows, settings: Namespace) -> None:
        super().__init__(model, data, settings)
        if settings.class_weights != "none":
            raise ClozeError("--class-weights: is for texts with one class each; leave it out")

    @classmethod
    def encode(
        cls, tokenizer: Tokenizer, split: TaskSplit, settings: Namespace, vocab_size: int
    ) -> EncodedQuestions:
        """Return the questions with their contexts as windows; the first answer is the target."""
        limits = WindowLimits.of(vars(settings))
        answers = [
            AnswerSpan(start[0], start[0] + len(text[0])) if text else None
            for text, start in ((row["text"], row["answer_start"]) for row in split.labels)
        ]
        return encode_questions(
            tokenizer, split.texts, split.pairs or (), limits, vocab_size, answers
        )

    @classmethod
    def text_recipe(cls, settings: Namespace) -> dict[str, Any]:
        """Return the limits of windows."""
        return WindowLimits.of(vars(settings))._asdict()

    @classmethod
    def build(cls, config: EncoderConfig, task: Task, settings: Namespace) -> QuestionAnswerer:
        """Return an encoder with outputs for start and end."""
        model = QuestionAnswerer(config, settings.classifier_dropout)
        if task.facts["splits"]["train"]["unanswerable"]:
            model.null_threshold = 0.0
        return model

    @classmethod
    def load(cls, folder: Path) -> tuple[QuestionAnswerer, list[str]]:
        """Return a fine-tuned model; it has no labels."""
        return load_question_answerer(folder), []

    def batch(
        self, step: int, batch_size: int, progress: float, part: tuple[int, int] | None
    ) -> TargetBatch:
        """Return windows of the global batch of a step; see `Objective.batch`."""
        texts = self._texts_of_batch(step, batch_size)
        own = texts if part is None else texts[part[0] : part[1]]
        # A process that has no window of a short batch takes part all the same, with a loss of 0.
        packed, order = pack_texts(self._encoded, own if len(own) else texts[:1])
        places = rounded_places(int(packed.sample_ids.max()))
        sides = [
            slot_values(packed, order, self._encoded.targets[:, side], places) for side in (0, 1)
        ]
        first = packed.first_positions(places)
        ones = np.full(len(self._encoded.lengths), 1 / len(texts), dtype=np.float32)
        weights = slot_values(packed, order, ones if len(own) else 0 * ones, places)
        return TargetBatch(
            packed,
            first[:, :, None] + torch.from_numpy(np.stack(sides, axis=-1)),
            torch.from_numpy(weights),
        )

    @classmethod
    def loss(cls, model: nn.Module, batch: TargetBatch) -> Tensor:
        """Return the sum of weight times loss over the windows of a batch, a float32 scalar."""
        logits = model(batch.packed)
        return (span_losses(logits, batch.packed.sample_ids, batch.targets) * batch.weights).sum()

    @classmethod
    def predict(
        cls, model: nn.Module, encoded: EncodedTexts, compute: Compute, texts: np.ndarray | None
    ) -> SpanLogits:
        """Return the logits at every token of the windows."""
        assert isinstance(model, QuestionAnswerer)
        values = np.zeros((len(encoded.input_ids), 2), dtype=np.float32)
        for numbers, batch, logits in predict_batches(model, encoded, compute, texts, model):
            values[encoded.tokens_of(numbers)] = logits[batch.sample_ids.numpy() > 0]
        if texts is not None:
            values = values[encoded.tokens_of(texts)]
        return SpanLogits(values, model.null_threshold)

    @classmethod
    def outcome(
        cls, task: Task, split: TaskSplit, encoded: EncodedTexts, outputs: SpanLogits
    ) -> Outcome:
        """Return the measures of `answers_outcome`, and how the answers were found (`decoding`)."""
        assert isinstance(encoded, EncodedQuestions)
        found = find_answers(encoded, outputs.values)
        outcome = answers_outcome(task, split, given_answers(found, outputs.null_threshold))
        outcome.metrics["decoding"] = {
            "windows": len(encoded.lengths),
            "questions_in_windows": int((encoded.windows_per_question > 1).sum()),
            "null_threshold": outputs.null_threshold,
        }
        return outcome

    def evaluate(self, compute: Compute, num_examples: int) -> dict[str, float]:
        """Return the task's score on the held-out rows, with the best threshold for them."""
        rows = self.data.held_out
        encoded = self._encoded.take(self._encoded.texts_of(rows))
        outputs = self.predict(self.model, encoded, compute, None)
        self.model.train()
        split = self.data.split.take(rows)
        if outputs.null_threshold is not None:
            self.model.null_threshold = self._best_threshold(split, encoded, outputs.values)
            outputs = outputs._replace(null_threshold=self.model.null_threshold)
        outcome = self.outcome(self.data.task, split, encoded, outputs)
        return {"held_out_score": outcome.metrics["score"]}

    def calibrate(self, compute: Compute) -> None:
        """Choose the model's threshold for no answer on the held-out rows; 0 without them."""
        if self.model.null_threshold is not None and self.data.held_out.size:
            self.evaluate(compute, self.num_eval_examples)
            log.info("no answer where its score is higher by %.3f", self.model.null_threshold)

    def _best_threshold(
        self, split: TaskSplit, encoded: EncodedQuestions, logits: np.ndarray
    ) -> float:
        task, found = self.data.task, find_answers(encoded, logits)
        answered, null = (
            scores_of_answers(task, split, given_answers(found, threshold).texts(split.pairs or ()))
            for threshold in (None, -np.inf)
        )
        metric = ("exact_match", "answer_f1").index(task.metric)
        return best_null_threshold(found.null_differences, answered[:, metric], null[:, metric])


def given_answers(found: FoundAnswers, null_threshold: float | None) -> AnswerPredictions:
    """Return what a model says: its best answers, but none where that is better by the threshold.

    null_threshold: as in `QuestionAnswerer`. Where it is None, probabilities are those among
    answers alone.
    """
    if null_threshold is None:
        scores, null = found.scores, np.zeros(len(found.scores))
        is_null = found.starts == found.ends
    else:
        null = found.null_probabilities
        is_null = found.null_differences > null_threshold
        scores = np.where(is_null, null, found.scores * (1 - null))
    starts, ends = (np.where(is_null, 0, bound) for bound in (found.starts, found.ends))
    return AnswerPredictions(starts, ends, scores, null)


def span_losses(logits: Tensor, sample_ids: Tensor, columns: Tensor) -> Tensor:
    """Return each window's loss, float32 [B, N]: the mean of the cross-entropies of both ends.

    logits: [B, L, 2], of start and end at each token; sample_ids: [B, L] as in `PackedBatch`;
    columns: int64 [B, N, 2], the tokens of the row where each window's answer starts and ends.
    The softmax of a window is over its own tokens (Devlin et al. 2019, section 4.2), whatever
    else is in the row. What stands where a row has no n-th window means nothing.
    """
    logits = logits.float()
    numbers = torch.arange(1, columns.shape[1] + 1, device=logits.device)
    is_own = sample_ids[:, None, :] == numbers[:, None]
    own = logits.mT[:, None].masked_fill(~is_own[:, :, None], _LOWEST)
    return (own.logsumexp(-1) - logits.gather(1, columns)).mean(-1)
