"""Pairs of texts for next-sentence prediction (Devlin et al. 2019, §3.1 and appendix A.2)."""

import bisect
import itertools
from dataclasses import dataclass

import numpy as np

from cloze.errors import ClozeError

RANDOM_SHARE = 0.5


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
