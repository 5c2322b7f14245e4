"""Words of texts tagged: entities, or a tag for each word, with their places in the text."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from cloze.errors import ClozeError
from cloze.model.encoder import EncoderConfig
from cloze.model.heads import TokenClassifier
from cloze.model.hf import load_token_classifier
from cloze.objectives.token_classification import EncodedWords, encode_words, tags_of_words
from cloze.tasks.tag_scores import entities, scheme_of
from cloze.use.predictors import Predictor, batches_by_length
from cloze.use.texts import Text

# Words as CoNLL's files have them: letters and digits together, other signs by themselves.
_WORD = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")


class Span(NamedTuple):
    """A tagged piece of a text, from `start` to `end`; `score`: its words' mean probability."""

    type: str
    text: str
    start: int
    end: int
    score: float


class Spans(NamedTuple):
    """What was tagged in a text, in its order."""

    spans: list[Span]


class Tagger(Predictor[Spans]):
    """Gives the entities of each text or, where tags mark none, a tag for each word."""

    task = "tag"
    _model: TokenClassifier

    def _load(self, folder: Path) -> tuple[nn.Module, EncoderConfig]:
        model, self.labels = load_token_classifier(folder)
        self._scheme = scheme_of(self.labels)
        return model, model.config

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Text]) -> list[Spans]:
        """Return the spans of each text, in their order."""
        for text in texts:
            if text.second is not None:
                raise ClozeError(f"{text.where}: words are tagged in one text, not in pairs")
        places = [[match.span() for match in _WORD.finditer(text.first)] for text in texts]
        words = [
            [text.first[start:end] for start, end in found]
            for text, found in zip(texts, places, strict=True)
        ]
        encoded = encode_words(self.tokenizer, words, self.max_length)
        tags, scores = self._judge(encoded, [len(found) for found in words])
        return [
            Spans(self._spans(*found))
            for found in zip([text.first for text in texts], places, tags, scores, strict=True)
        ]

    def _judge(
        self, encoded: EncodedWords, num_words: list[int]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return of each text the likeliest tag of every word, and its probability."""
        size = len(encoded.input_ids)
        tags, scores = np.zeros(size, dtype=np.int64), np.zeros(size)
        for batch, numbers in batches_by_length(encoded, self._compute.device):
            with self._compute.autocast():
                logits = self._model(batch.to(self._compute.torch_device))
            filled = batch.sample_ids.numpy() > 0
            best = self._finite(logits).softmax(dim=-1).max(dim=-1)
            places = encoded.tokens_of(numbers)
            tags[places] = best.indices.cpu().numpy()[filled]
            scores[places] = best.values.cpu().numpy()[filled]
        return tags_of_words(encoded, tags, num_words), tags_of_words(encoded, scores, num_words)

    def _spans(
        self, text: str, places: list[tuple[int, int]], tags: np.ndarray, scores: np.ndarray
    ) -> list[Span]:
        names = [self.labels[tag] for tag in tags.tolist()]
        if self._scheme == "plain":
            found = [(name, word, word) for word, name in enumerate(names)]
        else:
            found = entities(names, self._scheme)
        spans = []
        for kind, first, last in found:
            start, end = places[first][0], places[last][1]
            score = float(scores[first : last + 1].mean())
            spans.append(Span(kind, text[start:end], start, end, score))
        return spans
