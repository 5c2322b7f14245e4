"""What a corpus holds and what a data set made of it: counted block by block."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cloze.tokens.shards import Rows

_QUANTILES = {"p5": 0.05, "median": 0.5, "p95": 0.95}
_BINS = 32
_LISTED_TOKENS = 30


class Distribution:
    """How often each length occurred; memory grows with the different lengths alone."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, lengths: np.ndarray) -> None:
        """Count some more lengths: integers [any]."""
        values, counts = np.unique(lengths, return_counts=True)
        self._counts.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))

    def summary(self) -> dict[str, float] | None:
        """Return count, mean, min, quantiles and max, or None if nothing was counted."""
        if not self._counts:
            return None
        lengths, counts = self._sorted()
        ends = np.cumsum(counts)
        total = int(ends[-1])
        places = {name: np.searchsorted(ends, share * total) for name, share in _QUANTILES.items()}
        return {
            "count": total,
            "mean": float((lengths * counts).sum() / total),
            "min": int(lengths[0]),
            **{name: int(lengths[place]) for name, place in places.items()},
            "max": int(lengths[-1]),
        }

    def histogram(self, edges: Sequence[int]) -> list[int]:
        """Return how many lengths lie in each bin `edges[i] <= length < edges[i + 1]`."""
        if not self._counts:
            return [0] * (len(edges) - 1)
        lengths, counts = self._sorted()
        return np.histogram(lengths, edges, weights=counts)[0].astype(np.int64).tolist()

    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        pairs = np.array(sorted(self._counts.items()), np.int64)
        return pairs[:, 0], pairs[:, 1]


def own_text_lengths(rows: Rows) -> np.ndarray:
    """Return the tokens of each sample that are its document's own text: int64 [num_samples].

    The second text of a pair is, unless it was taken from another document.
    """
    second = rows.second_lengths.astype(np.int64)
    first = np.diff(rows.sample_offsets) - second - 2
    return first + np.where(rows.is_next, second - 1, 0)


@dataclass
class RowStatistics:
    """Counts over the rows of one split; `cls` and `sep` are the ids of what frames a sample."""

    vocab_size: int
    cls: int
    sep: int
    documents: Distribution = field(default_factory=Distribution)
    sentences: Distribution = field(default_factory=Distribution)
    samples: Distribution = field(default_factory=Distribution)
    rows: Distribution = field(default_factory=Distribution)
    cut_sentences: int = 0
    pairs: int = 0
    true_pairs: int = 0
    own_tokens: int = 0
    tokens: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = np.zeros(self.vocab_size, np.int64)

    def add(self, rows: Rows) -> None:
        """Count the rows of a block; a document's samples must lie in one block."""
        ids = rows.input_ids
        self.tokens += np.bincount(ids, minlength=self.vocab_size)
        is_frame = (ids == self.cls) | (ids == self.sep)
        self.rows.add(np.diff(rows.row_offsets))
        self.samples.add(np.diff(rows.sample_offsets))
        _, numbers = np.unique(rows.documents, return_inverse=True)
        own = own_text_lengths(rows)
        self.documents.add(np.bincount(numbers, own).astype(np.int64))
        self.own_tokens += int(own.sum())
        self.pairs += int(np.count_nonzero(rows.second_lengths))
        self.true_pairs += int(np.count_nonzero(rows.is_next))
        starts = rows.sentence_starts & ~is_frame
        bounds = np.flatnonzero(starts | is_frame)
        self.sentences.add(np.diff(bounds)[starts[bounds[:-1]]])
        self.cut_sentences += int(np.count_nonzero(~starts[rows.sample_offsets[:-1] + 1]))


def describe_lengths(
    statistics: RowStatistics, max_length: int, row_length: int
) -> dict[str, dict[str, Any]]:
    """Return summary and histogram of documents, sentences, samples and rows, in tokens.

    Documents have bins each wider than the one before it by the same factor, so that a note
    and a novel both show.
    """
    bins = {
        "document": _growing_bins(statistics.documents.summary()),
        "sentence": _even_bins(max_length),
        "sample": _even_bins(max_length),
        "row": _even_bins(row_length),
    }
    distributions = (
        statistics.documents, statistics.sentences, statistics.samples, statistics.rows,
    )  # fmt: skip
    return {
        name: {
            "summary": distribution.summary(),
            "edges": edges,
            "counts": distribution.histogram(edges),
        }
        for (name, edges), distribution in zip(bins.items(), distributions, strict=True)
    }


def _growing_bins(summary: dict[str, float] | None) -> list[int]:
    """Edges from the shortest length to just above the longest."""
    if summary is None:
        return [0, 1]
    edges = np.geomspace(max(summary["min"], 1), summary["max"] + 1, _BINS + 1)
    return sorted({*edges.round().astype(int).tolist(), int(summary["min"])})


def _even_bins(longest: int) -> list[int]:
    """Edges from 1 to just above `longest`; the last bin ends with it, however wide the first."""
    width = -(-longest // _BINS)
    return sorted({max(1, longest + 1 - width * number) for number in range(_BINS + 1)})


def describe_vocabulary(
    counts: np.ndarray, tokens: Sequence[str | None], special: Iterable[int], unknown: int
) -> dict[str, Any]:
    """Return how a vocabulary is used: int64 `counts` and `tokens`, both [vocab_size].

    Special tokens, and ids without a token, take no part but for the share of `unknown`.
    """
    ordinary = np.array([token is not None for token in tokens])
    ordinary[list(special)] = False
    ids = np.flatnonzero(ordinary)
    order = ids[np.lexsort((ids, -counts[ids]))]
    used = order[counts[order] > 0]
    unused = order[len(used) :]
    total = int(counts[used].sum() + counts[unknown])

    def listed(chosen: np.ndarray) -> list[dict[str, Any]]:
        return [{"token": tokens[i], "id": int(i), "count": int(counts[i])} for i in chosen]

    return {
        "size": len(counts),
        "used": len(used),
        "never_used": len(unused),
        "unknown_tokens": int(counts[unknown]),
        "unknown_share": int(counts[unknown]) / max(total, 1),
        "most_frequent": listed(used[:_LISTED_TOKENS]),
        "least_frequent": listed(used[: -_LISTED_TOKENS - 1 : -1]),
        "never_used_examples": listed(unused[:_LISTED_TOKENS]),
        "frequency_by_rank": _by_rank(counts[used]),
    }


def _by_rank(counts: np.ndarray) -> list[list[int]]:
    """Return `[rank, count]` at ranks that grow by a tenth, which is even on a logarithmic axis."""
    if not len(counts):
        return []
    ranks = np.unique(np.geomspace(1, len(counts), 96).round().astype(np.int64))
    return [[int(rank), int(counts[rank - 1])] for rank in ranks]
