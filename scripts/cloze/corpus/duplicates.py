"""Which keys occurred before, and with which number first."""

import numpy as np


class FirstNumbers:
    """Remembers the first number of each key, vectorised, in few bytes.

    A key of 8 bytes and its number take 12 bytes, 24 while the largest of the sorted runs
    is merged with a newer one; each run is at least twice as long as the next.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, keys: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Take in keys, in order; return the number that each one came with first.

        `keys`: any unsigned type, always the same, [num_keys]. `numbers`: uint32
        [num_keys], as is the result, which for a new key is its own number.
        """
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        holders = self.find(distinct)
        unknown = holders < 0
        holders[unknown] = numbers[first[unknown]]
        self._store(distinct[unknown], holders[unknown].astype(np.uint32))
        return holders[inverse].astype(np.uint32)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return int64 [num_keys]: the first number of each key, -1 where it is unknown."""
        found = np.full(len(keys), -1, dtype=np.int64)
        for run, numbers in self._runs:
            at = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            found = np.where(run[at] == keys, numbers[at], found)
        return found

    def _store(self, keys: np.ndarray, numbers: np.ndarray) -> None:
        if not len(keys):
            return
        self._runs.append((keys, numbers))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            newer, older = self._runs.pop(), self._runs.pop()
            self._runs.append(_merged(older, newer))


def _merged(
    run: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Merge two sorted runs that share no key."""
    places = np.searchsorted(run[0], other[0]) + np.arange(len(other[0]))
    is_other = np.zeros(len(run[0]) + len(other[0]), dtype=bool)
    is_other[places] = True
    merged = []
    for values, others in zip(run, other, strict=True):
        both = np.empty(len(is_other), dtype=values.dtype)
        both[is_other] = others
        both[~is_other] = values
        merged.append(both)
    return merged[0], merged[1]
