"""Questions answered from their contexts, with the places of the answers there."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from cloze.errors import ClozeError
from cloze.metrics import recipe_of_model
from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig
from cloze.model.heads import QuestionAnswerer
from cloze.model.hf import load_question_answerer
from cloze.objectives.answer_spans import (
    EncodedQuestions,
    WindowLimits,
    encode_questions,
    find_answers,
)
from cloze.objectives.question_answering import given_answers
from cloze.use.predictors import Predictor, batches_by_length
from cloze.use.texts import Text


class FoundAnswer(NamedTuple):
    """What a model answers: a slice of the context, from `start` to `end`, empty for no answer.

    `score`: how probable that is; `no_answer_probability`: None of a model that always answers.
    """

    answer: str
    score: float
    start: int
    end: int
    no_answer_probability: float | None


class Answerer(Predictor[FoundAnswer]):
    """Answers each question, a text's first part, from its context, the second."""

    task = "answer"
    _model: QuestionAnswerer

    def __init__(self, folder: Path, compute: Compute, max_length: int | None = None) -> None:
        recipe = recipe_of_model(folder)
        super().__init__(folder, compute, max_length or recipe.get("max_length"))
        self._limits = WindowLimits.of(recipe | {"max_length": self.max_length})

    def _load(self, folder: Path) -> tuple[nn.Module, EncoderConfig]:
        model = load_question_answerer(folder)
        return model, model.config

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Text]) -> list[FoundAnswer]:
        """Return the answer to each question; raises `ClozeError` for one without a context."""
        for text in texts:
            if text.second is None:
                raise ClozeError(
                    f"{text.where}: has no context; give each question the text to answer it from"
                )
        contexts = [str(text.second) for text in texts]
        questions = [text.first for text in texts]
        vocab_size = self._config.vocab_size
        encoded = encode_questions(self.tokenizer, questions, contexts, self._limits, vocab_size)
        self.truncated += encoded.truncated
        threshold = self._model.null_threshold
        found = given_answers(find_answers(encoded, self._logits(encoded)), threshold)
        rows = zip(
            found.texts(contexts),
            found.scores.tolist(),
            found.starts.tolist(),
            found.ends.tolist(),
            found.null_probabilities.tolist() if threshold is not None else [None] * len(texts),
            strict=True,
        )
        return [FoundAnswer(*row) for row in rows]

    def _logits(self, encoded: EncodedQuestions) -> np.ndarray:
        """Return the logits of start and end at every token, float32 [num_tokens, 2]."""
        logits = np.zeros((len(encoded.input_ids), 2), dtype=np.float32)
        for batch, numbers in batches_by_length(encoded, self._compute.device):
            with self._compute.autocast():
                found = self._finite(self._model(batch.to(self._compute.torch_device)))
            filled = batch.sample_ids.numpy() > 0
            logits[encoded.tokens_of(numbers)] = found.cpu().numpy()[filled]
        return logits
