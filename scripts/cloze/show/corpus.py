"""What a corpus holds and what a data set made of it: all that `corpus.json` holds.

Counted block by block, so that memory does not grow with the corpus.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from cloze.cli import progress
from cloze.corpus.documents import StoredDocument, read_documents
from cloze.errors import ClozeError
from cloze.metrics import read_metrics
from cloze.tokens.loading import iterate_rows
from cloze.tokens.manifest import read_manifest
from cloze.tokens.shards import Rows
from cloze.tokens.tokenizer import load_tokenizer, special_ids

_QUANTILES = {"p5": 0.05, "median": 0.5, "p95": 0.95}
_BINS = 32
_LISTED_TOKENS = 30
# A short document, one in the middle, a long one.
_EXAMPLES_AT = (0.1, 0.5, 0.9)
_SHOWN_SAMPLES = 3
_SHOWN_CHARACTERS = 600
_ORDERED_CHARACTERS = 1 << 15
_PROBE_TOKENS = 16


def describe_corpus(
    documents: Path, dataset: Path, tokenizer_path: Path, recipe: Mapping[str, str]
) -> dict[str, Any]:
    """Return the facts about a corpus and a data set made of it; lengths are in tokens.

    Reads the training rows once, a block at a time. Raises `ClozeError` if a folder lacks
    something or the three do not belong together.
    """
    manifest = read_manifest(dataset)
    tokenizer = load_tokenizer(tokenizer_path)
    special = special_ids(tokenizer)
    statistics = RowStatistics(manifest.vocab_size, special.cls, special.sep)
    examples: list[dict[str, Any]] | None = None
    blocks = iterate_rows(dataset, "train", tokenizer_path)
    for rows in progress(blocks, unit=" blocks", description="describe"):
        if examples is None:
            examples = choose_examples(
                rows, documents / "train.parquet", tokenizer, frozenset({special.cls, special.sep})
            )
        statistics.add(rows)
    corpus = _corpus(documents)
    splits = {
        name: {
            **corpus["splits"][name],
            **{key: getattr(split, key) for key in ("rows", "samples", "tokens")},
        }
        if (split := manifest.splits.get(name))
        else corpus["splits"][name]
        for name in corpus["splits"]
    }
    text_tokens = statistics.own_tokens
    train = manifest.splits["train"]
    tokens = [tokenizer.id_to_token(token_id) for token_id in range(manifest.vocab_size)]
    return {
        "recipe": dict(recipe),
        "method": manifest.method,
        "max_length": manifest.max_length,
        "row_length": manifest.row_length,
        "splits": splits,
        "text_tokens": text_tokens,
        "tokens_per_word": text_tokens / max(splits["train"]["words"], 1),
        "bytes_per_token": train.text_bytes / max(text_tokens, 1),
        "row_fill": train.tokens / max(train.rows * manifest.row_length, 1),
        "cut_sentences": None if manifest.method == "split_tokens" else statistics.cut_sentences,
        "pairs": {"count": statistics.pairs, "is_next": statistics.true_pairs},
        "lengths": describe_lengths(statistics, manifest.max_length, manifest.row_length),
        "vocabulary": describe_vocabulary(statistics.tokens, tokens, special.all, special.unk),
        "dropped": corpus["dropped"],
        "duplicates": corpus["dropped"].get("duplicate", 0),
        "examples": examples or [],
    }


def _corpus(documents: Path) -> dict[str, Any]:
    """Return what extract_documents.py counted."""
    path = documents / "metrics.json"
    metrics = read_metrics(path)["metrics"]
    for key in ("splits", "dropped"):
        if key not in metrics:
            raise ClozeError(f"{path}: has no {key!r}; make it with extract_documents.py")
    return dict(metrics)


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
    counts: np.ndarray, tokens: Sequence[str | None], special: Iterable[int], unknown: int | None
) -> dict[str, Any]:
    """Return how a vocabulary is used: int64 `counts` and `tokens`, both [vocab_size].

    Special tokens, and ids without a token, take no part but for the share of `unknown`, which
    is None where nothing can be.
    """
    ordinary = np.array([token is not None for token in tokens])
    ordinary[list(special)] = False
    ids = np.flatnonzero(ordinary)
    order = ids[np.lexsort((ids, -counts[ids]))]
    used = order[counts[order] > 0]
    unused = order[len(used) :]
    unknown_tokens = 0 if unknown is None else int(counts[unknown])
    total = int(counts[used].sum()) + unknown_tokens

    def listed(chosen: np.ndarray) -> list[dict[str, Any]]:
        return [{"token": tokens[i], "id": int(i), "count": int(counts[i])} for i in chosen]

    return {
        "size": len(counts),
        "used": len(used),
        "never_used": len(unused),
        "unknown_tokens": unknown_tokens,
        "unknown_share": unknown_tokens / max(total, 1),
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


def choose_examples(
    rows: Rows, documents: Path, tokenizer: Tokenizer, special: frozenset[int]
) -> list[dict[str, Any]]:
    """Return documents from the first rows of a split with the beginning of their samples.

    Each has `document_id`, `source`, `title`, `text` (its beginning), `characters`, `tokens`,
    `num_samples` and `samples`: the first in the order of the text, each with its `row`, its
    `place` in it, and `tokens`: a dictionary of `token`, `id`, and whether it `starts_word`,
    `starts_sentence`, `is_special`.
    """
    ids, numbers = np.unique(rows.documents, return_inverse=True)
    lengths = np.bincount(numbers, own_text_lengths(rows))
    by_length = np.lexsort((ids, lengths))
    chosen = {int(ids[by_length[int(share * (len(ids) - 1))]]) for share in _EXAMPLES_AT}
    examples = []
    for document in read_documents(documents):
        if document.document_id in chosen:
            chosen.remove(document.document_id)
            examples.append(_example(document, rows, tokenizer, special))
        if not chosen:
            break
    return sorted(examples, key=lambda example: example["tokens"])


def _example(
    document: StoredDocument, rows: Rows, tokenizer: Tokenizer, special: frozenset[int]
) -> dict[str, Any]:
    samples = np.flatnonzero(rows.documents == document.document_id)
    text_ids = tokenizer.encode(document.text[:_ORDERED_CHARACTERS], add_special_tokens=False).ids
    ordered = sorted(samples.tolist(), key=lambda sample: _place_in_text(sample, rows, text_ids))
    shown = [_sample(sample, rows, tokenizer, special) for sample in ordered[:_SHOWN_SAMPLES]]
    return {
        "document_id": document.document_id,
        "source": document.source,
        "title": document.title,
        "text": document.text[:_SHOWN_CHARACTERS],
        "characters": len(document.text),
        "tokens": int(own_text_lengths(rows)[samples].sum()),
        "num_samples": len(samples),
        "samples": shown,
    }


def _place_in_text(sample: int, rows: Rows, text_ids: list[int]) -> int:
    """Return where a sample's first tokens stand in the text; rows do not keep the order.

    The end of the text for tokens that are not found there.
    """
    start, stop = rows.sample_offsets[sample] + 1, rows.sample_offsets[sample + 1] - 1
    probe = rows.input_ids[start:stop][:_PROBE_TOKENS].astype("<u4").tobytes()
    text = np.array(text_ids, "<u4").tobytes()
    found = text.find(probe)
    while found % 4 and found >= 0:
        found = text.find(probe, found + 1)
    return found if found >= 0 else len(text)


def _sample(
    sample: int, rows: Rows, tokenizer: Tokenizer, special: frozenset[int]
) -> dict[str, Any]:
    start, stop = rows.sample_offsets[sample : sample + 2].tolist()
    row = int(np.searchsorted(rows.row_offsets, start, side="right")) - 1
    first = int(np.searchsorted(rows.sample_offsets, rows.row_offsets[row]))
    tokens = [
        {
            "token": tokenizer.id_to_token(token_id),
            "id": token_id,
            "starts_word": bool(rows.word_starts[start + place]),
            "starts_sentence": bool(rows.sentence_starts[start + place]),
            "is_special": token_id in special,
        }
        for place, token_id in enumerate(rows.input_ids[start:stop].tolist())
    ]
    return {"row": row, "place": sample - first, "tokens": tokens}
