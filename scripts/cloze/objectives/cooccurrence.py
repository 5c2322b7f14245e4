"""Token embeddings to start from: a factorisation of which tokens stand near which.

Early in pretraining a masked language model mostly learns what a few passes over the text
can count. Positive pointwise mutual information with a smoothed context distribution
(Levy, Goldberg and Dagan 2015, §3) is counted in seconds; the leading singular vectors of
that matrix, found at random projections (Halko, Martinsson and Tropp 2011, alg. 4.4), are
embeddings in which like tokens are neighbours from the first step on.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from cloze.tokens.shards import Rows

EMBEDDING_INITS = ("cooccurrence", "random")

WINDOW = 5
CONTEXT_SMOOTHING = 0.75
# Much larger than the usual 0.02: at that scale AdamW's first steps would wash the counted
# structure out.
STANDARD_DEVIATION = 0.3
_FIRST_LOGITS = 0.5
_MATRIX_ENTRIES = 2**27
_COUNTED_TOKENS = 2**25
_TOKENS_AT_ONCE = 2**20
_EXTRA_DIRECTIONS = 32
_POWER_ITERATIONS = 3
# Singular values below this share of the largest are rounding.
_SMALLEST_VALUE = 1e-5
# What is drawn is small beside what is counted.
_DRAWN_SCALE = 0.2


def cooccurrence_embeddings(
    rows: Rows, special_token_ids: frozenset[int], hidden_size: int, seed: int
) -> Tensor:
    """Return embeddings, float32 [V, hidden_size] with standard deviation 0.3.

    Counts at most 2^25 tokens, spread evenly over `rows`, within samples and without
    special tokens; the contexts are the most frequent tokens, as many as keep the matrix
    at 2^27 entries (512 MiB). Special tokens, tokens that never occur or stand near nothing
    oftener than chance, and directions beyond the matrix's rank are drawn at random from
    `seed`, which also draws the projections.
    """
    generator = torch.Generator().manual_seed(seed)
    counts = _count(rows, special_token_ids)
    association = _positive_pmi(counts)
    # The factors of an empty row are rounding noise, not zeros, so the matrix tells it.
    is_known = association.amax(1) > 0
    factors = _leading_factors(association, min(hidden_size, *association.shape), generator)
    factors = factors[is_known]
    embeddings = torch.randn(rows.vocab_size, hidden_size, generator=generator)
    embeddings *= factors.std() * _DRAWN_SCALE if factors.numel() else 1.0
    embeddings[is_known, : factors.shape[1]] = factors
    return embeddings * (STANDARD_DEVIATION / embeddings.std())


def head_scale(hidden_size: int) -> float:
    """Return a scale of the head's norm with which the embeddings hardly tilt the first guesses.

    The head's output is the embeddings' transpose, so its logits would start with a standard
    deviation of 0.3·√hidden_size and the loss several times above ln V; here it is 0.5.
    """
    return _FIRST_LOGITS / (STANDARD_DEVIATION * math.sqrt(hidden_size))


def _count(rows: Rows, special_token_ids: frozenset[int]) -> Tensor:
    """Return float32 [V, C], how often each context stands near each token.

    A neighbour at distance k of a window of w counts (w + 1 − k) / w.
    """
    contexts = min(rows.vocab_size, _MATRIX_ENTRIES // rows.vocab_size)
    column = _context_columns(rows, special_token_ids, contexts)
    counts = torch.zeros(rows.vocab_size * contexts)
    for input_ids, samples in _ordinary_tokens(rows, special_token_ids):
        for distance in range(1, WINDOW + 1):
            together = samples[:-distance] == samples[distance:]
            left, right = input_ids[:-distance][together], input_ids[distance:][together]
            weight = (WINDOW + 1 - distance) / WINDOW
            for token, context in ((left, right), (right, left)):
                column_of = column[context]
                cell = (token * contexts + column_of)[column_of >= 0]
                weights = torch.full((len(cell),), weight)
                counts.index_add_(0, torch.from_numpy(cell), weights)
    return counts.view(rows.vocab_size, contexts)


def _context_columns(rows: Rows, special_token_ids: frozenset[int], contexts: int) -> np.ndarray:
    """Return each token's column in the matrix, int64 [V]; −1 for a token that has none."""
    frequency = np.zeros(rows.vocab_size, dtype=np.int64)
    for input_ids, _ in _ordinary_tokens(rows, special_token_ids):
        frequency += np.bincount(input_ids, minlength=rows.vocab_size)
    column = np.full(rows.vocab_size, -1, dtype=np.int64)
    column[np.argsort(-frequency, kind="stable")[:contexts]] = np.arange(contexts)
    return column


def _ordinary_tokens(
    rows: Rows, special_token_ids: frozenset[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield stretches of whole rows: token ids and sample numbers, int64 [n] each."""
    is_special = np.zeros(rows.vocab_size, dtype=bool)
    is_special[sorted(special_token_ids)] = True
    num_rows = len(rows.row_offsets) - 1
    stride = max(1, -(-int(rows.row_offsets[-1]) // _COUNTED_TOKENS))
    rows_at_once = max(1, _TOKENS_AT_ONCE // rows.row_length)
    for number, first in enumerate(range(0, num_rows, rows_at_once)):
        if number % stride:
            continue
        start = int(rows.row_offsets[first])
        end = int(rows.row_offsets[min(first + rows_at_once, num_rows)])
        input_ids = np.asarray(rows.input_ids[start:end]).astype(np.int64)
        samples = np.searchsorted(rows.sample_offsets, np.arange(start, end), side="right")
        ordinary = ~is_special[input_ids]
        yield input_ids[ordinary], samples[ordinary]


def _positive_pmi(counts: Tensor) -> Tensor:
    """Turn counts [V, C] into max(0, log P(t, c) / (P(t) P(c)^0.75)) in place."""
    tokens = counts.sum(1, keepdim=True).clamp_(min=1e-9)
    contexts = counts.sum(0).pow_(CONTEXT_SMOOTHING)
    contexts = (contexts / contexts.sum().clamp_(min=1e-9)).clamp_(min=1e-12)
    # Row by row of the matrix, so that no second one is made.
    return counts.div_(tokens).div_(contexts).clamp_(min=1.0).log_()


def _leading_factors(matrix: Tensor, rank: int, generator: torch.Generator) -> Tensor:
    """Return U·√S, float32 [V, R], of the matrix's leading singular vectors and values.

    R is `rank`, or that of the matrix if it is less.
    """
    directions = min(rank + _EXTRA_DIRECTIONS, *matrix.shape)
    basis = matrix @ torch.randn(matrix.shape[1], directions, generator=generator)
    for _ in range(_POWER_ITERATIONS):
        basis = torch.linalg.qr(matrix @ torch.linalg.qr(matrix.T @ basis).Q).Q
    left, values, _ = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    rank = min(rank, int((values > _SMALLEST_VALUE * values[0]).sum()))
    return (basis @ left[:, :rank]) * values[:rank].sqrt()
