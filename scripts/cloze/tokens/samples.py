"""From documents to rows: sentences, the two methods, pairs of texts, rows of whole samples."""

import bisect
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import ClassVar, Protocol, TypeAlias

import numpy as np
import sentencex

from cloze.corpus.document_reader import DocumentBatch
from cloze.errors import ClozeError
from cloze.tokens.packing import pack_best_fit
from cloze.tokens.shards import Rows, id_dtype
from cloze.tokens.text_encoder import EncodedText, concatenate
from cloze.tokens.tokenizer import SpecialIds

# A lone capital and a full stop, such as D. in Portuguese names; I., V. and X. may be numerals.
_INITIAL = re.compile(r"(?:^|[\s(\[«“\"'‘-])[^\W\d_IVX]\.$")
_INITIAL_CHARACTERS = 3
_OPENING = "\"'“‘«([—–-¿¡ "
# After what mostly ends a sentence, up to the next letter.
_SENTENCE_STARTS = re.compile(rf"([.!?…][\"'”’»)\]]*\s+[{re.escape(_OPENING)}]*)([^\W\d_])")
_CASE_PIECES = 256
_STRETCH_CHARACTERS = 1 << 18
# What has more characters is no sentence; rows hold far less, and the memory a few of them.
_LONGEST = 1 << 16
Segment: TypeAlias = Callable[[str], list[str]]
"""Cuts a paragraph into pieces that add up to it."""
Pieces: TypeAlias = list[tuple[str, bool]]
"""Pieces of a text, each with whether something longer begins with it."""
# How many second texts are from another document.
RANDOM_SHARE = 0.5


def one_sentence_a_line(documents: DocumentBatch, language: str) -> DocumentBatch:
    """Return the documents with a line end after each sentence and no blank line."""
    texts = []
    for first, last in itertools.pairwise(documents.offsets.tolist()):
        lines = bytearray()
        # A stretch at a time: the sentences of a long document are many small objects.
        for pieces in _sentence_pieces(str(documents.text[first:last].data, "utf-8"), language):
            marked = (f"\n{piece}" if begins else piece for piece, begins in pieces)
            lines += "".join(marked).encode()
        texts.append(lines[1:])
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return DocumentBatch(documents.ids, np.frombuffer(b"".join(texts), np.uint8), offsets)


def split_sentences(text: str, language: str) -> list[str]:
    """Split a document into sentences; none spans a paragraph (a line).

    By Wikimedia's `sentencex`, whose pieces are joined again where it splits too eagerly.
    `language` is a code of ISO 639-1; for a language without rules of its own,
    sentencex takes those of the language it falls back to, in the end English's.
    White space between two sentences goes to the second one, as byte-level
    vocabularies expect; otherwise the pieces of a line add up to the line. Lines of
    white space alone give nothing. Where most pieces at the start of the text begin with
    small letters, case says nothing about its sentences. What would have more than 65,536
    characters is cut at a space. Time is linear in the text.
    """
    sentences: list[list[str]] = []
    for piece, begins in itertools.chain.from_iterable(_sentence_pieces(text, language)):
        if begins:
            sentences.append([piece])
        else:
            sentences[-1].append(piece)
    return ["".join(pieces) for pieces in sentences]


def _sentence_pieces(text: str, language: str) -> Iterator[Pieces]:
    """Yield the pieces of a text with whether each begins a sentence, a stretch at a time."""
    segment = partial(sentencex.segment, language)
    stretches = _stretches(text, segment)
    first = next(stretches)
    has_capitals = _begin_with_capitals(first[:_CASE_PIECES])
    if has_capitals:
        stretches = itertools.chain([first], stretches)
    else:
        stretches = _stretches(text, partial(_segment_small, segment))
    end, length = "", 0
    for pieces in stretches:
        for index, (piece, begins) in enumerate(pieces):
            if not begins:
                begins = length > _LONGEST or not _continues(end, piece, has_capitals)
                pieces[index] = piece, begins
            # It may be shorter than what `_continues` looks at.
            end = piece if begins else (end + piece)[-_INITIAL_CHARACTERS:]
            length = len(piece) if begins else length + len(piece)
        yield pieces


