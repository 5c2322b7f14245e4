"""What repeats an earlier document, to the letter or nearly, is taken out of a corpus."""

from array import array

import numpy as np
import pyarrow as pa

from cloze.corpus.arrays import booleans, is_null, numbers, strings
from cloze.corpus.dropped import DroppedWriter
from cloze.corpus.duplicates import FirstNumbers
from cloze.corpus.near_duplicates import NUM_HASHES, NearDuplicates
from cloze.corpus.parts import digest_numbers


class Sieve:
    """Passes documents on, numbered, without those that were dropped or repeat another.

    Texts are known by 64 bits of their digest: among ten million documents two different
    ones agree with odds of one in 370,000. Memory: 16 bytes a document for exact
    duplicates, 28 at times, and what `NearDuplicates` says.
    """

    def __init__(
        self, *, keep_duplicates: bool = False, near_duplicate_threshold: float | None = None
    ) -> None:
        self._exact = None if keep_duplicates else FirstNumbers()
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

    def sift(self, batch: pa.RecordBatch, dropped: DroppedWriter) -> pa.RecordBatch:
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
