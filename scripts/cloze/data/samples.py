"""From encoded documents to rows: the two methods, and rows filled with whole samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Protocol

import numpy as np

from cloze.corpus.document_reader import DocumentBatch
from cloze.data.packing import pack_best_fit
from cloze.data.sentences import one_sentence_a_line
from cloze.data.shards import Rows, id_dtype
from cloze.data.text_encoder import EncodedText
from cloze.data.tokenizer import SpecialIds


class Method(Protocol):
    """How documents become samples."""

    name: ClassVar[str]

    def lines(self, documents: DocumentBatch) -> DocumentBatch:
        """Return the documents with each piece that is tokenised by itself on its own line."""

    def preferred_cuts(self, encoded: EncodedText) -> tuple[np.ndarray, ...]:
        """Return where samples may start, bool [num_tokens] each, the best kind of place first."""

    def sentence_starts(self, encoded: EncodedText) -> np.ndarray:
        """Return which tokens are known to start a sentence, bool [num_tokens]."""


@dataclass(frozen=True)
class SegmentText:
    """Whole sentences, as many as fit; a longer sentence is cut between words."""

    language: str
    name: ClassVar[str] = "segment_text"

    def lines(self, documents: DocumentBatch) -> DocumentBatch:
        """Return the documents with one sentence a line."""
        return one_sentence_a_line(documents, self.language)

    def preferred_cuts(self, encoded: EncodedText) -> tuple[np.ndarray, ...]:
        """A sample starts with a sentence, else with a word, else with any token."""
        return (encoded.line_starts, encoded.word_starts)

    def sentence_starts(self, encoded: EncodedText) -> np.ndarray:
        """Every line is a sentence."""
        return encoded.line_starts


@dataclass(frozen=True)
class SplitTokens:
    """The token stream cut every so many tokens; with `whole_words`, never within a word."""

    whole_words: bool
    name: ClassVar[str] = "split_tokens"

    def lines(self, documents: DocumentBatch) -> DocumentBatch:
        """Return the documents as they are: a paragraph is a line."""
        return documents

    def preferred_cuts(self, encoded: EncodedText) -> tuple[np.ndarray, ...]:
        """A sample starts with any token, or with a word."""
        return (encoded.word_starts,) if self.whole_words else ()

    def sentence_starts(self, encoded: EncodedText) -> np.ndarray:
        """Sentences are not looked for."""
        return np.zeros(len(encoded.input_ids), np.bool_)


def cut_documents(
    document_offsets: np.ndarray, capacity: int, starts: Sequence[np.ndarray]
) -> np.ndarray:
    """Cut documents into pieces of at most `capacity` tokens, each as long as it may be.

    `document_offsets`: int64 [num_documents + 1], token offsets. `starts`: bool arrays
    [num_tokens], most preferred first: a piece ends before the last True of the first
    array that offers one within reach, or at the end of its document; where none does,
    it ends after `capacity` tokens.

    Returns token offsets int64 [num_pieces + 1].
    """
    latest = [_latest(array) for array in starts]
    bounds = [0]
    for end in document_offsets[1:].tolist():
        while (start := bounds[-1]) < end:
            limit = start + capacity
            if limit < end:
                places = (array.item(limit) for array in latest)
                limit = next((place for place in places if place > start), limit)
            bounds.append(min(limit, end))
    return np.array(bounds, np.int64)


def _latest(starts: np.ndarray) -> np.ndarray:
    """Return for each token the last True up to and including it."""
    return np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))


@dataclass(frozen=True)
class RowBuilder:
    """Frames samples as `[CLS] … [SEP]` and packs them into rows of `row_length` tokens."""

    method: Method
    max_length: int
    row_length: int
    vocab_size: int
    special: SpecialIds

    def build(self, document_ids: np.ndarray, encoded: EncodedText) -> Rows:
        """Return the rows of some documents; `document_ids` uint32 [num_documents]."""
        cuts = self.method.preferred_cuts(encoded)
        bounds = cut_documents(encoded.document_offsets, self.max_length - 2, cuts)
        lengths = np.diff(bounds)
        packed = pack_best_fit(lengths + 2, self.row_length)
        order = np.fromiter(chain.from_iterable(packed), np.int64, len(lengths))
        sample_offsets = _offsets(lengths[order] + 2)
        row_samples = _offsets(np.fromiter(map(len, packed), np.int64, len(packed)))
        opening, closing = sample_offsets[:-1], sample_offsets[1:] - 1
        in_text = np.ones(sample_offsets[-1], np.bool_)
        in_text[opening] = in_text[closing] = False
        places = np.flatnonzero(in_text)
        sources = places + np.repeat(bounds[order] - (opening + 1), lengths[order])

        input_ids = np.empty(len(in_text), id_dtype(self.vocab_size))
        input_ids[opening], input_ids[closing] = self.special.cls, self.special.sep
        input_ids[places] = encoded.input_ids[sources]
        word_starts = ~in_text
        word_starts[places] = encoded.word_starts[sources]
        sentence_starts = np.zeros_like(in_text)
        sentence_starts[opening] = True
        sentence_starts[places] = self.method.sentence_starts(encoded)[sources]
        documents = np.searchsorted(encoded.document_offsets, bounds[order], side="right") - 1
        return Rows(
            max_length=self.max_length,
            row_length=self.row_length,
            vocab_size=self.vocab_size,
            input_ids=input_ids,
            row_offsets=sample_offsets[row_samples],
            sample_offsets=sample_offsets,
            word_starts=word_starts,
            sentence_starts=sentence_starts,
            documents=document_ids[documents],
        )


def _offsets(lengths: np.ndarray) -> np.ndarray:
    """Return int64 [len(lengths) + 1]: where pieces of these lengths start, and the end."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
