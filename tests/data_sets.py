"""A corpus of many scripts, and data sets made of it."""

from pathlib import Path

import segment_text
import split_tokens
import train_tokenizer
from tests.texts import MULTILINGUAL, random_text, write_documents

TRAIN = [MULTILINGUAL, *(random_text(seed, 25) for seed in range(30)), "", "tiny"]
VALIDATION = [random_text(seed, 10) for seed in range(100, 104)]
METHODS = {"segment_text": segment_text.main, "split_tokens": split_tokens.main}


def write_corpus(folder: Path) -> Path:
    """Write documents and a tokenizer; returns their folder."""
    write_documents(folder / "train.parquet", TRAIN)
    write_documents(folder / "validation.parquet", VALIDATION, first_id=len(TRAIN))
    flags = ["--documents", str(folder / "train.parquet"), "--output", str(folder)]
    assert train_tokenizer.main([*flags, "--vocab-size", "900", "--min-frequency", "1"]) == 0
    return folder


def build(method: str, corpus: Path, output: Path, *flags: str) -> int:
    tokenizer = corpus / "tokenizer.json"
    paths = ["--documents", corpus, "--tokenizer", tokenizer, "--output", output]
    return METHODS[method]([*map(str, paths), "--max-length", "32", "--threads", "1", *flags])
