"""The samples of segment_text.py and split_tokens.py: what both promise, what each does alone."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

import segment_text
from cloze.tokens.loading import load_rows
from cloze.tokens.samples import split_sentences
from cloze.tokens.shards import Rows
from cloze.tokens.tokenizer import load_tokenizer
from tests.data_sets import METHODS, TRAIN, VALIDATION, build, write_corpus
from tests.texts import without_space, write_documents


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def samples_by_document(rows: Rows) -> dict[int, list[tuple[int, ...]]]:
    found: dict[int, list[tuple[int, ...]]] = {}
    parts = np.split(rows.input_ids, rows.sample_offsets[1:-1])
    for document, part in zip(rows.documents.tolist(), parts, strict=True):
        found.setdefault(document, []).append(tuple(part.tolist()))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_both_formats_hold_the_same_rows(corpus: Path, tmp_path: Path, method: str) -> None:
    for shard_format in ("msgpack", "parquet"):
        flags = ["--format", shard_format, "--num-shards", "2"]
        assert build(method, corpus, tmp_path / shard_format, *flags) == 0
    for split in ("train", "validation"):
        left, right = (
            load_rows(tmp_path / shard_format, split, corpus / "tokenizer.json")
            for shard_format in ("msgpack", "parquet")
        )
        assert left.num_samples > 20
        for name in vars(left):
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


@pytest.mark.parametrize("method", METHODS)
def test_every_document_is_there_once_and_alone(corpus: Path, tmp_path: Path, method: str) -> None:
    assert build(method, corpus, tmp_path, "--num-shards", "4") == 0
    tokenizer = load_tokenizer(corpus / "tokenizer.json")
    texts = dict(enumerate(TRAIN + VALIDATION))
    for split, ids in [("train", range(len(TRAIN))), ("validation", range(len(TRAIN), len(texts)))]:
        rows = load_rows(tmp_path, split, corpus / "tokenizer.json")
        samples = samples_by_document(rows)
        assert sorted(samples) == [i for i in ids if texts[i].strip()]
        for document, parts in samples.items():
            tokens = [tokenizer.id_to_token(i) for part in parts for i in part[1:-1]]
            characters = "".join(token.removeprefix("##") for token in tokens)
            assert Counter(characters) == Counter(without_space(texts[document]))


def test_sentences_of_the_corpus_are_found_whole(corpus: Path, tmp_path: Path) -> None:
    assert build("segment_text", corpus, tmp_path, "--max-length", "512") == 0
    tokenizer = load_tokenizer(corpus / "tokenizer.json")
    rows = load_rows(tmp_path, "validation", None)
    decoded = [
        without_space(tokenizer.decode(part.tolist()))
        for part in np.split(rows.input_ids, rows.sample_offsets[1:-1])
    ]
    for text in VALIDATION:
        for sentence in split_sentences(text, "en"):
            assert any(without_space(sentence) in sample for sample in decoded)


def test_whole_words(corpus: Path, tmp_path: Path) -> None:
    begins_in_a_word = {}
    for flag in ("--whole-words", "--no-whole-words"):
        assert build("split_tokens", corpus, tmp_path / flag, flag, "--max-length", "150") == 0
        rows = load_rows(tmp_path / flag, "train", None)
        begins_in_a_word[flag] = int((~rows.word_starts[rows.sample_offsets[:-1] + 1]).sum())
    assert begins_in_a_word["--whole-words"] == 0 < begins_in_a_word["--no-whole-words"]


def test_language_decides_about_sentences(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    for split in ("train", "validation"):
        write_documents(folder / f"{split}.parquet", ["Das ist bzw. Und zzgl. Mehr am 3. Oktober."])
    counts = {}
    for language in ("en", "de"):
        tokenizer = str(corpus / "tokenizer.json")
        flags = ["--documents", str(folder), "--tokenizer", tokenizer, "--threads", "1"]
        assert (
            segment_text.main(
                [*flags, "--language", language, "--output", str(tmp_path / language)]
            )
            == 0
        )
        rows = load_rows(tmp_path / language, "train", None)
        counts[language] = int(rows.sentence_starts.sum()) - rows.num_samples
    assert counts["de"] < counts["en"]


def spell(tokens: Iterable[int]) -> str:
    return f" {' '.join(map(str, tokens))} "


@pytest.mark.parametrize("shard_format", ["msgpack", "parquet"])
def test_next_sentence_pairs(corpus: Path, tmp_path: Path, shard_format: str) -> None:
    flags = ["--next-sentence", "--num-shards", "2", "--format", shard_format]
    assert build("segment_text", corpus, tmp_path, *flags) == 0
    tokenizer = load_tokenizer(corpus / "tokenizer.json")
    sep = tokenizer.token_to_id("[SEP]")
    rows = load_rows(tmp_path, "train", corpus / "tokenizer.json")
    samples = np.split(rows.input_ids, rows.sample_offsets[1:-1])
    streams = [
        spell(
            token
            for sentence in split_sentences(text, "en")
            for token in tokenizer.encode(sentence, add_special_tokens=False).ids
        )
        for text in TRAIN
    ]
    for index, sample in enumerate(samples):
        assert len(sample) <= 32
        middle = len(sample) - rows.second_lengths[index] - 1
        assert np.flatnonzero(sample == sep).tolist() == [middle, len(sample) - 1]
        first, second = spell(sample[1:middle]), spell(sample[middle + 1 : -1])
        own = streams[rows.documents[index]]
        assert first in own
        assert not rows.is_next[index] or first + second[1:] in own
        assert any(second in stream for stream in streams)
    assert 0.3 < rows.is_next.mean() < 0.6


def test_longer_rows_hold_more_samples(corpus: Path, tmp_path: Path) -> None:
    fills = []
    for row_length in ("32", "128"):
        assert build("segment_text", corpus, tmp_path, "--row-length", row_length) == 0
        rows = load_rows(tmp_path, "train", None)
        assert np.diff(rows.sample_offsets).max() <= 32
        assert 32 < np.diff(rows.row_offsets).max() <= 128 or row_length == "32"
        fills.append(rows.num_tokens / (rows.num_rows * rows.row_length))
    assert fills[1] > fills[0]
