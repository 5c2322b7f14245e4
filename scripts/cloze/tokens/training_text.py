"""The text that a tokenizer is trained on: a sample of a corpus, in passages of bounded size."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
from tokenizers import pre_tokenizers

from cloze.cli import progress
from cloze.corpus.document_reader import count_documents, read_texts
from cloze.tokens.tokenizer import bert_normalizer

# The library spends some 50 bytes on each character of the texts that it holds at a time.
PASSAGE_CHARACTERS = 1 << 15
_UNREPEATED = 0.7
# 2**64 divided by the golden ratio: its multiples spread evenly (Knuth, TAOCP 3, §6.4).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class TrainingText:
    """Passages of a documents file, each a document or a part of a long one.

    `sizes`, int64 [num_passages], are those of all passages in bytes of UTF-8; `is_chosen`,
    bool [num_passages], tells which are trained on. `sample` is some 13 passages from the
    whole file, more of them from its start.
    """

    path: Path
    num_documents: int
    sizes: np.ndarray
    is_chosen: np.ndarray
    sample: tuple[str, ...]

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of the whole file."""
        return int(self.sizes.sum())

    @property
    def training_bytes(self) -> int:
        """UTF-8 bytes of what is trained on."""
        return int(self.sizes[self.is_chosen].sum())

    def capped(self, max_bytes: int) -> "TrainingText":
        """Return this text with passages of at most `max_bytes` chosen, but one at least.

        The choice is spread over the whole file and depends on nothing but the file; 0
        chooses every passage.
        """
        return replace(self, is_chosen=choose(self.sizes, max_bytes))

    def passages(self, description: str) -> Iterator[str]:
        """Yield the chosen passages in the order of the file, with a progress bar."""
        return compress(self.every_passage(description), self.is_chosen)

    def every_passage(self, description: str) -> Iterator[str]:
        """Yield all passages, chosen or not, in the order of the file, with a progress bar."""
        return iter(
            progress(
                _passages(self.path),
                total=len(self.is_chosen),
                unit=" passages",
                description=description,
            )
        )


def open_training_text(path: Path) -> TrainingText:
    """Measure a documents file; every passage of it is chosen.

    Raises `ClozeError` as `read_texts` does.
    """
    num_documents = count_documents(path)
    sample: list[str] = []

    def sizes() -> Iterator[int]:
        measured = progress(_passages(path), unit=" passages", description="measure the text")
        for number, passage in enumerate(measured):
            if number & (number - 1) == 0:  # 0, 1, 2, 4, 8, …: spread over a file of any size
                sample.append(passage)
            yield len(passage.encode())

    measured_sizes = np.fromiter(sizes(), np.int64)
    return TrainingText(
        path=path,
        num_documents=num_documents,
        sizes=measured_sizes,
        is_chosen=np.ones(len(measured_sizes), np.bool_),
        sample=tuple(sample),
    )


def default_training_bytes(model: str, sample: Iterable[str]) -> int:
    """Return how much text to train on so that it takes some 512 MB of memory at most.

    The library holds every distinct word of the text. Where words hardly repeat, as in
    scripts without spaces between them, that is nearly all of it.
    """
    spaced, unspaced = (10_000_000, 1_000_000) if model == "unigram" else (20_000_000, 3_000_000)
    return spaced if _share_of_distinct_words(model, sample) < _UNREPEATED else unspaced


def _share_of_distinct_words(model: str, texts: Iterable[str]) -> float:
    """Return the characters of distinct words over those of all words; 0 without a word.

    A third or so for a few hundred kilobytes of English or Portuguese.
    """
    split = _SPLIT.get(model, _split_as_bert)
    words = [word for text in texts for word, _ in split(text)]
    total = sum(map(len, words))
    return sum(map(len, set(words))) / total if total else 0.0


def _split_as_bert(text: str) -> list[tuple[str, tuple[int, int]]]:
    normalizer = bert_normalizer(lowercase=False, strip_accents=False, clean_text=False)
    words: list[tuple[str, tuple[int, int]]]
    words = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(normalizer.normalize_str(text))
    return words


_SPLIT = {
    "byte-level-bpe": pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str,
    "unigram": pre_tokenizers.Metaspace().pre_tokenize_str,
}


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
    for _, text in read_texts(path):
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
