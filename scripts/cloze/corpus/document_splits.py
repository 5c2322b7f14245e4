"""From streams of documents to train, validation and test: duplicates, split.

A drawn document's place depends on its text alone: the first 8 bytes of the digest of
the stripped text, read as a number between 0 and 1. Test takes the low end, validation
the high end, so a change of one fraction leaves the other split as it is, and neither
order, file names nor seeds matter.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from cloze.corpus.arrays import booleans, values_of
from cloze.corpus.documents import (
    DocumentWriter,
    DroppedWriter,
    atomic_documents,
    measured,
    open_writers,
    read_groups,
)
from cloze.corpus.duplicates import Deduplicator, digest_numbers
from cloze.errors import ClozeError
from cloze.files import SPLITS

_TRAIN, _VALIDATION, _TEST = range(3)


class Part(NamedTuple):
    """Batches of `parts.PART_SCHEMA` and the split they go to; None: drawn by their text."""

    batches: Iterable[pa.RecordBatch]
    split: str | None


class SplitAssigner:
    """Places documents by the positions of their texts.

    It remembers the positions until every split that is wanted has a document; in all but
    tiny corpora that is after a few hundred.
    """

    def __init__(self, validation_fraction: float, test_fraction: float) -> None:
        self._validation_from = 1 - validation_fraction
        self._test_until = test_fraction
        self._counts = np.zeros(len(SPLITS), dtype=np.int64)
        self._held: list[tuple[np.ndarray, np.ndarray]] = []

    def assign(self, ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return int64 [num_documents]: the index in `SPLITS` of each document.

        `positions`: float64 between 0 and 1.
        """
        splits = np.full(len(positions), _TRAIN)
        splits[positions >= self._validation_from] = _VALIDATION
        splits[positions < self._test_until] = _TEST
        self._counts += np.bincount(splits, minlength=len(SPLITS))
        self._held = [] if self._is_settled() else [*self._held, (ids, positions)]
        return splits

    def _is_settled(self) -> bool:
        wanted = self._counts if self._test_until > 0 else self._counts[:_TEST]
        return bool(wanted.all())

    def corrections(self) -> dict[int, str]:
        """Return the split of each document that must move so that no split stays empty.

        Small corpora only: the fractions may leave validation, test or train without a
        document. Then the bounds shift by as few documents as fill them, train first,
        validation second, test (if its fraction is above 0) third.
        """
        if not self._held:
            return {}
        ids, positions = (np.concatenate(columns) for columns in zip(*self._held, strict=True))
        tests, validations = int(self._counts[_TEST]), int(self._counts[_VALIDATION])
        filled = _filled(tests, validations, len(positions), self._test_until > 0)
        if filled == (tests, validations):
            return {}
        order = np.lexsort((ids, positions))
        splits = np.full(len(order), "train", dtype=object)
        splits[: filled[0]] = "test"
        splits[len(order) - filled[1] :] = "validation"
        return {int(ids[index]): split for index, split in zip(order, splits, strict=True)}


def _filled(tests: int, validations: int, total: int, wants_test: bool) -> tuple[int, int]:
    """Return how many documents test and validation get so that no split stays empty."""
    if total < 2:
        return tests, validations
    fewest_tests = int(wants_test and total >= 3)
    tests, validations = max(tests, fewest_tests), max(validations, 1)
    surplus = max(tests + validations - (total - 1), 0)
    from_test = min(surplus, tests - fewest_tests)
    return tests - from_test, validations - (surplus - from_test)


def write_splits(
    folder: Path,
    parts: Iterable[Part],
    assigner: SplitAssigner,
    deduplicator: Deduplicator,
    reasons: Sequence[str],
    name: str,
    advice: str = "add documents",
) -> dict[str, Any]:
    """Write `folder/{train,validation,test}.parquet` and `dropped.tsv.gz`; return what they hold.

    Parts are read in the order given, so an earlier part keeps the document that a
    later one repeats; `document_id` counts what is kept, in this order. `reasons` are those
    for which documents of the parts may have been dropped. Memory: one row group a split, a
    batch, and what `deduplicator` takes.

    Returns `{"splits": {name: DocumentWriter.counts}, "dropped": {reason: count}}`.
    Raises `ClozeError`, which calls the corpus `name` and gives `advice`, if no document is left
    for train or validation.
    """
    with atomic_documents(folder) as (paths, dropped_path):
        with (
            open_writers(paths) as writers,
            DroppedWriter(dropped_path, [*reasons, *deduplicator.reasons]) as dropped,
        ):
            _write(parts, assigner, deduplicator, writers, dropped)
        counts = {split: writer.counts for split, writer in writers.items()}
        if corrections := assigner.corrections():
            counts = _move(paths, corrections)
        _require_documents(counts, dropped.counts, name, advice)
    return {"splits": counts, "dropped": dropped.counts}


def _write(
    parts: Iterable[Part],
    assigner: SplitAssigner,
    deduplicator: Deduplicator,
    writers: Mapping[str, DocumentWriter],
    dropped: DroppedWriter,
) -> None:
    for part in parts:
        for batch in part.batches:
            batch = deduplicator.filter(batch, dropped)
            if part.split is not None:
                writers[part.split].add(batch)
                continue
            ids = values_of(batch.column("document_id"))
            splits = assigner.assign(ids, digest_numbers(batch.column("digest"))[:, 0] / 2**64)
            for index, split in enumerate(SPLITS):
                writers[split].add(batch.filter(booleans(splits == index)))


def _move(paths: Mapping[str, Path], moves: Mapping[int, str]) -> dict[str, dict[str, int]]:
    """Write the splits again with each document of `moves` in its new one."""
    moved = {split: path.with_name(f"{path.name}.moved") for split, path in paths.items()}
    try:
        with open_writers(moved) as writers:
            # A split that takes documents in was empty and takes one, so order is kept.
            for split, path in paths.items():
                for rows in map(measured, read_groups(path)):
                    ids = rows.column("document_id").to_pylist()
                    targets = np.array([moves.get(number, split) for number in ids])
                    for target, writer in writers.items():
                        writer.add(rows.filter(booleans(targets == target)))
        for split, path in moved.items():
            path.replace(paths[split])
    finally:
        for path in moved.values():
            path.unlink(missing_ok=True)
    return {split: writer.counts for split, writer in writers.items()}


def _require_documents(
    counts: Mapping[str, Mapping[str, int]], dropped: Mapping[str, int], name: str, advice: str
) -> None:
    held = {split: count["documents"] for split, count in counts.items()}
    drops = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in dropped.items())
    if not any(held.values()):
        raise ClozeError(f"{name}: no document (dropped: {drops})")
    for split in ("train", "validation"):
        if not held[split]:
            rest = ", ".join(f"{other} has {count}" for other, count in held.items() if count)
            raise ClozeError(
                f"{name}: no document is left for {split} ({rest}; dropped: {drops}); {advice}"
            )
