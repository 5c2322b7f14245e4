"""Small inputs that many tests share."""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from cloze.files import sha256_file
from cloze.tokens.dataset import ShardName
from cloze.tokens.manifest import (
    FORMAT_VERSION,
    Header,
    Manifest,
    ShardEntry,
    split_entry,
    write_manifest,
)
from cloze.tokens.shards import EXTENSIONS, Rows, open_shard
from cloze.tokens.tokenizer import load_tokenizer, special_ids, vocab_size

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_tokenizer(folder: Path, num_words: int = 59) -> Path:
    """Write a WordPiece tokenizer with words `w0`, `w1`, …; returns tokenizer.json."""
    vocabulary = SPECIAL + [f"w{index}" for index in range(num_words)]
    tokenizer = Tokenizer(
        models.WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )  # fmt: skip
    tokenizer.add_special_tokens(SPECIAL)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def make_rows(num_rows: int, max_length: int, vocab_size: int, seed: int) -> Rows:
    """Rows of two samples each in which every word is followed by its successor."""
    generator = np.random.default_rng(seed)
    ids: list[int] = []
    row_offsets, sample_offsets = [0], [0]
    for _ in range(num_rows):
        for length in (max_length // 2, max_length // 2 - int(generator.integers(0, 4))):
            start = int(generator.integers(vocab_size))
            words = (start + np.arange(length - 2)) % (vocab_size - 5) + 5
            ids += [2, *words.tolist(), 3]
            sample_offsets.append(len(ids))
        row_offsets.append(len(ids))
    input_ids = np.array(ids, dtype=np.uint16)
    return Rows(
        max_length=max_length,
        row_length=max_length,
        vocab_size=vocab_size,
        input_ids=input_ids,
        row_offsets=np.array(row_offsets),
        sample_offsets=np.array(sample_offsets),
        word_starts=np.ones(len(ids), dtype=bool),
        sentence_starts=input_ids == 2,
        documents=np.arange(len(sample_offsets) - 1, dtype=np.uint32),
        second_lengths=np.zeros(len(sample_offsets) - 1, dtype=np.uint32),
        is_next=np.zeros(len(sample_offsets) - 1, dtype=bool),
    )


def write_dataset(
    folder: Path,
    tokenizer: Path,
    num_rows: int = 64,
    max_length: int = 16,
    validation_rows: int = 8,
) -> Path:
    """Write a data set of one shard a split for `tokenizer`; returns its folder."""
    loaded = load_tokenizer(tokenizer)
    size, special = vocab_size(loaded), special_ids(loaded)
    header = Header(
        format_version=FORMAT_VERSION, format="msgpack", method="segment_text",
        max_length=max_length, row_length=max_length, vocab_size=size,
        tokenizer_sha256=sha256_file(tokenizer),
        special_ids={"pad": special.pad, "mask": special.mask},
    )  # fmt: skip
    rows = {
        "train": [make_rows(num_rows, max_length, size, 1)],
        "validation": [make_rows(validation_rows, max_length, size, 2)],
    }
    write_rows(folder, header, rows)
    return folder


def write_rows(folder: Path, header: Header, splits: dict[str, list[Rows]]) -> None:
    """Write a shard for each of the rows of each split, and the manifest."""
    entries: dict[str, list[ShardEntry]] = {split: [] for split in splits}
    for split, shards in splits.items():
        for index, rows in enumerate(shards):
            extension = EXTENSIONS[header.format]
            path = folder / f"{ShardName(split, index, len(shards))}.{extension}"
            entries[split].append(write_one_shard(path, rows, header.format))
    totals = {split: split_entry(shards) for split, shards in entries.items()}
    write_manifest(folder, Manifest(**vars(header), splits=totals))


def write_one_shard(path: Path, rows: Rows, shard_format: str) -> ShardEntry:
    """Write rows as the only block of a shard; documents and text are made up."""
    with open_shard(path, shard_format, rows.vocab_size, rows.row_length) as shard:
        shard.add(rows)
    return ShardEntry(
        file=path.name, rows=rows.num_rows, samples=rows.num_samples, tokens=rows.num_tokens,
        bytes=path.stat().st_size, sha256=sha256_file(path), documents=rows.num_samples,
        text_bytes=4 * rows.num_tokens, unknown_tokens=0,
    )  # fmt: skip