def _stretches(text: str, segment: Segment) -> Iterator[Pieces]:
    """Yield the pieces of a text with whether each begins a paragraph, so many at a time."""
    held, size, start = list[tuple[str, bool]](), 0, 0
    while start <= len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        begins, space = True, ""
        for segmented in _segmented(text[start:end], segment):
            for piece in segmented:
                if body := piece.rstrip():
                    if len(body) > _LONGEST:
                        held += _in_parts(space + body, begins)
                    else:
                        held.append((space + body, begins))
                    begins, space = False, ""
                space += piece[len(body) :]
            size += sum(map(len, segmented))
            if size >= _STRETCH_CHARACTERS:
                yield held
                held, size = [], 0
        start = end + 1
    yield held


def _in_parts(piece: str, begins: bool) -> Pieces:
    """Return a piece, one without end cut at spaces; each further part begins a sentence."""
    parts, start = list[tuple[str, bool]](), 0
    while len(piece) - start > _LONGEST:
        cut = piece.rfind(" ", start + 1, start + _LONGEST)
        cut = cut if cut > 0 else piece.find(" ", start + _LONGEST)
        if cut < 0:
            break
        parts.append((piece[start:cut], begins or start > 0))
        start = cut
    return [*parts, (piece[start:], begins or start > 0)]


def _segmented(paragraph: str, segment: Segment) -> Iterator[list[str]]:
    """Yield what `segment` makes of a paragraph, of a long one a stretch at a time.

    A stretch starts with the piece that the one before may have cut.
    """
    start, size = 0, _STRETCH_CHARACTERS
    while start + size < len(paragraph):
        whole = segment(paragraph[start : start + size])[:-1]
        yield whole
        start += sum(map(len, whole))
        size = _STRETCH_CHARACTERS if whole else 2 * size
    yield segment(paragraph[start:])


def _segment_small(segment: Segment, paragraph: str) -> list[str]:
    """Segment a paragraph of small letters as if its sentences began with capitals.

    In some languages sentencex takes a small letter for a sign that the sentence goes on.
    """
    ends = itertools.accumulate(map(len, segment(_SENTENCE_STARTS.sub(_capitalised, paragraph))))
    return [paragraph[start:end] for start, end in itertools.pairwise([0, *ends])]


def _capitalised(start: re.Match[str]) -> str:
    capital = start[2].title()
    return start[1] + (capital if len(capital) == 1 else start[2])


def _begin_with_capitals(pieces: Pieces) -> bool:
    """Tell whether at least as many pieces begin with a capital as with a small letter."""
    letters = [piece.lstrip(_OPENING)[:1] for piece, _ in pieces]
    return sum(map(_is_small, letters)) <= sum(map(str.isupper, letters))


def _is_small(letter: str) -> bool:
    """Tell whether a letter would be another one at the start of a sentence.

    A Georgian one would not: its capitals write whole words.
    """
    return letter.islower() and letter.title() != letter


def _continues(end: str, piece: str, has_capitals: bool) -> bool:
    """Tell whether a sentence that ends so far in the characters `end` goes on with a piece."""
    if not piece[0].isspace() and end[-1].isascii():
        # Scripts with full stops of their own need no space after them.
        return True
    if has_capitals and _is_small(piece.lstrip(_OPENING)[:1]):
        return True
    return end[-1] == "." and end[-2:-1].isupper() and bool(_INITIAL.search(end[-3:]))


