"""From documents to samples: the two methods, and rows filled with their samples."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Protocol

import numpy as np
from tokenizers import Tokenizer

from cloze.data.packing import pack_best_fit
from cloze.data.sentences import split_sentences
from cloze.data.shards import Rows, id_dtype
from cloze.data.tokenizer import SpecialIds

# Bounds what the tokenizer holds at a time: its encodings take some 50 bytes a character.
_ENCODE_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class EncodedDocument:
    """A document's token stream without special tokens.

    `input_ids`: unsigned [num_tokens]; `word_starts`, `segment_starts`: bool
    [num_tokens], True where a token is the first of a word, of a segment.
    """

    input_ids: np.ndarray
    word_starts: np.ndarray
    segment_starts: np.ndarray


class Method(Protocol):
    """How a document becomes samples."""

    name: ClassVar[str]
    segments_are_sentences: ClassVar[bool]

    def segments(self, text: str) -> list[str]:
        """Return the pieces of text that are tokenised one by one."""

    def bounds(self, document: EncodedDocument, capacity: int) -> np.ndarray:
        """Return token offsets int64 [num_samples + 1] that cut the stream into samples."""


@dataclass(frozen=True)
class SegmentText:
    """Whole sentences, as many as fit; a longer sentence is cut between words."""

    language: str
    name: ClassVar[str] = "segment_text"
    segments_are_sentences: ClassVar[bool] = True

    def segments(self, text: str) -> list[str]:
        """Return the sentences of a document."""
        return split_sentences(text, self.language)

    def bounds(self, document: EncodedDocument, capacity: int) -> np.ndarray:
        """Cut at the last sentence end that fits, else word end, else token."""
        starts = (document.segment_starts, document.word_starts)
        return cut(len(document.input_ids), capacity, starts)


@dataclass(frozen=True)
class SplitTokens:
    """The token stream cut every `capacity` tokens; with `whole_words`, never within a word."""

    whole_words: bool
    name: ClassVar[str] = "split_tokens"
    segments_are_sentences: ClassVar[bool] = False

    def segments(self, text: str) -> list[str]:
        """Return the paragraphs of a document."""
        return [paragraph for paragraph in text.split("\n") if paragraph.strip()]

    def bounds(self, document: EncodedDocument, capacity: int) -> np.ndarray:
        """Cut every `capacity` tokens, or at the last word end before that."""
        starts = (document.word_starts,) if self.whole_words else ()
        return cut(len(document.input_ids), capacity, starts)


def encode_document(tokenizer: Tokenizer, segments: Sequence[str]) -> EncodedDocument:
    """Tokenise the segments of one document, one by one, without special tokens."""
    encodings = []
    for batch in _batches(segments):
        encodings += [
            (encoding.ids, encoding.word_ids)
            for encoding in tokenizer.encode_batch(batch, add_special_tokens=False)
        ]
    lengths = np.fromiter((len(ids) for ids, _ in encodings), np.int64, len(encodings))
    num_tokens = int(lengths.sum())
    ids = chain.from_iterable(ids for ids, _ in encodings)
    words = chain.from_iterable(words for _, words in encodings)
    word_ids = np.fromiter(words, np.int64, num_tokens)
    segment_starts = np.zeros(num_tokens, np.bool_)
    segment_starts[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
    # Word ids begin anew in each segment, so two neighbours may share one.
    word_starts = segment_starts.copy()
    word_starts[1:] |= word_ids[1:] != word_ids[:-1]
    return EncodedDocument(
        input_ids=np.fromiter(ids, np.uint32, num_tokens),
        word_starts=word_starts,
        segment_starts=segment_starts,
    )


def cut(num_tokens: int, capacity: int, starts: Sequence[np.ndarray]) -> np.ndarray:
    """Cut a stream into pieces of at most `capacity` tokens, each as long as it may be.

    `starts`: bool arrays [num_tokens], most preferred first: a piece ends before the
    last True of the first array that offers one within reach, or at the end of the
    stream; where none does, it ends after `capacity` tokens.

    Returns token offsets int64 [num_pieces + 1].
    """
    preferred = [np.append(np.flatnonzero(array), num_tokens) for array in starts]
    offsets = [0]
    while offsets[-1] < num_tokens:
        offsets.append(_next_cut(offsets[-1], min(offsets[-1] + capacity, num_tokens), preferred))
    return np.array(offsets, np.int64)


def _next_cut(start: int, limit: int, preferred: Sequence[np.ndarray]) -> int:
    for places in preferred:
        index = int(np.searchsorted(places, limit, side="right")) - 1
        if index >= 0 and places[index] > start:
            return int(places[index])
    return limit


class SampleCollector:
    """Samples of many documents, held as flat arrays until they are packed into rows."""

    def __init__(self, max_length: int, vocab_size: int, special: SpecialIds) -> None:
        self._max_length, self._vocab_size, self._special = max_length, vocab_size, special
        self._streams: list[EncodedDocument] = []
        self._lengths: list[np.ndarray] = []
        self._documents: list[np.ndarray] = []

    def add(self, document_id: int, document: EncodedDocument, method: Method) -> None:
        """Cut one document into samples and keep them."""
        bounds = method.bounds(document, self._max_length - 2)
        num_samples = len(bounds) - 1
        sentence_starts = document.segment_starts
        if not method.segments_are_sentences:
            sentence_starts = np.zeros_like(sentence_starts)
        ids = document.input_ids.astype(id_dtype(self._vocab_size))
        self._streams.append(EncodedDocument(ids, document.word_starts, sentence_starts))
        self._lengths.append(np.diff(bounds))
        self._documents.append(np.full(num_samples, document_id, np.uint32))

    def rows(self) -> Rows:
        """Frame every sample as `[CLS] … [SEP]` and pack all of them into rows."""
        lengths = _concatenate(self._lengths, np.int64)
        packed = pack_best_fit(lengths + 2, self._max_length)
        order = np.fromiter(chain.from_iterable(packed), np.int64, len(lengths))
        sample_offsets = _offsets(lengths[order] + 2)
        row_samples = _offsets(np.fromiter(map(len, packed), np.int64, len(packed)))
        opening, closing = sample_offsets[:-1], sample_offsets[1:] - 1
        in_text = np.ones(sample_offsets[-1], np.bool_)
        in_text[opening] = in_text[closing] = False
        shifts = (np.cumsum(lengths) - lengths)[order] - (opening + 1)
        places = np.flatnonzero(in_text)
        sources = places + np.repeat(shifts, lengths[order])

        input_ids = np.empty(len(in_text), id_dtype(self._vocab_size))
        input_ids[opening], input_ids[closing] = self._special.cls, self._special.sep
        input_ids[places] = _concatenate([s.input_ids for s in self._streams], np.uint32)[sources]
        word_starts = ~in_text
        word_starts[places] = _concatenate([s.word_starts for s in self._streams], bool)[sources]
        sentence_starts = np.zeros_like(in_text)
        sentence_starts[opening] = True
        sentence_starts[places] = _concatenate([s.segment_starts for s in self._streams], bool)[
            sources
        ]
        return Rows(
            max_length=self._max_length,
            vocab_size=self._vocab_size,
            input_ids=input_ids,
            row_offsets=sample_offsets[row_samples],
            sample_offsets=sample_offsets,
            word_starts=word_starts,
            sentence_starts=sentence_starts,
            documents=_concatenate(self._documents, np.uint32)[order],
        )


def _batches(segments: Sequence[str]) -> Iterable[list[str]]:
    batch: list[str] = []
    characters = 0
    for segment in segments:
        if batch and characters + len(segment) > _ENCODE_CHARACTERS:
            yield batch
            batch, characters = [], 0
        batch.append(segment)
        characters += len(segment)
    if batch:
        yield batch


def _concatenate(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
