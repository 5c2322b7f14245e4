"""Which texts occurred before, and in which document."""

import numpy as np


class SeenTexts:
    """Remembers the first document of each text: 12 bytes a document, 24 while it grows.

    Texts are known by 64 bits of their digest: among ten million documents two different
    ones agree with odds of one in 370,000. Keys lie in sorted runs, each at least twice
    as long as the next.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, keys: np.ndarray, next_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Take in the next texts, in order, the new ones numbered from `next_id`.

        `keys`: uint64 [num_texts]. Returns `(is_new, document)`: bool [num_texts], and
        uint32 [num_texts], the document that had the text first, itself where it is new.
        """
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        holder = self.find(distinct)
        unknown = holder < 0
        is_new = np.zeros(len(keys), dtype=bool)
        is_new[first[unknown]] = True
        numbers = next_id + np.cumsum(is_new) - 1
        holder[unknown] = numbers[first[unknown]]
        self._store(distinct[unknown], holder[unknown].astype(np.uint32))
        return is_new, holder[inverse].astype(np.uint32)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return int64 [num_keys]: the document of each text, -1 where it is unknown."""
        found = np.full(len(keys), -1, dtype=np.int64)
        for run, documents in self._runs:
            at = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            found = np.where(run[at] == keys, documents[at], found)
        return found

    def _store(self, keys: np.ndarray, documents: np.ndarray) -> None:
        if not len(keys):
            return
        self._runs.append((keys, documents))
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
