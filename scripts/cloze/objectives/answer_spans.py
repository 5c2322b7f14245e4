"""Questions and contexts as windows of tokens, and logits of windows as answers.

A window is `[CLS] question [SEP] part of the context [SEP]` of at most `max_length` tokens;
neighbouring windows of a long context share `doc_stride` of its tokens (Devlin et al. 2019, as in
`run_squad.py`; the share as in `transformers`). Each token of a context knows its characters
there, so that an answer is a slice of the context as it was given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self
from unicodedata import category

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from tokenizers import Encoding, Tokenizer

from cloze.cli import progress
from cloze.errors import ClozeError
from cloze.objectives.texts import EncodedTexts, require_tokenizer, truncate
from cloze.tokens.tokenizer import special_ids

N_BEST_SIZE = 20
_QUESTIONS_AT_ONCE = 256
# Of the tokens between the special ones; the rest is the context's.
_QUESTION_SHARE = 0.5
MIN_MAX_LENGTH = 8


class WindowLimits(NamedTuple):
    """How a long context is read.

    `max_length`: tokens of a window, the special ones among them; `doc_stride`: tokens of the
    context that neighbouring windows share, at most half of a window's; `max_answer_length`:
    the most tokens of an answer.
    """

    max_length: int
    doc_stride: int = 128
    max_answer_length: int = 30

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return what of `given` are limits; those that are None have their defaults."""
        named = {name: given.get(name) for name in cls._fields}
        return cls(**{name: value for name, value in named.items() if value is not None})


@dataclass(frozen=True)
class EncodedQuestions(EncodedTexts):
    """Windows in the order of their questions, `rows`; a question has one or more.

    `truncated`: how many questions were cut. `spans` int32 [num_tokens, 2]: the characters of its
    context that a token stands for, first and one past the last, equal where an answer can neither
    start nor end. `targets` int64 [num_windows, 2]: the places in the window of the first and the
    last token of the answer, (0, 0), which is [CLS], where it has none.
    """

    spans: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=np.int32))
    targets: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    max_answer_length: int = 30

    @property
    def windows_per_question(self) -> np.ndarray:
        """int64 [num_questions]."""
        return np.bincount(self.rows) if self.rows is not None else np.ones_like(self.lengths)

    def take(self, texts: np.ndarray) -> Self:
        """Return the windows with these numbers; see `EncodedTexts.take`."""
        return replace(
            super().take(texts),
            spans=self.spans[self.tokens_of(texts)],
            targets=self.targets[texts],
        )


class AnswerSpan(NamedTuple):
    """The characters of an answer in its context, first and one past the last."""

    start: int
    end: int


def encode_questions(
    tokenizer: Tokenizer,
    questions: Sequence[str],
    contexts: Sequence[str],
    limits: WindowLimits,
    vocab_size: int,
    answers: Sequence[AnswerSpan | None] | None = None,
) -> EncodedQuestions:
    """Tokenise at least one question with its context; `answers` make targets.

    A question of more than half of a window loses its end. Raises `ClozeError` if the tokenizer
    has more entries than the encoder's `vocab_size`, or if windows are too short to hold both.
    """
    require_tokenizer(tokenizer, vocab_size)
    if limits.max_length < MIN_MAX_LENGTH:
        raise ClozeError(
            f"--max-length {limits.max_length}: leaves no room for a question and a context; "
            f"use {MIN_MAX_LENGTH} or more"
        )
    builder = _Builder(tokenizer, limits)
    with progress(total=len(questions), unit=" questions", description="tokenise") as bar:
        for start in range(0, len(questions), _QUESTIONS_AT_ONCE):
            chunk = slice(start, start + _QUESTIONS_AT_ONCE)
            wanted = answers[chunk] if answers is not None else [None] * len(questions[chunk])
            builder.add(questions[chunk], contexts[chunk], wanted)
            bar.update(len(questions[chunk]))
    return builder.windows()


class _Context(NamedTuple):
    """The tokens of a context, int32 [n], and their characters, int32 [n, 2]."""

    ids: np.ndarray
    spans: np.ndarray