@dataclass(frozen=True)
class Spans:
    """Samples as pieces of a token stream, all int64 [num_samples] but `is_next`, bool.

    A sample is `starts[i] : stops[i]` and, where `second_starts[i] < second_stops[i]`,
    a second text, which `is_next` says to be what follows the first.
    """

    starts: np.ndarray
    stops: np.ndarray
    second_starts: np.ndarray
    second_stops: np.ndarray
    is_next: np.ndarray

    @classmethod
    def single(cls, bounds: np.ndarray) -> "Spans":
        """Return samples of one text each, which lie between `bounds`, int64 [num_samples + 1]."""
        none = np.zeros(len(bounds) - 1, np.int64)
        return cls(bounds[:-1], bounds[1:], none, none, np.zeros(len(none), np.bool_))

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sample without special tokens, int64 [num_samples]."""
        return self.stops - self.starts + self.second_lengths

    @property
    def second_lengths(self) -> np.ndarray:
        """Tokens of each second text, int64 [num_samples]."""
        return self.second_stops - self.second_starts


def pair_documents(
    units: np.ndarray,
    document_offsets: np.ndarray,
    capacity: int,
    generator: np.random.Generator,
    first_document: int = 0,
) -> Spans:
    """Make pairs from the documents from `first_document` on; the others only lend second texts.

    For next-sentence prediction (Devlin et al. 2019, §3.1 and appendix A.2).
    `units`: token offsets int64 [num_units + 1] that cut documents into pieces, mostly
    sentences, of at most `capacity` - 1 tokens; all of `document_offsets`, int64
    [num_documents + 1], are among them. A pair is as many units as fit into `capacity`
    tokens, parted between two units chosen at random. In half of all cases the second
    text is taken from another document instead, and what it replaces opens the next
    pair, so no token is lost.

    Raises `ClozeError` if there is but one document with text.
    """
    edges = units.tolist()
    firsts = np.searchsorted(units, document_offsets).tolist()
    spans = [(a, b) for a, b in itertools.pairwise(firsts) if a < b]
    paired_from = firsts[first_document]
    if len(spans) < 2:
        raise ClozeError(
            "next_sentence takes half of the second texts from another document, but a shard has "
            "only one; lower num_shards"
        )
    draws = _Draws(generator)
    pairs: list[tuple[int, int, int, int, bool]] = []
    for number, (first, last) in enumerate(spans):
        while paired_from <= first < last:
            end = min(bisect.bisect_right(edges, edges[first] + capacity, first + 1) - 1, last)
            parts = end - first
            middle = first + 1 + draws.below(parts - 1) if parts > 1 else end
            if parts > 1 and draws.chance() >= RANDOM_SHARE:
                pairs.append((edges[first], edges[middle], edges[middle], edges[end], True))
                first = end
                continue
            other = (number + 1 + draws.below(len(spans) - 1)) % len(spans)
            start = spans[other][0] + draws.below(spans[other][1] - spans[other][0])
            room = capacity - (edges[middle] - edges[first])
            stop = bisect.bisect_right(edges, edges[start] + room, start, spans[other][1] + 1) - 1
            # Where not even one unit of the other document fits, its first tokens do.
            second_stop = edges[stop] if stop > start else edges[start] + room
            pairs.append((edges[first], edges[middle], edges[start], second_stop, False))
            first = middle
    starts, stops, second_starts, second_stops, is_next = np.array(pairs, np.int64).reshape(-1, 5).T
    return Spans(starts, stops, second_starts, second_stops, is_next.astype(np.bool_))


class _Draws:
    """Random numbers one at a time at the price of a block."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._block: list[float] = []

    def chance(self) -> float:
        if not self._block:
            self._block = self._generator.random(4096).tolist()
        return self._block.pop()

    def below(self, count: int) -> int:
        return int(self.chance() * count)


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
class RowLayout:
    """How samples are framed and packed: lengths in tokens, the vocabulary's special ids."""

    max_length: int
    row_length: int
    vocab_size: int
    special: SpecialIds


