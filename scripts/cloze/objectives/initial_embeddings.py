"""PMI-initialised embeddings, and the head that goes with them.

Early in pretraining a masked language model mostly learns what a few passes over the text
can count. Positive pointwise mutual information with a smoothed context distribution
(Levy, Goldberg and Dagan 2015, §3) is counted in seconds; the leading singular vectors of
that matrix, found by subspace iteration from random directions (Halko, Martinsson and Tropp
2011, alg. 4.4), are embeddings in which like tokens are neighbours from the first step on. The
head's norm and bias are set so that the first guesses follow each token's frequency.

A run must not begin elsewhere because its machine was busy: each sum is taken in an order that
no number of threads changes, and what the last digits could still turn is fixed or rounded away.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from cloze.tokens.shards import Rows

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
# The matrix is multiplied in stripes, side by side, and their results are added in order.
_STRIPES = 8
_ROWS_AT_ONCE = 256
# Singular values below this share of the largest are rounding.
_SMALLEST_VALUE = 1e-5
# What is drawn is small beside what is counted.
_DRAWN_SCALE = 0.2
_RESOLUTION = 2.0**-12


def cooccurrence_embeddings(
    rows: Rows, special_token_ids: frozenset[int], hidden_size: int, seed: int
) -> Tensor:
    """Return embeddings, float32 [V, hidden_size] with standard deviation 0.3.

    Counts at most 2^25 tokens, spread evenly over `rows`, within samples and without
    special tokens; the contexts are the most frequent tokens, as many as keep the matrix
    at 2^27 entries (512 MiB). Special tokens, tokens that never occur or stand near nothing
    oftener than chance, and directions beyond the matrix's rank are drawn at random from
    `seed`, which also draws the projections.

    Values are multiples of 2^-12, the same for any number of threads.
    """
    generator = torch.Generator().manual_seed(seed)
    with _one_thread_an_operation() as threads:
        counts = _count(rows, special_token_ids)
        association = _positive_pmi(counts)
        # The factors of an empty row are rounding noise, not zeros, so the matrix tells it.
        is_known = association.amax(1) > 0
        rank = min(hidden_size, *association.shape)
        factors = _leading_factors(association, rank, generator, threads)[is_known]
        embeddings = _normal((rows.vocab_size, hidden_size), generator)
        embeddings *= factors.std() * _DRAWN_SCALE if factors.numel() else 1.0
        embeddings[is_known, : factors.shape[1]] = factors
        embeddings *= STANDARD_DEVIATION / embeddings.std()
        return embeddings.div_(_RESOLUTION).round_().mul_(_RESOLUTION).float()


def head_scale(hidden_size: int) -> float:
    """Return a scale of the head's norm with which the embeddings hardly tilt the first guesses.

    The head's output is the embeddings' transpose, so its logits would start with a standard
    deviation of 0.3·√hidden_size and the loss several times above ln V; here it is 0.5.
    """
    return _FIRST_LOGITS / (STANDARD_DEVIATION * math.sqrt(hidden_size))


def unigram_log_probabilities(rows: Rows, special_token_ids: frozenset[int]) -> np.ndarray:
    """Return float64 [V], the logarithm of each token's share of the rows' tokens.

    What a model knows of a text before it reads any context: the bias of its predictions. With
    add-one smoothing, and as if special tokens, which are never predicted, did not occur.
    """
    counts = np.bincount(rows.input_ids, minlength=rows.vocab_size) + 1.0
    counts[sorted(special_token_ids)] = 1.0
    return np.asarray(np.log(counts / counts.sum()))


@contextlib.contextmanager
def _one_thread_an_operation() -> Iterator[int]:
    """Keep PyTorch from splitting sums among threads; yields how many there were."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


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
    """Turn counts [V, C] into max(0, log P(t, c) / (P(t) P(c)^0.75)) in place.

    Values are multiples of 2^-12, too.
    """
    tokens = counts.sum(1, keepdim=True).clamp_(min=1e-9)
    contexts = counts.sum(0).pow_(CONTEXT_SMOOTHING)
    contexts = (contexts / contexts.sum().clamp_(min=1e-9)).clamp_(min=1e-12)
    for part in counts.div_(tokens).div_(contexts).clamp_(min=1.0).split(_ROWS_AT_ONCE):
        # The last digit of a logarithm is another from one processor's code to the other's.
        part.copy_(part.double().log_().div_(_RESOLUTION).round_().mul_(_RESOLUTION))
    return counts


def _leading_factors(matrix: Tensor, rank: int, generator: torch.Generator, threads: int) -> Tensor:
    """Return U·√S, float64 [V, R], of the matrix's leading singular vectors and values.

    R is `rank`, or that of the matrix if it is less. The largest entry of a column is positive.
    """

    def gram_product(stripe: Tensor) -> Tensor:
        total = torch.zeros_like(directions)
        for block in _doubles(stripe):
            total.addmm_(block.T, block @ directions)
        return total

    def product(stripe: Tensor) -> Tensor:
        return torch.cat([block @ directions for block in _doubles(stripe)])

    directions = _normal((matrix.shape[1], min(rank + _EXTRA_DIRECTIONS, *matrix.shape)), generator)
    zeros = torch.zeros_like(directions)
    for _ in range(_POWER_ITERATIONS):
        directions = torch.linalg.qr(sum(_by_stripes(gram_product, matrix, threads), zeros)).Q
    image = torch.cat(list(_by_stripes(product, matrix, threads)))
    squares, right = torch.linalg.eigh(image.T @ image)
    values = squares.clamp(min=0).sqrt().flip(0)
    rank = min(rank, int((values > _SMALLEST_VALUE * values[0]).sum()))
    factors = image @ right.flip(1)[:, :rank] / values[:rank].sqrt()
    largest = factors.gather(0, factors.abs().argmax(0, keepdim=True))
    return factors * largest.sign()


def _by_stripes(
    product: Callable[[Tensor], Tensor], matrix: Tensor, threads: int
) -> Iterator[Tensor]:
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(product, matrix.chunk(_STRIPES))


def _doubles(stripe: Tensor) -> Iterator[Tensor]:
    return (block.double() for block in stripe.split(_ROWS_AT_ONCE))


def _normal(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)
