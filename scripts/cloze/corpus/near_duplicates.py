"""Documents that say nearly the same: MinHash signatures and what they have in common.

Similarity is the Jaccard index of two documents' sets of five words in a row (Broder
1997); case, white space and punctuation do not count. A signature estimates it from 128
hashes (`rensa`'s R-MinHash) of which one byte each is kept (b-bit minwise hashing, Li and
König 2010), to a standard error of 0.04 at most. Documents that agree in one of several
bands of their signatures (Indyk and Motwani 1998) are compared.
"""

from collections.abc import Sequence

import numpy as np

from cloze.corpus.duplicates import FirstNumbers
from cloze.corpus.word_stream import pieces, word_stream

NUM_HASHES = 128
SHINGLE_WORDS = 5
# Of the pairs that are just as similar as the threshold, at least this share is compared.
_RECALL = 0.9
_SEED = 1
_PIECE_CHARACTERS = 1 << 17
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
# Two of different documents' bytes agree by chance.
_CHANCE = 1 / 256
_BLOCK_ROWS = 1 << 14


def signatures(texts: Sequence[str]) -> np.ndarray:
    """Return uint8 [num_texts, 128]: equal in as many places as the texts are similar."""
    # A Rust library that only this option needs.
    from rensa import RMinHash

    words = [_word_keys(text) for text in texts]
    counts = np.array([max(len(keys) - SHINGLE_WORDS + 1, 1) for keys in words], dtype=np.uint64)
    offsets = np.concatenate([np.zeros(1, np.uint64), np.cumsum(counts)])
    shingles = np.concatenate([_shingles(keys) for keys in words])
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(shingles, offsets, NUM_HASHES, _SEED)
    return np.array(matrix.to_rows(), dtype=np.uint32).astype(np.uint8)


def _word_keys(text: str) -> np.ndarray:
    """Return uint64 [num_words]; memory is bounded by a piece of a long text."""
    streams = (word_stream([piece]).keys for piece in pieces(text, _PIECE_CHARACTERS, 0))
    return np.concatenate([np.empty(0, np.uint64), *streams])


def _shingles(words: np.ndarray) -> np.ndarray:
    """Return a hash of each five words in a row, or of all of them if they are fewer."""
    if len(words) < SHINGLE_WORDS:
        words = np.concatenate([words, np.zeros(SHINGLE_WORDS - len(words), np.uint64)])
    hashes = words[: len(words) - SHINGLE_WORDS + 1]
    for start in range(1, SHINGLE_WORDS):
        end = len(words) - SHINGLE_WORDS + 1 + start
        hashes = hashes * _MULTIPLIER + words[start:end]
    return np.ascontiguousarray(hashes)


class NearDuplicates:
    """Finds documents that are at least as similar as a threshold to one that was kept before.

    Takes 128 bytes a document for its signature and 12 for each band, which at a threshold
    of 0.8 are 16: 320 bytes.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._band_bytes = band_bytes(threshold)
        self._bands = [FirstNumbers() for _ in range(NUM_HASHES // self._band_bytes)]
        self._blocks: list[np.ndarray] = []
        self._count = 0
        self._kept_instead: dict[int, int] = {}

    def add(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take in the signatures of the next documents, uint8 [num_documents, 128].

        Documents are numbered from 0. Returns `(kept, similarity)`: int64 and float64
        [num_documents], the kept document that this one is similar to and how much, its
        own number and 1 where it is kept.
        """
        numbers = np.arange(self._count, self._count + len(batch))
        self._store(batch)
        kept, similarity = numbers.copy(), np.ones(len(batch))
        first = self._count - len(batch)
        for number, candidates in self._candidates(batch, numbers).items():
            # Who was dropped stands for the document that was kept instead.
            others = sorted({self._kept_instead.get(other, other) for other in candidates})
            similarities = self._similarities(number, np.array(others))
            best = int(similarities.argmax())
            if similarities[best] >= self._threshold:
                self._kept_instead[number] = kept[number - first] = others[best]
                similarity[number - first] = similarities[best]
        return kept, similarity

    def _candidates(self, batch: np.ndarray, numbers: np.ndarray) -> dict[int, set[int]]:
        """Return the earlier documents that share a band, for those that have some, in order."""
        found: dict[int, set[int]] = {}
        for band, known in enumerate(self._bands):
            values = batch[:, band * self._band_bytes : (band + 1) * self._band_bytes]
            holders = known.add(_hashed(values), numbers.astype(np.uint32)).astype(np.int64)
            repeated = holders != numbers
            pairs = zip(numbers[repeated].tolist(), holders[repeated].tolist(), strict=True)
            for number, holder in pairs:
                found.setdefault(number, set()).add(holder)
        return dict(sorted(found.items()))

    def _similarities(self, number: int, others: np.ndarray) -> np.ndarray:
        agreeing = (self._signatures(others) == self._signatures(np.array([number]))).mean(axis=1)
        return np.maximum((agreeing - _CHANCE) / (1 - _CHANCE), 0)

    def _store(self, batch: np.ndarray) -> None:
        while len(batch):
            at = self._count % _BLOCK_ROWS
            if at == 0:
                self._blocks.append(np.empty((_BLOCK_ROWS, NUM_HASHES), np.uint8))
            taken = batch[: _BLOCK_ROWS - at]
            self._blocks[-1][at : at + len(taken)] = taken
            self._count += len(taken)
            batch = batch[len(taken) :]

    def _signatures(self, numbers: np.ndarray) -> np.ndarray:
        return np.stack([self._blocks[n // _BLOCK_ROWS][n % _BLOCK_ROWS] for n in numbers])


def band_bytes(threshold: float) -> int:
    """Return the longest band at which enough pairs of this similarity are compared."""
    agreeing = threshold + (1 - threshold) * _CHANCE
    fitting = [
        size
        for size in range(1, NUM_HASHES + 1)
        if 1 - (1 - agreeing**size) ** (NUM_HASHES // size) >= _RECALL
    ]
    return max(fitting, default=1)


def _hashed(values: np.ndarray) -> np.ndarray:
    """Return uint64 [num_rows]: a hash of each row of bytes."""
    hashes = np.zeros(len(values), np.uint64)
    for column in values.T:
        hashes = (hashes ^ column) * _MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    return hashes
