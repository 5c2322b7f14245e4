"""From streams of documents to train, validation and test: drops, duplicates, split.

A drawn document's place depends on its text alone: the first 8 bytes of the BLAKE2b
digest of the stripped text, read as a number between 0 and 1. Test takes the low end,
validation the high end, so a change of one fraction leaves the other split as it is,
and neither order, file names nor seeds matter.
"""

import contextlib
import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cloze.corpus.documents import SPLITS, Document, DocumentWriter, StoredDocument, read_documents
from cloze.errors import ClozeError
from cloze.files import atomic_path

_DIGEST_BYTES = 16
_FREE = bytes(_DIGEST_BYTES)


class Part(NamedTuple):
    """Documents and the split they go to; None: drawn by their text."""

    documents: Iterable[Document]
    split: str | None


class DigestSet:
    """A set of 16-byte digests in 24 to 48 bytes each, where a Python set takes 100.

    Open addressing with linear probing: a digest is its own hash. The digest of 16
    zero bytes, which marks a free slot, does not occur in practice.
    """

    def __init__(self) -> None:
        self._slots = bytearray(1024 * _DIGEST_BYTES)
        self._count = 0

    def add(self, digest: bytes) -> bool:
        """Add a digest; return whether it is new."""
        if self._count * _DIGEST_BYTES * 3 >= len(self._slots) * 2:
            self._grow()
        is_new = self._insert(digest)
        self._count += is_new
        return is_new

    def _insert(self, digest: bytes) -> bool:
        slots = self._slots
        at = int.from_bytes(digest[8:], "big") * _DIGEST_BYTES % len(slots)
        while (held := slots[at : at + _DIGEST_BYTES]) != _FREE:
            if held == digest:
                return False
            at = (at + _DIGEST_BYTES) % len(slots)
        slots[at : at + _DIGEST_BYTES] = digest
        return True

    def _grow(self) -> None:
        held = self._slots
        self._slots = bytearray(2 * len(held))
        for at in range(0, len(held), _DIGEST_BYTES):
            if (digest := bytes(held[at : at + _DIGEST_BYTES])) != _FREE:
                self._insert(digest)


class Drops:
    """Decides which texts stay and counts the others by reason."""

    def __init__(self, min_characters: int = 0, keep_duplicates: bool = False) -> None:
        self.counts = dict.fromkeys(("empty", "too_short", "duplicate"), 0)
        self._min_characters = min_characters
        self._seen = None if keep_duplicates else DigestSet()

    def position_of(self, text: str) -> float | None:
        """Return where `text` hashes to, between 0 and 1, or None if it is dropped."""
        stripped = text.strip()
        digest = hashlib.blake2b(stripped.encode(), digest_size=_DIGEST_BYTES).digest()
        if not stripped:
            reason = "empty"
        elif len(stripped) < self._min_characters:
            reason = "too_short"
        elif self._seen is not None and not self._seen.add(digest):
            reason = "duplicate"
        else:
            return int.from_bytes(digest[:8], "big") / 2**64
        self.counts[reason] += 1
        return None


