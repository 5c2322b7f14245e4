"""Documents that repeat an earlier one, to the letter or nearly.

Texts are the same if the BLAKE2b of 16 bytes is that of the text without the white space at
both ends. How similar two others are is the Jaccard index of their sets of five words in a row
(Broder 1997); case, white space and punctuation do not count. A signature estimates it from 128
hashes (`rensa`'s R-MinHash) of which one byte each is kept (b-bit minwise hashing, Li and König
2010), to a standard error of 0.04 at most. Documents that agree in one of several bands of their
signatures (Indyk and Motwani 1998) are compared.
"""

import hashlib
from array import array
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from cloze.corpus.arrays import booleans, is_null, numbers, strings
from cloze.corpus.documents import DroppedWriter
from cloze.corpus.word_stream import pieces, word_stream

DIGEST_BYTES = 16
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


def digest_of(stripped: bytes) -> bytes:
    """Return the digest of a text, given as UTF-8 without the white space at both ends."""
    return hashlib.blake2b(stripped, digest_size=DIGEST_BYTES).digest()


def digest_numbers(digests: pa.FixedSizeBinaryArray) -> np.ndarray:
    """Return uint64 [num_digests, 2]: the two halves of each digest.

    The first one draws the split, the second one tells texts apart.
    """
    data = np.frombuffer(digests.buffers()[1], ">u8").reshape(-1, 2)
    return data[digests.offset : digests.offset + len(digests)].astype(np.uint64)


class FirstOccurrences:
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
        for run, holders in self._runs:
            at = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            found = np.where(run[at] == keys, holders[at], found)
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
        self._bands = [FirstOccurrences() for _ in range(NUM_HASHES // self._band_bytes)]
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


class Deduplicator:
    """Passes documents on, numbered, without those that were dropped or repeat another.

    Texts are known by 64 bits of their digest: among ten million documents two different
    ones agree with odds of one in 370,000. Memory: 16 bytes a document for exact
    duplicates, 28 at times, and what `NearDuplicates` says.
    """

    def __init__(
        self, *, keep_duplicates: bool = False, near_duplicate_threshold: float | None = None
    ) -> None:
        self._exact = None if keep_duplicates else FirstOccurrences()
        threshold = near_duplicate_threshold
        self._near = None if threshold is None else NearDuplicates(threshold)
        # The document_id of each document that came; of a dropped one, of what it repeats.
        self._ids = array("I")
        # The place in `_ids` of each document that `_near` was shown.
        self._shown = array("I")
        self._next_id = 0

    @property
    def reasons(self) -> list[str]:
        """The reasons for which documents are dropped here."""
        exact = ["duplicate"] if self._exact else []
        return [*exact, *(["near_duplicate"] if self._near else [])]

    def filter(self, batch: pa.RecordBatch, dropped: DroppedWriter) -> pa.RecordBatch:
        """Return what is kept of a batch of `parts.PART_SCHEMA`, with its `document_id`."""
        kept = is_null(batch.column("reason"))
        judged = np.flatnonzero(kept)
        copies = self._copies(batch, judged)
        first = len(self._ids)
        is_new = np.ones(len(judged), dtype=bool)
        is_new[list(copies)] = False
        ids = self._next_id + np.cumsum(is_new) - 1
        verdicts = {}
        for row, (reason, original, note) in copies.items():
            ids[row] = ids[original - first] if original >= first else self._ids[original]
            verdicts[int(judged[row])] = (reason, f"document {ids[row]}{note}")
        self._ids.frombytes(ids.astype(np.uint32).tobytes())
        self._next_id += int(is_new.sum())
        kept[list(verdicts)] = False
        if not kept.all():
            dropped.add(_with_verdicts(batch, verdicts).filter(booleans(~kept)))
            batch = batch.filter(booleans(kept))
        return batch.append_column("document_id", numbers(ids[is_new], pa.uint32()))

    def _copies(self, batch: pa.RecordBatch, judged: np.ndarray) -> dict[int, tuple[str, int, str]]:
        """Return by place in `judged`, in order: reason, place in `_ids` of the original, note."""
        places = np.arange(len(self._ids), len(self._ids) + len(judged))
        copies = {}
        fresh = np.arange(len(judged))
        if self._exact is not None:
            keys = digest_numbers(batch.column("digest"))[judged, 1]
            holders = self._exact.add(keys, places.astype(np.uint32))
            fresh = np.flatnonzero(holders == places)
            for row in np.flatnonzero(holders != places).tolist():
                copies[row] = ("duplicate", int(holders[row]), "")
        if self._near is not None and len(fresh):
            start = len(self._shown)
            self._shown.frombytes(places[fresh].astype(np.uint32).tobytes())
            originals, similarity = self._near.add(_signatures(batch)[judged[fresh]])
            for index in np.flatnonzero(originals != start + np.arange(len(fresh))).tolist():
                original = self._shown[originals[index]]
                note = f", similarity {similarity[index]:.2f}"
                copies[int(fresh[index])] = ("near_duplicate", original, note)
        return dict(sorted(copies.items()))


def _signatures(batch: pa.RecordBatch) -> np.ndarray:
    """Return uint8 [num_rows, 128]; rows that were dropped have zeros."""
    column = batch.column("signature").fill_null(bytes(NUM_HASHES))
    data = np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, NUM_HASHES)
    return data[column.offset : column.offset + len(column)]


def _with_verdicts(batch: pa.RecordBatch, verdicts: dict[int, tuple[str, str]]) -> pa.RecordBatch:
    """Give rows a reason and a detail."""
    for position, name in enumerate(("reason", "detail")):
        column = batch.column(name).to_pylist()
        for row, verdict in verdicts.items():
            column[row] = verdict[position]
        index = batch.schema.get_field_index(name)
        batch = batch.set_column(index, name, strings(column))
    return batch
