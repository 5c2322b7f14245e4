"""Extracted documents on their way to the splits: checked, measured, digested, in Arrow batches.

A part is what one job extracts: a stretch of the corpus in an Arrow file. The digest of
a text is BLAKE2b, 16 bytes, of the text without the white space at both ends.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cloze.corpus.arrays import binaries, count_words, damage_named, numbers, strings
from cloze.corpus.cleaning import Cleaning, DropReason, Filters
from cloze.corpus.documents import EXCERPT_CHARACTERS, Document
from cloze.corpus.duplicates import DIGEST_BYTES, NUM_HASHES, digest_of, signatures
from cloze.errors import ClozeError
from cloze.files import atomic_path, require_file

_AGAIN = "make it again with extract_part.py"
PART_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("title", pa.string()),
        ("text", pa.large_string()),
        ("characters", pa.uint64()),
        ("words", pa.uint64()),
        ("digest", pa.binary(DIGEST_BYTES)),
        ("signature", pa.binary(NUM_HASHES)),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
_FORMAT_VERSION = "1"
_BATCH_CHARACTERS = 1 << 20
_BATCH_ROWS = 1 << 14


def cleaned_batches(documents: Iterable[Document], cleaning: Cleaning) -> Iterator[pa.RecordBatch]:
    r"""Yield documents in batches of `PART_SCHEMA`, of about 1 MiB of text.

    In texts `\r\n` becomes `\n`. A dropped document, or paragraph, has a `reason` and keeps
    the first 200 characters of its text; where it stays, `reason` and `detail` are null.
    """
    for group in _groups(documents):
        rows = _Rows()
        if cleaning.decontamination is None:
            checked: Iterable[tuple[Document, DropReason | None]] = ((item, None) for item in group)
        else:
            checked = cleaning.decontamination.clean(group)
        for document, dropped in checked:
            rows.add(document, dropped, cleaning.filters)
        yield rows.batch(cleaning.with_signatures)


def _groups(documents: Iterable[Document]) -> Iterator[list[Document]]:
    group: list[Document] = []
    characters = 0
    for document in documents:
        if "\r" in document.text:
            document = document._replace(text=document.text.replace("\r\n", "\n"))
        group.append(document)
        characters += len(document.text)
        if characters >= _BATCH_CHARACTERS or len(group) >= _BATCH_ROWS:
            yield group
            group, characters = [], 0
    if group:
        yield group


class _Rows:
    """The columns of the next batch."""

    def __init__(self) -> None:
        self.sources: list[str] = []
        self.titles: list[str] = []
        self.texts: list[bytes] = []
        self.characters: list[int] = []
        self.digests: list[bytes] = []
        self.reasons: list[str | None] = []
        self.details: list[str | None] = []

    def add(self, document: Document, dropped: DropReason | None, filters: Filters) -> None:
        text = document.text
        stripped = text.strip()
        dropped = dropped or filters.check(stripped)
        if dropped:
            text = stripped = text[:EXCERPT_CHARACTERS]
        data = text.encode()
        self.sources.append(document.source)
        self.titles.append(document.title)
        self.texts.append(data)
        self.characters.append(len(text))
        self.digests.append(digest_of(data if len(stripped) == len(text) else stripped.encode()))
        self.reasons.append(dropped.reason if dropped else None)
        self.details.append(dropped.detail if dropped else None)

    def batch(self, with_signatures: bool) -> pa.RecordBatch:
        texts = binaries(self.texts, pa.large_string())
        marks = pa.binary(NUM_HASHES)
        columns = {
            "source": strings(self.sources),
            "title": strings(self.titles),
            "text": texts,
            "characters": numbers(np.array(self.characters), pa.uint64()),
            "words": numbers(count_words(texts), pa.uint64()),
            "digest": binaries(self.digests, pa.binary(DIGEST_BYTES)),
            "signature": binaries(self._signatures(), marks)
            if with_signatures
            else pa.nulls(len(texts), marks),
            "reason": strings(self.reasons),
            "detail": strings(self.details),
        }
        return pa.record_batch([columns[name] for name in PART_SCHEMA.names], schema=PART_SCHEMA)

    def _signatures(self) -> list[bytes | None]:
        kept = [
            text.decode() for text, why in zip(self.texts, self.reasons, strict=True) if not why
        ]
        found = iter(signatures(kept) if kept else ())
        return [None if why else next(found).tobytes() for why in self.reasons]


def write_part(
    path: Path,
    batches: Iterable[pa.RecordBatch],
    recipe: Mapping[str, Any],
    inputs: Mapping[str, str | None],
) -> None:
    """Write a part atomically; `recipe` and `inputs` are what `PartFile` gives back."""
    about = {"format_version": _FORMAT_VERSION, "recipe": recipe, "inputs": inputs}
    schema = PART_SCHEMA.with_metadata({"cloze": json.dumps(about)})
    # Read once, right away, so speed counts more than size.
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema, options=options) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)


class PartFile:
    """A part on disk.

    `recipe`: the flags that it was made with; `inputs`: each source's SHA-256, None for a
    folder of which the part holds a share.
    """

    def __init__(self, path: Path) -> None:
        """Open a part; raises `ClozeError` if `path` is missing or is none."""
        self.path = path
        require_file(path)
        with damage_named(path, "part", _AGAIN), pa.OSFile(str(path)) as source:
            metadata = pa.ipc.open_file(source).schema.metadata or {}
            about = json.loads(metadata.get(b"cloze", b"{}"))
        if about.get("format_version") != _FORMAT_VERSION:
            raise ClozeError(f"{path}: no part of a corpus; make it with extract_part.py")
        self.recipe: dict[str, Any] = about["recipe"]
        self.inputs: dict[str, str | None] = about["inputs"]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches in order; raises `ClozeError` if the file is damaged."""
        with damage_named(self.path, "part", _AGAIN), pa.OSFile(str(self.path)) as source:
            reader = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(use_threads=False))
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)
