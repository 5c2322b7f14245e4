"""The files of a documents folder while they are written: the splits, and what was dropped."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from cloze.corpus.documents import SPLITS, DocumentWriter
from cloze.corpus.dropped import DROPPED_NAME
from cloze.files import atomic_path


@contextlib.contextmanager
def atomic_documents(folder: Path) -> Iterator[tuple[dict[str, Path], Path]]:
    """Yield temporary paths: of each split by its name, and of the dropped documents.

    They become `folder/{train,validation,test}.parquet` and `folder/dropped.tsv.gz` when the
    block ends well. Raises `ClozeError` if the file system refuses the write.
    """
    with contextlib.ExitStack() as published:
        paths = {
            split: published.enter_context(atomic_path(folder / f"{split}.parquet"))
            for split in SPLITS
        }
        yield paths, published.enter_context(atomic_path(folder / DROPPED_NAME))


@contextlib.contextmanager
def open_writers(paths: Mapping[str, Path]) -> Iterator[dict[str, DocumentWriter]]:
    """Yield a writer for each split, by its name; they are closed when the block ends."""
    with contextlib.ExitStack() as stack:
        yield {split: stack.enter_context(DocumentWriter(path)) for split, path in paths.items()}