class _Builder:
    """Collects windows, chunk by chunk."""

    def __init__(self, tokenizer: Tokenizer, limits: WindowLimits) -> None:
        self._tokenizer, self._limits = tokenizer, limits
        self._special = special_ids(tokenizer)
        self._ids: list[np.ndarray] = []
        self._spans: list[np.ndarray] = []
        self._first_lengths: list[int] = []
        self._questions: list[int] = []
        self._targets: list[tuple[int, int]] = []
        self._truncated = self._number = 0

    def add(
        self,
        questions: Sequence[str],
        contexts: Sequence[str],
        answers: Sequence[AnswerSpan | None],
    ) -> None:
        """Add the windows of further questions."""
        # Several questions are asked of one paragraph.
        distinct = list(dict.fromkeys(contexts))
        encodings = self._tokenizer.encode_batch(distinct, add_special_tokens=False)
        tokens = {
            context: _Context(np.array(found.ids, np.int32), _character_spans(found, context))
            for context, found in zip(distinct, encodings, strict=True)
        }
        asked = self._tokenizer.encode_batch(list(questions), add_special_tokens=False)
        for found, context, answer in zip(asked, contexts, answers, strict=True):
            self._add_question(found.ids, tokens[context], answer)
            self._number += 1

    def _add_question(self, ids: list[int], context: _Context, answer: AnswerSpan | None) -> None:
        separators = self._special.separators
        room = self._limits.max_length - 2 - separators
        question = truncate(ids, int(room * _QUESTION_SHARE), "head")
        self._truncated += len(question) < len(ids)
        between = [self._special.sep] * separators
        first = np.array([self._special.cls, *question, *between], np.int32)
        width = room - len(question)
        step = width - min(self._limits.doc_stride, width // 2)
        target = _token_range(context.spans, answer)
        for start in _window_starts(len(context.ids), width, step):
            part = slice(start, start + width)
            ids_of_part = context.ids[part]
            self._ids += [first, ids_of_part, np.array([self._special.sep], np.int32)]
            outside = np.zeros((len(first), 2), np.int32)
            self._spans += [outside, context.spans[part], outside[:1]]
            self._first_lengths.append(len(first))
            self._questions.append(self._number)
            self._targets.append((0, 0))
            if target and start <= target[0] and target[1] < start + len(ids_of_part):
                shift = len(first) - start
                self._targets[-1] = (target[0] + shift, target[1] + shift)

    def windows(self) -> EncodedQuestions:
        """Return all windows so far."""
        lengths = [sum(map(len, self._ids[at : at + 3])) for at in range(0, len(self._ids), 3)]
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return EncodedQuestions(
            np.concatenate(self._ids),
            offsets,
            self._truncated,
            self._special,
            np.array(self._first_lengths, np.int64),
            np.array(self._questions, np.int64),
            np.concatenate(self._spans),
            np.array(self._targets, np.int64),
            self._limits.max_answer_length,
        )


def _window_starts(num_tokens: int, width: int, step: int) -> range:
    """Return where windows of `width` tokens start; the last one reaches the end."""
    return range(0, max(1, num_tokens - width + step), step)


def _character_spans(encoding: Encoding, context: str) -> np.ndarray:
    """Return the characters of each token, int32 [num_tokens, 2], one past the last as the end.

    White space at the ends, which byte-level tokens carry, is none of an answer. Marks that a
    normaliser dropped, such as accents written as characters of their own and Arabic vowels,
    belong to the letter before them.
    """
    spans = np.array(encoding.offsets, np.int64).reshape(-1, 2)
    length = len(context)
    is_space = np.fromiter(map(str.isspace, context), np.bool_, length)
    starts = np.minimum(_next_false(is_space)[spans[:, 0]], spans[:, 1])
    ends = spans[:, 1]
    if not context.isascii():
        is_mark = np.fromiter((category(char)[0] == "M" for char in context), np.bool_, length)
        reach = np.append(spans[1:, 0], length)
        with_marks = np.minimum(_next_false(is_mark)[ends], reach)
        ends = np.where(starts < ends, np.maximum(ends, with_marks), ends)
    ends = np.maximum(_end_without(is_space)[ends], starts)
    return np.stack([starts, ends], axis=1).astype(np.int32)


def _next_false(flags: np.ndarray) -> np.ndarray:
    """Return for each place, and the end, the first one from there on without a flag; [n + 1]."""
    places = np.append(np.where(flags, len(flags), np.arange(len(flags))), len(flags))
    return np.minimum.accumulate(places[::-1])[::-1]


def _end_without(flags: np.ndarray) -> np.ndarray:
    """Return for each end of a slice where it ends without the flagged places there; [n + 1]."""
    ends = np.concatenate([[0], np.where(flags, 0, np.arange(1, len(flags) + 1))])
    return np.maximum.accumulate(ends)


def _token_range(spans: np.ndarray, answer: AnswerSpan | None) -> tuple[int, int] | None:
    """Return the first and the last token that hold characters of an answer, None for no answer."""
    if answer is None:
        return None
    touched = np.flatnonzero((spans[:, 0] < answer.end) & (spans[:, 1] > answer.start))
    return (int(touched[0]), int(touched[-1])) if len(touched) else None


class FoundAnswers(NamedTuple):
    """The best answer of each question, whether or not no answer is better; [num_questions] each.

    `starts`, `ends` int64: characters of the context, equal where it has no token. `scores`
    float64: its probability among the `N_BEST_SIZE` best answers. `null_probabilities` float64:
    that of no answer among these and no answer. `null_differences` float64: the score of no
    answer, the sum of both logits of [CLS], in the window where it is lowest, less that of
    the best answer (Devlin et al. 2019, section 4.3).
    """

    starts: np.ndarray
    ends: np.ndarray
    scores: np.ndarray
    null_probabilities: np.ndarray
    null_differences: np.ndarray


def find_answers(encoded: EncodedQuestions, logits: np.ndarray) -> FoundAnswers:
    """Return the best answers by the sum of their logits over all windows of a question.

    logits: float32 [num_tokens, 2] of start and end, beside `encoded.input_ids`. An answer starts
    and ends at tokens of the context and has at most `max_answer_length` of them; the same
    characters in two windows count once, with their better score.
    """
    counts, offsets = encoded.windows_per_question, encoded.offsets
    columns = np.zeros((5, len(counts)))
    bounds = np.concatenate([[0], np.cumsum(counts)])
    for question in range(len(counts)):
        found: dict[tuple[int, int], float] = {}
        null = np.inf
        for window in range(bounds[question], bounds[question + 1]):
            part = slice(*offsets[window : window + 2])
            null = min(null, float(logits[part.start].sum()))
            best = _best_spans(logits[part], encoded.spans[part], encoded.max_answer_length)
            for span, score in best:
                found[span] = max(score, found.get(span, -np.inf))
        columns[:, question] = _summarise(found, null)
    starts, ends, *others = columns
    return FoundAnswers(starts.astype(np.int64), ends.astype(np.int64), *others)


def _best_spans(
    logits: np.ndarray, spans: np.ndarray, max_answer_length: int
) -> list[tuple[tuple[int, int], float]]:
    """Return characters and score of the best answers of a window; every pair is looked at."""
    allowed = np.where(spans[:, :1] < spans[:, 1:], logits.astype(np.float64), -np.inf)
    padded = np.concatenate([allowed[:, 1], np.full(max_answer_length - 1, -np.inf)])
    scores = allowed[:, :1] + sliding_window_view(padded, max_answer_length)
    size = min(N_BEST_SIZE, scores.size)
    best = np.argpartition(-scores, size - 1, axis=None)[:size]
    first, length = np.divmod(best, max_answer_length)
    values = scores[first, length]
    return [
        ((int(spans[start, 0]), int(spans[end, 1])), float(value))
        for start, end, value in zip(first, first + length, values, strict=True)
        if np.isfinite(value)
    ]


def _summarise(found: dict[tuple[int, int], float], null: float) -> tuple[float, ...]:
    """Return what `FoundAnswers` holds of a question whose answers have these scores."""
    if not found:
        # As sure as can be, and still a number that a file can hold.
        return 0, 0, 0.0, 1.0, float(np.finfo(np.float32).max)
    ranked = sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))[:N_BEST_SIZE]
    (start, end), best = ranked[0]
    total = float(np.exp(np.array([score for _, score in ranked]) - best).sum())
    with np.errstate(over="ignore"):
        odds = float(np.exp(np.float64(null - best)))
    null_probability = 1.0 if np.isinf(odds) else odds / (total + odds)
    return start, end, 1 / total, null_probability, null - best
