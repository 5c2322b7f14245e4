"""Rows of pairs of texts, as next-sentence prediction needs them."""

from pathlib import Path

import numpy as np

from cloze.files import sha256_file
from cloze.tokens.manifest import FORMAT_VERSION, Header
from cloze.tokens.shards import Rows
from tests.tiny import write_rows

CLS, SEP, FIRST_WORD = 2, 3, 5


def make_pairs(num_rows: int, max_length: int, vocab_size: int, seed: int) -> Rows:
    """Return rows of two samples each, whose second texts are three words and `[SEP]`.

    What follows is of one half of the vocabulary and what was drawn at random of the
    other, so that the two can be told apart.
    """
    generator = np.random.default_rng(seed)
    half = (vocab_size - FIRST_WORD) // 2
    lengths = np.full(2 * num_rows, max_length // 2)
    lengths[1::2] -= generator.integers(0, 2, num_rows)
    is_next = generator.random(2 * num_rows) < 0.5
    ids: list[int] = []
    for length, follows in zip(lengths.tolist(), is_next, strict=True):
        first = generator.integers(FIRST_WORD, vocab_size, length - 6)
        second = generator.integers(0, half, 3) + FIRST_WORD + (0 if follows else half)
        ids += [CLS, *first.tolist(), SEP, *second.tolist(), SEP]
    input_ids = np.array(ids, dtype=np.uint16)
    sample_offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Rows(
        max_length=max_length,
        row_length=max_length,
        vocab_size=vocab_size,
        input_ids=input_ids,
        row_offsets=sample_offsets[::2],
        sample_offsets=sample_offsets,
        word_starts=np.ones(len(ids), dtype=bool),
        sentence_starts=input_ids == CLS,
        documents=np.arange(2 * num_rows, dtype=np.uint32),
        second_lengths=np.full(2 * num_rows, 4, dtype=np.uint32),
        is_next=is_next,
    )


def write_pairs(folder: Path, tokenizer: Path, vocab_size: int, max_length: int = 16) -> Path:
    """Write a data set of pairs for `tokenizer`; returns its folder."""
    header = Header(
        format_version=FORMAT_VERSION, format="msgpack", method="segment_text",
        max_length=max_length, row_length=max_length, vocab_size=vocab_size,
        tokenizer_sha256=sha256_file(tokenizer), special_ids={"pad": 0, "mask": 4},
    )  # fmt: skip
    splits = {"train": (64, 1), "validation": (16, 2)}
    rows = {
        split: [make_pairs(num_rows, max_length, vocab_size, seed)]
        for split, (num_rows, seed) in splits.items()
    }
    write_rows(folder, header, rows)
    return folder
