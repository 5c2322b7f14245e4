"""One corpus of several: their training documents as often as their weights say.

A weight of 2.5 takes every training document twice and half of them a third time: those
whose text hashes low, so neither order nor any seed chooses. Sources take turns row group by
row group, in step with their shares, so any stretch of the mixture holds them all.

A text that some source holds out is training text of none, and is held out once.
"""

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cloze.corpus.arrays import binaries, booleans, numbers, strings, text_bytes
from cloze.corpus.documents import (
    DocumentWriter,
    DroppedWriter,
    atomic_documents,
    count_groups,
    measured,
    open_writers,
    read_groups,
)
from cloze.corpus.duplicates import DIGEST_BYTES, FirstOccurrences, digest_numbers, digest_of


@dataclass(frozen=True)
class Source:
    """A corpus of the mixture: its name, its documents folder, how often a pass sees it."""

    name: str
    folder: Path
    weight: float


def write_mixture(folder: Path, sources: Sequence[Source]) -> dict[str, Any]:
    """Write the documents of a mixture as `write_splits` does those of a corpus.

    The name of its corpus precedes the `source` of each document. Memory: a row group of
    each source and of the output, and 24 bytes a held-out document.

    Returns what `write_splits` does, and `sources`: for each one its `weight`, its training
    `documents` and `bytes`, how many of both a pass sees (`documents_seen`, `bytes_seen`),
    and the `share` of the bytes that are its own. Raises `ClozeError` if a source's
    documents are missing or damaged.
    """
    with (
        atomic_documents(folder) as (paths, dropped_path),
        open_writers(paths) as writers,
        DroppedWriter(dropped_path, ("duplicate", "held_out")) as dropped,
    ):
        mixer = _Mixer(sources, writers, dropped)
        for split in ("test", "validation"):
            mixer.hold_out(split)
        mixer.train()
    seen_bytes = sum(facts["bytes_seen"] for facts in mixer.facts.values())
    for facts in mixer.facts.values():
        facts["share"] = facts["bytes_seen"] / max(seen_bytes, 1)
    counts = {split: writer.counts for split, writer in writers.items()}
    return {"splits": counts, "dropped": dropped.counts, "sources": mixer.facts}


class _Mixer:
    """Writes the splits in turn; `facts` counts what it took of each source."""

    def __init__(
        self,
        sources: Sequence[Source],
        writers: Mapping[str, DocumentWriter],
        dropped: DroppedWriter,
    ) -> None:
        counted = ("documents", "bytes", "documents_seen", "bytes_seen")
        self.facts: dict[str, dict[str, Any]] = {
            source.name: {"weight": source.weight, **dict.fromkeys(counted, 0)}
            for source in sources
        }
        self._sources = sources
        self._writers = writers
        self._dropped = dropped
        self._held_out = FirstOccurrences()
        self._next_id = 0

    def hold_out(self, split: str) -> None:
        """Write the documents that the sources hold out for a split, each text once."""
        for source in self._sources:
            for rows in read_groups(source.folder / f"{split}.parquet"):
                keys = _keys(rows)
                holders = self._held_out.find(keys)
                is_new = holders < 0
                self._drop(source, rows, "duplicate", ~is_new, holders)
                ids = self._next_id + np.arange(int(is_new.sum()))
                self._held_out.add(keys[is_new], ids.astype(np.uint32))
                self._write(source, rows.filter(booleans(is_new)), split)

    def train(self) -> None:
        """Write the training documents, each as often as its source's weight says."""
        for source, number, rows in _in_turns(self._sources):
            keys = _keys(rows)
            holders = self._held_out.find(keys)
            kept = holders < 0
            facts = self.facts[source.name]
            if number == 0:
                self._drop(source, rows, "held_out", ~kept, holders)
                facts["documents"] += int(kept.sum())
                facts["bytes"] += _num_bytes(rows.filter(booleans(kept)))
            share = min(source.weight - number, 1)
            # Rounding makes 1 of the highest keys, which a whole pass takes too.
            chosen = kept & ((keys / 2**64 < share) | (share == 1))
            taken = rows.filter(booleans(chosen))
            facts["documents_seen"] += taken.num_rows
            facts["bytes_seen"] += _num_bytes(taken)
            self._write(source, taken, "train")

    def _write(self, source: Source, rows: pa.RecordBatch, split: str) -> None:
        ids = np.arange(self._next_id, self._next_id + rows.num_rows)
        self._next_id += rows.num_rows
        rows = rows.set_column(0, "document_id", numbers(ids, pa.uint32()))
        self._writers[split].add(measured(_named(source, rows)))

    def _drop(
        self,
        source: Source,
        rows: pa.RecordBatch,
        reason: str,
        chosen: np.ndarray,
        holders: np.ndarray,
    ) -> None:
        if chosen.any():
            details = [f"document {holder}" for holder in holders[chosen]]
            rows = _named(source, rows.filter(booleans(chosen)))
            rows = rows.append_column("reason", strings([reason] * len(details)))
            self._dropped.add(rows.append_column("detail", strings(details)))


def _in_turns(sources: Sequence[Source]) -> Iterator[tuple[Source, int, pa.RecordBatch]]:
    """Yield `(source, number of the pass over it, row group)`, all sources in step."""
    turns: list[tuple[float, int, Iterator[tuple[int, pa.RecordBatch]]]] = []
    steps = []
    for index, source in enumerate(sources):
        path = source.folder / "train.parquet"
        turns.append((0.0, index, _passes(path, math.ceil(source.weight))))
        steps.append(1 / max(count_groups(path) * math.ceil(source.weight), 1))
    while turns:
        done, index, groups = heapq.heappop(turns)
        if (group := next(groups, None)) is not None:
            yield sources[index], *group
            heapq.heappush(turns, (done + steps[index], index, groups))


def _passes(path: Path, count: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    for number in range(count):
        for group in read_groups(path):
            yield number, group


def _keys(rows: pa.RecordBatch) -> np.ndarray:
    """Return uint64 [num_rows]: what tells texts apart, as for the corpora themselves."""
    digests = [digest_of(text.strip().encode()) for text in rows.column("text").to_pylist()]
    return digest_numbers(binaries(digests, pa.binary(DIGEST_BYTES)))[:, 1]


def _named(source: Source, rows: pa.RecordBatch) -> pa.RecordBatch:
    names = strings([f"{source.name}/{name}" for name in rows.column("source").to_pylist()])
    return rows.set_column(rows.schema.get_field_index("source"), "source", names)


def _num_bytes(rows: pa.RecordBatch) -> int:
    return int(text_bytes(rows.column("text"))[0].size)