class RowBuilder:
    """Frames samples as `[CLS] A [SEP]`, pairs as `[CLS] A [SEP] B [SEP]`, and packs them."""

    def __init__(
        self, method: Method, layout: RowLayout, next_sentence: bool = False, shard: int = 0
    ) -> None:
        """`shard` draws the pairs: equal shards of equal text become equal rows."""
        self._method, self._layout, self._next_sentence = method, layout, next_sentence
        self._generator = np.random.Generator(np.random.Philox(key=shard))
        self._previous: EncodedText | None = None

    def build(self, document_ids: np.ndarray, encoded: EncodedText) -> Rows:
        """Return the rows of some documents; `document_ids` uint32 [num_documents].

        Raises `ClozeError` if pairs are wanted and a second document has never come.
        """
        if not self._next_sentence:
            cuts = self._method.preferred_cuts(encoded)
            capacity = self._layout.max_length - 2
            spans = Spans.single(cut_documents(encoded.document_offsets, capacity, cuts))
            return self._pack(document_ids, encoded, spans)
        lent, current = 0, encoded
        if np.count_nonzero(np.diff(encoded.document_offsets)) == 1 and self._previous:
            lent = len(self._previous.document_offsets) - 1
            encoded = concatenate(self._previous, encoded)
            document_ids = np.concatenate([np.zeros(lent, document_ids.dtype), document_ids])
        self._previous = current
        capacity = self._layout.max_length - 3
        sentences = np.append(np.flatnonzero(encoded.line_starts), len(encoded.input_ids))
        sentences = np.unique(np.append(0, sentences))
        units = cut_documents(sentences, capacity - 1, [encoded.word_starts])
        pairs = pair_documents(units, encoded.document_offsets, capacity, self._generator, lent)
        return self._pack(document_ids, encoded, pairs)

    def _pack(self, document_ids: np.ndarray, encoded: EncodedText, spans: Spans) -> Rows:
        layout, has_second = self._layout, spans.second_lengths > 0
        lengths = spans.lengths + 2 + has_second
        packed = pack_best_fit(lengths, layout.row_length)
        order = np.fromiter(chain.from_iterable(packed), np.int64, len(lengths))
        row_samples = _offsets(np.fromiter(map(len, packed), np.int64, len(packed)))
        sample_offsets = _offsets(lengths[order])
        in_text, sources = _sources(spans, order, sample_offsets)
        opening = sample_offsets[:-1]

        input_ids = np.full(len(in_text), layout.special.sep, id_dtype(layout.vocab_size))
        input_ids[opening] = layout.special.cls
        input_ids[in_text] = encoded.input_ids[sources]
        word_starts = ~in_text
        word_starts[in_text] = encoded.word_starts[sources]
        sentence_starts = np.zeros_like(in_text)
        sentence_starts[opening] = True
        sentence_starts[in_text] = self._method.sentence_starts(encoded)[sources]
        starts = spans.starts[order]
        documents = np.searchsorted(encoded.document_offsets, starts, side="right") - 1
        return Rows(
            max_length=layout.max_length,
            row_length=layout.row_length,
            vocab_size=layout.vocab_size,
            input_ids=input_ids,
            row_offsets=sample_offsets[row_samples],
            sample_offsets=sample_offsets,
            word_starts=word_starts,
            sentence_starts=sentence_starts,
            documents=document_ids[documents],
            second_lengths=(spans.second_lengths + has_second)[order].astype(np.uint32),
            is_next=spans.is_next[order],
        )


def _sources(
    spans: Spans, order: np.ndarray, sample_offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which tokens of the rows are text, bool, and where in the stream each is from."""
    first = (spans.stops - spans.starts)[order]
    second = spans.second_lengths[order]
    opening, closing = sample_offsets[:-1], sample_offsets[1:] - 1
    in_text = np.ones(sample_offsets[-1], np.bool_)
    in_text[opening] = in_text[closing] = in_text[opening + 1 + first] = False
    pieces = np.stack([first, second], axis=1).ravel()
    starts = np.stack([spans.starts[order], spans.second_starts[order]], axis=1).ravel()
    shifts = starts - _offsets(pieces)[:-1]
    return in_text, np.arange(pieces.sum()) + np.repeat(shifts, pieces)


def _offsets(lengths: np.ndarray) -> np.ndarray:
    """Return int64 [len(lengths) + 1]: where pieces of these lengths start, and the end."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
