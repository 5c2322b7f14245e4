"""The text that a tokenizer is trained on: a sample of a corpus, in passages of bounded size."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np

from cloze.cli import progress
from cloze.corpus.document_reader import count_documents, read_documents

# The library spends some 50 bytes on each character of the texts that it holds at a time.
PASSAGE_CHARACTERS = 1 << 15
# 2**64 divided by the golden ratio: its multiples spread evenly (Knuth, TAOCP 3, §6.4).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class TrainingText:
    """Passages of a documents file, each a document or a part of a long one.

    `num_documents` and `text_bytes` are those of the whole file; `is_chosen`, bool
    [num_passages], tells which passages are trained on, `training_bytes` their UTF-8.
    """

    path: Path
    num_documents: int
    text_bytes: int
    training_bytes: int
    is_chosen: np.ndarray

    def passages(self, description: str) -> Iterator[str]:
        """Yield the chosen passages in the order of the file, with a progress bar."""
        every = progress(
            _passages(self.path),
            total=len(self.is_chosen),
            unit=" passages",
            description=description,
        )
        return compress(every, self.is_chosen)


def open_training_text(path: Path, max_bytes: int) -> TrainingText:
    """Choose passages of at most `max_bytes` in all, but one at least; 0 chooses every one.

    The choice is spread over the whole file and depends on nothing but the file. Raises
    `ClozeError` as `read_documents` does.
    """
    num_documents = count_documents(path)
    measured = progress(_passages(path), unit=" passages", description="measure the text")
    sizes = np.fromiter((len(passage.encode()) for passage in measured), np.int64)
    is_chosen = choose(sizes, max_bytes)
    return TrainingText(
        path=path,
        num_documents=num_documents,
        text_bytes=int(sizes.sum()),
        training_bytes=int(sizes[is_chosen].sum()),
        is_chosen=is_chosen,
    )


def choose(sizes: np.ndarray, max_bytes: int) -> np.ndarray:
    """Return which of passages with these sizes, int64 [N], fit into `max_bytes`: bool [N].

    Evenly spread, and at least one; all of them if `max_bytes` is 0.
    """
    if not max_bytes or sizes.sum() <= max_bytes:
        return np.ones(len(sizes), np.bool_)
    spread = np.argsort(np.arange(len(sizes), dtype=np.uint64) * _GOLDEN)
    count = np.searchsorted(np.cumsum(sizes[spread]), max_bytes, side="right")
    is_chosen = np.zeros(len(sizes), np.bool_)
    is_chosen[spread[: max(1, int(count))]] = True
    return is_chosen


def _passages(path: Path) -> Iterator[str]:
    for _, text in read_documents(path):
        yield from split_passages(text)


def split_passages(text: str) -> Iterator[str]:
    """Cut `text` into passages of `PASSAGE_CHARACTERS` at most, before line ends or spaces.

    Only where a passage has neither is it cut elsewhere. Joined they are the text.
    """
    start = 0
    while len(text) - start > PASSAGE_CHARACTERS:
        limit = start + PASSAGE_CHARACTERS
        cut = max(text.rfind(mark, start + 1, limit + 1) for mark in ("\n", " "))
        end = cut if cut > start else limit
        yield text[start:end]
        start = end
    yield text[start:]
