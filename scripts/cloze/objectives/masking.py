"""Dynamic masks as a pure function of (seed, step, row of the global batch)."""

import copy
from dataclasses import dataclass

import numpy as np

MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1
_COLUMNS = np.uint64((1 << 20) - 1)
# Philox makes its 64-bit numbers four at a time.
_NUMBERS_PER_COUNT = 4


@dataclass(frozen=True)
class MaskedTokens:
    """What the masked-language-modelling loss needs; B rows of L tokens, M predictions.

    `input_ids` int64 [B, L] after corruption, `positions` int64 [B, M], `labels` int64
    [B, M] (the original ids) and `weights` float32 [B, M]: 1 for a prediction, 0 for
    the filling of a row that has fewer.
    """

    input_ids: np.ndarray
    positions: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def counter_generator(seed: int, counter: int) -> np.random.Generator:
    """Return the random stream number `counter` of `seed` (Philox, Salmon et al. 2011)."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, counter], dtype=np.uint64)))


def random_rows(seed: int, step: int, first_row: int, shape: tuple[int, int]) -> np.ndarray:
    """Return random uint64 [rows, numbers], rows `first_row`, … of the draw of (seed, step).

    A row is the same whatever rows are asked for with it.
    """
    rows, numbers = shape
    counts = -(-numbers // _NUMBERS_PER_COUNT)
    key = np.array([seed, step], dtype=np.uint64)
    stream = np.random.Philox(key=key, counter=first_row * counts)
    drawn = stream.random_raw(rows * counts * _NUMBERS_PER_COUNT)
    return drawn.reshape(rows, counts * _NUMBERS_PER_COUNT)[:, :numbers]


class Masker:
    """Chooses and corrupts tokens as Devlin et al. 2019, §3.1: 80 % mask, 10 % random, 10 % kept.

    Of each row's ordinary tokens a fixed share is predicted, so every batch has the same
    shape. Special tokens are neither predicted nor drawn as replacements.

    With `whole_words` all tokens of a word are predicted or none: words are taken in random
    order, one that would exceed the row's share is left out (as the original BERT's
    `create_pretraining_data.py` does), so a row may have a few predictions less. What
    becomes of each token is still drawn by itself.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        mask_token_id: int,
        special_token_ids: frozenset[int],
        mlm_probability: float,
        max_length: int,
        seed: int,
        whole_words: bool = False,
    ) -> None:
        self.whole_words = whole_words
        self._mask_token_id = mask_token_id
        self._is_special = np.zeros(vocab_size, dtype=bool)
        self._is_special[sorted(special_token_ids)] = True
        self._ordinary_ids = np.flatnonzero(~self._is_special)
        self._max_length, self._seed = max_length, seed
        self._set_probability(mlm_probability)

    def _set_probability(self, mlm_probability: float) -> None:
        self._mlm_probability = mlm_probability
        self.predictions_per_row = max(1, round(mlm_probability * self._max_length))

    def with_probability(self, mlm_probability: float) -> "Masker":
        """Return the same masker at another rate."""
        other = copy.copy(self)
        other._set_probability(mlm_probability)
        return other

    def num_predictions(
        self,
        input_ids: np.ndarray,
        valid: np.ndarray,
        step: int,
        first_row: int = 0,
        word_starts: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return how many tokens of each row `mask` predicts, int64 [B]."""
        eligible = valid & ~self._is_special[input_ids]
        if not self.whole_words:
            return self._wanted(eligible)
        drawn = self._draw(step, first_row, eligible.shape)
        return self._candidates(drawn, eligible, word_starts).sum(axis=1)

    def _wanted(self, eligible: np.ndarray) -> np.ndarray:
        """Return the number of predictions that each row's share amounts to, int64 [B]."""
        counts = eligible.sum(axis=1)
        wanted = np.maximum(1, np.rint(counts * self._mlm_probability)).astype(np.int64)
        return np.where(counts > 0, wanted, 0)

    def _draw(self, step: int, first_row: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return random numbers: one for each column, then one for each prediction."""
        num_rows, length = shape
        width = min(self.predictions_per_row, length)
        return random_rows(self._seed, step, first_row, (num_rows, length + width))

    def _candidates(
        self, drawn: np.ndarray, eligible: np.ndarray, word_starts: np.ndarray | None
    ) -> np.ndarray:
        """Return the tokens that may be predicted, bool [B, L]: all, or those of chosen words."""
        if not self.whole_words:
            return eligible
        assert word_starts is not None
        return _whole_words(drawn, eligible, word_starts, self._wanted(eligible))

    def mask(
        self,
        input_ids: np.ndarray,
        valid: np.ndarray,
        step: int,
        first_row: int = 0,
        word_starts: np.ndarray | None = None,
    ) -> MaskedTokens:
        """Mask rows `first_row`, `first_row + 1`, … of the global batch of a step.

        `input_ids` int [B, L] and `valid` bool [B, L] (False on padding); `word_starts`
        bool [B, L], which only `whole_words` needs. The masks of a row do not depend on
        the rows it comes with.
        """
        input_ids = input_ids.astype(np.int64, copy=False)
        eligible = valid & ~self._is_special[input_ids]
        length = input_ids.shape[1]
        width = min(self.predictions_per_row, length)
        drawn = self._draw(step, first_row, input_ids.shape)
        candidates = self._candidates(drawn, eligible, word_starts)
        positions = _random_columns(drawn[:, :length], candidates)[:, :width]
        predictions = np.minimum(self._wanted(eligible), candidates.sum(axis=1))
        weights = np.arange(width)[None, :] < predictions[:, None]

        labels = np.take_along_axis(input_ids, positions, axis=1)
        replacement = self._replacements(drawn[:, length:], labels)
        corrupted = input_ids.copy()
        np.put_along_axis(corrupted, positions, np.where(weights, replacement, labels), axis=1)
        return MaskedTokens(corrupted, positions, labels, weights.astype(np.float32))

    def _replacements(self, drawn: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return what stands at the predicted positions, int64 [B, M], from as many numbers.

        The upper half of a number decides between the three, the lower half draws the
        token; its bias is the size of the vocabulary over 2³².
        """
        action = (drawn >> np.uint64(32)).astype(np.float64) / 2**32
        lower = drawn & np.uint64(0xFFFFFFFF)
        index = (lower * np.uint64(len(self._ordinary_ids))) >> np.uint64(32)
        random_ids = self._ordinary_ids[index.astype(np.int64)]
        kept_or_random = np.where(action < MASKED_SHARE + RANDOM_SHARE, random_ids, labels)
        return np.where(action < MASKED_SHARE, self._mask_token_id, kept_or_random)


def _random_columns(drawn: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """Return the columns of each row in random order, int64 [B, L], eligible ones first."""
    if eligible.shape[1] > int(_COLUMNS):
        raise ValueError(f"rows of {eligible.shape[1]} tokens; {int(_COLUMNS)} are possible")
    columns = np.arange(eligible.shape[1], dtype=np.uint64)
    # The column in the low bits saves an argsort; the last bits of the order are not missed.
    keys = (np.where(eligible, drawn, ~np.uint64(0)) & ~_COLUMNS) | columns
    keys.sort(axis=1)
    return (keys & _COLUMNS).astype(np.int64)


def _whole_words(
    drawn: np.ndarray, eligible: np.ndarray, word_starts: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Return the tokens, bool [B, L], of words in random order that come to at most `wanted`.

    `drawn` uint64 [B, at least L]; `wanted` int64 [B]. A word ends before the next one and
    before any token that is not eligible.
    """
    num_rows, length = eligible.shape
    follows = np.zeros_like(eligible)
    follows[:, 1:] = eligible[:, :-1]
    is_start = eligible & (word_starts | ~follows)
    word = is_start.cumsum(axis=1) - 1
    flat = (np.arange(num_rows)[:, None] * length + np.maximum(word, 0))[eligible]
    sizes = np.bincount(flat, minlength=num_rows * length).reshape(num_rows, length)
    num_words = is_start.sum(axis=1)
    order = np.take_along_axis(word, _random_columns(drawn[:, :length], is_start), axis=1)
    chosen = np.zeros_like(eligible)
    row, left = np.arange(num_rows), wanted.copy()
    for nth in range(int(num_words.max(initial=0))):
        candidate = order[:, nth]
        size = sizes[row, candidate]
        fits = (nth < num_words) & (size <= left)
        chosen[row, candidate] |= fits
        left -= np.where(fits, size, 0)
        if not left.any():
            break
    return eligible & np.take_along_axis(chosen, np.maximum(word, 0), axis=1)
