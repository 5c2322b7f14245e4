"""Tags of words: entities, parts of speech; each word is read at its first piece."""

import dataclasses
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from tokenizers import Tokenizer
from torch import Tensor, nn

from cloze.cli import progress
from cloze.errors import ClozeError
from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig
from cloze.model.heads import TokenClassifier
from cloze.model.hf import load_token_classifier
from cloze.objectives.task import (
    TargetBatch,
    TaskObjective,
    TrainingRows,
    predict_batches,
)
from cloze.objectives.texts import (
    EncodedTexts,
    pack_texts,
    require_tokenizer,
    rounded_places,
    token_values,
)
from cloze.tasks.kind import Outcome
from cloze.tasks.tag_scores import tags_outcome
from cloze.tasks.task import Task, TaskSplit
from cloze.tokens.tokenizer import special_ids

_NO_WORD = -1
_SENTENCES_AT_ONCE = 1024


@dataclass(frozen=True)
class EncodedWords(EncodedTexts):
    """Sentences, or windows of long ones, as `[CLS] … [SEP]`.

    `words` int32 [num_tokens]: the number of the word in its sentence that is judged at a token,
    -1 where none is. Each word is judged once.
    """

    words: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, dtype=np.int32))

    def take(self, texts: np.ndarray) -> Self:
        """Return the texts with these numbers; see `EncodedTexts.take`."""
        return dataclasses.replace(super().take(texts), words=self.words[self.tokens_of(texts)])


class TokenClassification(TaskObjective[TargetBatch]):
    """Cross-entropy of each word's tag, the mean over the words of a batch."""

    model: TokenClassifier
    _encoded: EncodedWords

    def __init__(self, model: TokenClassifier, data: TrainingRows, settings: Namespace) -> None:
        super().__init__(model, data, settings)
        if settings.class_weights != "none":
            raise ClozeError("--class-weights: is for texts with one class each; leave it out")
        self._targets = _tags_of_tokens(self._encoded, data.split)
        is_judged = (self._encoded.words != _NO_WORD).astype(np.int64)
        counts = np.concatenate([[0], np.cumsum(is_judged)])
        self._words_of_text = np.diff(counts[self._encoded.offsets])

    @classmethod
    def encode(
        cls, tokenizer: Tokenizer, split: TaskSplit, settings: Namespace, vocab_size: int
    ) -> EncodedWords:
        """Return the sentences as tokens, long ones as windows that overlap by half."""
        require_tokenizer(tokenizer, vocab_size)
        return encode_words(tokenizer, split.columns["tokens"].to_pylist(), settings.max_length)

    @classmethod
    def text_recipe(cls, settings: Namespace) -> dict[str, Any]:
        """Return how sentences are read: long ones are windows, so nothing is cut."""
        return {"max_length": settings.max_length}

    @classmethod
    def build(cls, config: EncoderConfig, task: Task, settings: Namespace) -> TokenClassifier:
        """Return a classifier of tokens with an output a tag."""
        return TokenClassifier(config, len(task.labels), settings.classifier_dropout)

    @classmethod
    def load(cls, folder: Path) -> tuple[TokenClassifier, list[str]]:
        """Return a fine-tuned model and its tags."""
        return load_token_classifier(folder)

    def batch(
        self, step: int, batch_size: int, progress: float, part: tuple[int, int] | None
    ) -> TargetBatch:
        """Return sentences of the global batch of a step; see `Objective.batch`."""
        texts = self._texts_of_batch(step, batch_size)
        own = texts if part is None else texts[part[0] : part[1]]
        # A process that has no text of a short batch takes part all the same, with a loss of 0.
        packed, order = pack_texts(self._encoded, own if len(own) else texts[:1])
        tags = token_values(self._encoded, packed, order, self._targets, _NO_WORD)
        is_word = tags != _NO_WORD
        # Of each row the tokens that words are judged at, in their order, then others.
        places = rounded_places(int(is_word.sum(axis=1).max()))
        positions = np.argsort(~is_word, axis=1, kind="stable")[:, :places]
        targets = np.take_along_axis(tags, positions, axis=1)
        total = max(1, int(self._words_of_text[texts].sum()))
        weights = (targets != _NO_WORD).astype(np.float32) * (1 / total if len(own) else 0.0)
        return TargetBatch(
            packed,
            torch.from_numpy(np.maximum(targets, 0)),
            torch.from_numpy(weights.astype(np.float32)),
            torch.from_numpy(positions),
        )

    @classmethod
    def loss(cls, model: nn.Module, batch: TargetBatch) -> Tensor:
        """Return the sum of weight times cross-entropy in nats, a float32 scalar."""
        logits = model(batch.packed, batch.positions).flatten(0, 1).float()
        losses = F.cross_entropy(logits, batch.targets.flatten(), reduction="none")
        return (losses * batch.weights.flatten()).sum()

    @classmethod
    def predict(
        cls, model: nn.Module, encoded: EncodedTexts, compute: Compute, texts: np.ndarray | None
    ) -> np.ndarray:
        """Return the likeliest tag at every token of the texts, int64 [num_tokens]."""
        tags = np.zeros(len(encoded.input_ids), dtype=np.int64)
        for numbers, batch, logits in predict_batches(model, encoded, compute, texts, model):
            filled = batch.sample_ids.numpy() > 0
            tags[encoded.tokens_of(numbers)] = logits.argmax(axis=-1)[filled]
        return tags if texts is None else tags[encoded.tokens_of(texts)]

    @classmethod
    def outcome(
        cls, task: Task, split: TaskSplit, encoded: EncodedTexts, outputs: np.ndarray
    ) -> Outcome:
        """Return the measures of `tags_outcome`."""
        assert isinstance(encoded, EncodedWords)
        tokens = split.columns["tokens"].to_pylist()
        found = tags_of_words(encoded, outputs, [len(words) for words in tokens])
        return tags_outcome(task, tokens, split.labels, found)