class Draw:
    """Places documents by the position of their text and remembers it (16 bytes each)."""

    def __init__(self, validation_fraction: float, test_fraction: float) -> None:
        self._validation_from = 1 - validation_fraction
        self._test_until = test_fraction
        self._positions = array("d")
        self._ids = array("Q")

    def place(self, document_id: int, position: float) -> str:
        """Return the split of a document."""
        self._positions.append(position)
        self._ids.append(document_id)
        if position < self._test_until:
            return "test"
        return "validation" if position >= self._validation_from else "train"

    def corrections(self) -> dict[int, str]:
        """Return the split of each document that must move so that no split stays empty.

        Small corpora only: the fractions may leave validation, test or train without a
        document. Then the bounds shift by as few documents as fill them, train first,
        validation second, test (if its fraction is above 0) third.
        """
        positions = np.array(self._positions)
        tests = int((positions < self._test_until).sum())
        validations = int((positions >= self._validation_from).sum())
        filled = _filled(tests, validations, len(positions), self._test_until > 0)
        if filled == (tests, validations):
            return {}
        order = np.lexsort((np.array(self._ids), positions))
        splits = np.full(len(order), "train", dtype=object)
        splits[: filled[0]] = "test"
        splits[len(order) - filled[1] :] = "validation"
        return {self._ids[index]: split for index, split in zip(order, splits, strict=True)}


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
    folder: Path, parts: Iterable[Part], draw: Draw, drops: Drops, name: str
) -> dict[str, Any]:
    r"""Write `folder/{train,validation,test}.parquet` and return what they hold.

    Parts are read in the order given, so an earlier part keeps the document that a
    later one repeats; `document_id` counts what is kept, in this order. In texts
    `\r\n` becomes `\n`, nothing else changes. Memory: one row group a split, and 16
    bytes a document for `draw` besides what `drops` takes.

    Returns `{"splits": {name: DocumentWriter.counts}, "dropped": {reason: count}}`.
    Raises `ClozeError`, which calls the corpus `name`, if no document is left for train
    or validation.
    """
    with contextlib.ExitStack() as published:
        paths = {
            split: published.enter_context(atomic_path(folder / f"{split}.parquet"))
            for split in SPLITS
        }
        counts = _write(paths, _placed(parts, draw, drops))
        if corrections := draw.corrections():
            counts = _move(paths, corrections)
        _require_documents(counts, drops.counts, name)
    return {"splits": counts, "dropped": drops.counts}


def _placed(
    parts: Iterable[Part], draw: Draw, drops: Drops
) -> Iterator[tuple[str, StoredDocument]]:
    """Yield `(split, document)` for what is kept."""
    next_id = 0
    for part in parts:
        for document in part.documents:
            text = document.text.replace("\r\n", "\n")
            position = drops.position_of(text)
            if position is not None:
                split = part.split or draw.place(next_id, position)
                yield split, StoredDocument(next_id, document.source, document.title, text)
                next_id += 1


def _write(
    paths: Mapping[str, Path], documents: Iterable[tuple[str, StoredDocument]]
) -> dict[str, dict[str, int]]:
    with contextlib.ExitStack() as stack:
        writers = {
            split: stack.enter_context(DocumentWriter(path)) for split, path in paths.items()
        }
        for split, document in documents:
            writers[split].add(document)
    return {split: writer.counts for split, writer in writers.items()}


def _move(paths: Mapping[str, Path], moves: Mapping[int, str]) -> dict[str, dict[str, int]]:
    """Write the splits again with each document of `moves` in its new one."""
    moved = {split: path.with_name(f"{path.name}.moved") for split, path in paths.items()}
    try:
        # A split that takes documents in was empty and takes one, so order is kept.
        counts = _write(
            moved,
            (
                (moves.get(document.document_id, split), document)
                for split, path in paths.items()
                for document in read_documents(path)
            ),
        )
        for split, path in moved.items():
            path.replace(paths[split])
    finally:
        for path in moved.values():
            path.unlink(missing_ok=True)
    return counts


def _require_documents(
    counts: Mapping[str, Mapping[str, int]], dropped: Mapping[str, int], name: str
) -> None:
    held = {split: count["documents"] for split, count in counts.items()}
    drops = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in dropped.items())
    if not any(held.values()):
        raise ClozeError(f"{name}: no document (dropped: {drops})")
    for split in ("train", "validation"):
        if not held[split]:
            rest = ", ".join(f"{other} has {count}" for other, count in held.items() if count)
            raise ClozeError(
                f"{name}: no document is left for {split} ({rest}; dropped: {drops}); add "
                "documents, cut one long text at its blank lines with --format paragraphs, "
                "or give --train and --validation files of their own"
            )
