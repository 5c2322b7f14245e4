"""Dynamic masks as a pure function of (seed, step, position in the batch)."""

from dataclasses import dataclass

import numpy as np

MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1


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


class Masker:
    """Chooses and corrupts tokens as Devlin et al. 2019, §3.1: 80 % mask, 10 % random, 10 % kept.

    Of each row's ordinary tokens a fixed share is predicted, so every batch has the same
    shape. Special tokens are neither predicted nor drawn as replacements.
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
    ) -> None:
        self._mask_token_id = mask_token_id
        self._is_special = np.zeros(vocab_size, dtype=bool)
        self._is_special[sorted(special_token_ids)] = True
        self._ordinary_ids = np.flatnonzero(~self._is_special)
        self._mlm_probability = mlm_probability
        self.predictions_per_row = max(1, round(mlm_probability * max_length))
        self._seed = seed

    def mask(
        self, input_ids: np.ndarray, valid: np.ndarray, step: int, row_slice: slice = slice(None)
    ) -> MaskedTokens:
        """Mask one global batch, or the rows `row_slice` of it.

        `input_ids` int [B, L] and `valid` bool [B, L] (False on padding) hold the whole
        global batch, so a row's mask does not depend on who computes it.
        """
        generator = counter_generator(self._seed, step)
        order = generator.random(input_ids.shape, dtype=np.float32)
        action = generator.random(input_ids.shape, dtype=np.float32)
        random_ids = self._ordinary_ids[
            generator.integers(len(self._ordinary_ids), size=input_ids.shape)
        ]
        return self._corrupt(
            input_ids[row_slice].astype(np.int64),
            valid[row_slice],
            order[row_slice],
            action[row_slice],
            random_ids[row_slice],
        )

    def _corrupt(
        self,
        input_ids: np.ndarray,
        valid: np.ndarray,
        order: np.ndarray,
        action: np.ndarray,
        random_ids: np.ndarray,
    ) -> MaskedTokens:
        eligible = valid & ~self._is_special[input_ids]
        counts = eligible.sum(axis=1)
        wanted = np.where(counts > 0, np.maximum(1, np.rint(counts * self._mlm_probability)), 0)
        order = np.where(eligible, order, 2.0)
        positions = np.argsort(order, axis=1, kind="stable")[:, : self.predictions_per_row]
        weights = np.arange(positions.shape[1])[None, :] < wanted[:, None]

        labels = np.take_along_axis(input_ids, positions, axis=1)
        draw = np.take_along_axis(action, positions, axis=1)
        replacement = np.where(
            draw < MASKED_SHARE,
            self._mask_token_id,
            np.where(
                draw < MASKED_SHARE + RANDOM_SHARE,
                np.take_along_axis(random_ids, positions, axis=1),
                labels,
            ),
        )
        corrupted = input_ids.copy()
        np.put_along_axis(corrupted, positions, np.where(weights, replacement, labels), axis=1)
        return MaskedTokens(corrupted, positions, labels, weights.astype(np.float32))