def encode_words(tokenizer: Tokenizer, sentences: list[list[str]], max_length: int) -> EncodedWords:
    """Tokenise sentences of words; what is longer than `max_length` tokens becomes windows.

    Windows overlap by half and begin with a word, and a word is judged in the one where it has the
    most context on its shorter side. A word that has no piece is judged nowhere.
    """
    special = special_ids(tokenizer)
    pieces: list[np.ndarray] = []
    words: list[np.ndarray] = []
    rows: list[int] = []
    with progress(total=len(sentences), unit=" sentences", description="tokenise") as bar:
        for start in range(0, len(sentences), _SENTENCES_AT_ONCE):
            chunk = sentences[start : start + _SENTENCES_AT_ONCE]
            found = tokenizer.encode_batch(chunk, is_pretokenized=True, add_special_tokens=False)
            for row, encoding in enumerate(found, start):
                ids = np.array(encoding.ids, dtype=np.int32)
                word_of_piece = np.array(encoding.word_ids, dtype=np.int32)
                is_first = np.diff(word_of_piece, prepend=_NO_WORD) != 0
                for window, judged in _windows(is_first, max_length - 2):
                    pieces.append(np.concatenate([[special.cls], ids[window], [special.sep]]))
                    here = np.where(judged, word_of_piece[window], _NO_WORD)
                    words.append(np.pad(here, 1, constant_values=_NO_WORD))
                    rows.append(row)
            bar.update(len(chunk))
    lengths = [len(piece) for piece in pieces]
    windowed = len(set(rows)) < len(rows)
    return EncodedWords(
        np.concatenate(pieces).astype(np.int32),
        np.concatenate([[0], np.cumsum(lengths)]),
        truncated=0,
        special=special,
        rows=np.array(rows) if windowed else None,
        words=np.concatenate(words).astype(np.int32),
    )


def _windows(is_first: np.ndarray, room: int) -> list[tuple[slice, np.ndarray]]:
    """Return the pieces of each window, and which of them are judged there, bool [window].

    is_first: bool [num_pieces], the pieces with which a word begins.
    """
    size = len(is_first)
    if size <= room:
        return [(slice(0, size), is_first)]
    begins = np.flatnonzero(is_first)
    starts = [0]
    while starts[-1] + room < size:
        # The last word that begins in the first half, or else the next one, or a part of one.
        later = begins[(begins > starts[-1]) & (begins <= starts[-1] + room // 2)]
        starts.append(int(later[-1]) if len(later) else starts[-1] + room)
    stops = [min(start + room, size) for start in starts]
    places = np.arange(size)
    # How many pieces each has on its shorter side; where the sentence ends, nothing is missing.
    context = np.full((len(starts), size), -1)
    for number, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        before = places - start if start else np.full(size, size)
        after = stop - 1 - places if stop < size else np.full(size, size)
        inside = slice(start, stop)
        context[number, inside] = np.minimum(before, after)[inside]
    owner = context.argmax(axis=0)
    return [
        (slice(start, stop), is_first[start:stop] & (owner[start:stop] == number))
        for number, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]


def tags_of_words(
    encoded: EncodedWords, tags: np.ndarray, num_words: list[int]
) -> list[np.ndarray]:
    """Return of each sentence the value at each word's token, [num_words].

    tags: [num_tokens] of any type. A word that no token stands for has 0, the first tag.
    """
    starts = np.concatenate([[0], np.cumsum(num_words)])
    found = np.zeros(starts[-1], dtype=tags.dtype)
    judged = encoded.words != _NO_WORD
    found[_word_numbers(encoded, starts)[judged]] = tags[judged]
    return np.split(found, starts[1:-1])


def _tags_of_tokens(encoded: EncodedWords, split: TaskSplit) -> np.ndarray:
    """Return the tag to learn at each token, int64 [num_tokens], -1 where none is."""
    starts = np.concatenate([[0], np.cumsum([len(tags) for tags in split.labels])])
    judged, tags = encoded.words != _NO_WORD, np.concatenate(split.labels)
    targets = np.full(len(encoded.words), _NO_WORD, dtype=np.int64)
    targets[judged] = tags[_word_numbers(encoded, starts)[judged]]
    return targets


def _word_numbers(encoded: EncodedWords, starts: np.ndarray) -> np.ndarray:
    """Return the number of each token's word in the whole split, where it has one."""
    texts = np.arange(len(encoded.lengths))
    return np.repeat(starts[encoded.row_of(texts)], encoded.lengths) + encoded.words
