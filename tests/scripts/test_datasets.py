"""segment_text.py and split_tokens.py: what both promise, and what each does alone."""

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

import collect_shards
import segment_text
import split_tokens
import train_tokenizer
from cloze.corpus.document_reader import DocumentBatch
from cloze.data.dataset import DataSetRecipe, build_data_set
from cloze.data.loading import load_rows
from cloze.data.samples import Method, SplitTokens
from cloze.data.sentences import split_sentences
from cloze.data.shards import Rows
from cloze.data.tokenizer import load_tokenizer
from cloze.errors import ClozeError
from cloze.files import sha256_file
from tests.texts import MULTILINGUAL, damage_pages, random_text, without_space, write_documents

TRAIN = [MULTILINGUAL, *(random_text(seed, 25) for seed in range(30)), "", "tiny"]
VALIDATION = [random_text(seed, 10) for seed in range(100, 104)]
METHODS = {"segment_text": segment_text.main, "split_tokens": split_tokens.main}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_documents(folder / "train.parquet", TRAIN)
    write_documents(folder / "validation.parquet", VALIDATION, first_id=len(TRAIN))
    flags = ["--documents", str(folder / "train.parquet"), "--output", str(folder)]
    assert train_tokenizer.main([*flags, "--vocab-size", "900", "--min-frequency", "1"]) == 0
    return folder


def build(method: str, corpus: Path, output: Path, *flags: str) -> int:
    tokenizer = corpus / "tokenizer.json"
    paths = ["--documents", corpus, "--tokenizer", tokenizer, "--output", output]
    return METHODS[method]([*map(str, paths), "--max-length", "32", "--threads", "1", *flags])


def recipe(corpus: Path, method: Method) -> DataSetRecipe:
    return DataSetRecipe(corpus / "tokenizer.json", method, 32, 32, 2, "msgpack")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name != "metrics.json"
    }


def samples_by_document(rows: Rows) -> dict[int, list[tuple[int, ...]]]:
    found: dict[int, list[tuple[int, ...]]] = {}
    parts = np.split(rows.input_ids, rows.sample_offsets[1:-1])
    for document, part in zip(rows.documents.tolist(), parts, strict=True):
        found.setdefault(document, []).append(tuple(part.tolist()))
    return found


@pytest.mark.parametrize(
    ("method", "shard_format"), [("segment_text", "msgpack"), ("split_tokens", "parquet")]
)
def test_same_bytes_in_every_run_on_any_number_of_threads(
    corpus: Path, tmp_path: Path, method: str, shard_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloze.data.dataset_cli.capped_threads", lambda args: args.threads)
    flags = ["--num-shards", "3", "--format", shard_format]
    assert build(method, corpus, tmp_path / "first", *flags) == 0
    assert build(method, corpus, tmp_path / "second", *flags) == 0
    assert build(method, corpus, tmp_path / "four", *flags, "--threads", "4") == 0
    first = contents(tmp_path / "first")
    extension = {"msgpack": "msgpack.gz", "parquet": "parquet"}[shard_format]
    assert set(first) == {
        "manifest.json",
        *(f"train-0000{i}-of-00003.{end}" for i in range(3) for end in (extension, "json")),
        *(f"validation-00000-of-00001.{end}" for end in (extension, "json")),
    }
    assert first == contents(tmp_path / "second") == contents(tmp_path / "four")


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


def test_manifest_and_metrics_say_what_is_there(corpus: Path, tmp_path: Path) -> None:
    assert build("segment_text", corpus, tmp_path, "--num-shards", "2") == 0
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["tokenizer_sha256"] == sha256_file(corpus / "tokenizer.json")
    assert (manifest["method"], manifest["max_length"]) == ("segment_text", 32)
    assert manifest["special_ids"] == {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
    for split, texts in (("train", TRAIN), ("validation", VALIDATION)):
        rows = load_rows(tmp_path, split, None)
        entry = manifest["splits"][split]
        assert entry["text_bytes"] == sum(len(text.encode()) for text in texts)
        assert (entry["rows"], entry["samples"]) == (rows.num_rows, rows.num_samples)
        assert (entry["tokens"], entry["documents"]) == (rows.num_tokens, len(texts))
    metrics = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert metrics["train"]["unknown_token_share"] == 0
    assert metrics["train"]["row_fill"] == pytest.approx(
        manifest["splits"]["train"]["tokens"] / manifest["splits"]["train"]["rows"] / 32
    )


def test_a_second_run_leaves_nothing_of_the_first(corpus: Path, tmp_path: Path) -> None:
    assert build("split_tokens", corpus, tmp_path, "--num-shards", "5") == 0
    assert build("split_tokens", corpus, tmp_path, "--num-shards", "2", "--format", "parquet") == 0
    assert sorted(path.name for path in tmp_path.glob("*-of-*")) == [
        "train-00000-of-00002.json",
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.json",
        "train-00001-of-00002.parquet",
        "validation-00000-of-00001.json",
        "validation-00000-of-00001.parquet",
    ]


def test_more_shards_than_documents(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    for split in ("train", "validation"):
        write_documents(folder / f"{split}.parquet", ["One text.", "Another text."])
    tokenizer = corpus / "tokenizer.json"
    flags = ["--documents", str(folder), "--tokenizer", str(tokenizer), "--num-shards", "5"]
    flags += ["--threads", "1"]
    assert segment_text.main([*flags, "--output", str(tmp_path / "out")]) == 0
    rows = load_rows(tmp_path / "out", "train", tokenizer)
    assert rows.documents.tolist() == [0, 1]


@pytest.mark.parametrize("method", METHODS)
def test_shards_made_one_by_one_are_those_made_together(
    corpus: Path, tmp_path: Path, method: str
) -> None:
    together, apart = tmp_path / "together", tmp_path / "apart"
    flags = ["--num-shards", "2"]
    assert build(method, corpus, together, *flags) == 0
    for name in ("validation-00000-of-00001", "train-00001-of-00002", "train-00000-of-00002"):
        assert build(method, corpus, apart, *flags, "--shard", name) == 0
    assert collect_shards.main(["--dataset", str(apart), *flags]) == 0
    assert contents(apart) == contents(together)


def test_collecting_wants_every_shard_made_alike(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--num-shards", "2"]
    collect = ["--dataset", str(tmp_path), *flags]
    assert build("split_tokens", corpus, tmp_path, *flags, "--shard", "train-00000-of-00002") == 0
    assert collect_shards.main(collect) == 1
    assert "train-00001-of-00002.json: no such file" in capsys.readouterr().err
    other = ["--max-length", "64", "--shard", "train-00001-of-00002"]
    assert build("split_tokens", corpus, tmp_path, *flags, *other) == 0
    validation = ["--shard", "validation-00000-of-00001"]
    assert build("split_tokens", corpus, tmp_path, *flags, *validation) == 0
    assert collect_shards.main(collect) == 1
    assert "train-00001-of-00002.json: made with other settings" in capsys.readouterr().err
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("name", ["train-3", "test-00000-of-00001", "train-00002-of-00002"])
def test_a_shard_of_no_such_name(
    corpus: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        build("split_tokens", corpus, tmp_path, "--shard", name)
    assert "is no shard's name" in capsys.readouterr().err


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


def test_a_row_shorter_than_a_sample(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build("segment_text", corpus, tmp_path, "--row-length", "16") == 1
    assert "row_length of 16 cannot hold a sample of max_length 32" in capsys.readouterr().err


def test_max_length_of_3(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for method in METHODS:
        assert build(method, corpus, tmp_path / "out", "--max-length", "3") == 1
        assert "max_length of 3 leaves too little room for text" in capsys.readouterr().err
    assert build("split_tokens", corpus, tmp_path / "out", "--max-length", "8") == 0


@pytest.mark.parametrize("split", ["train", "validation"])
def test_documents_without_text(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], split: str
) -> None:
    for name in ("train", "validation"):
        texts = [" \n"] if name == split else ["Some text."]
        write_documents(tmp_path / f"{name}.parquet", texts)
    flags = ["--documents", str(tmp_path), "--tokenizer", str(corpus / "tokenizer.json")]
    flags += ["--threads", "1"]
    assert segment_text.main([*flags, "--output", str(tmp_path / "out")]) == 1
    assert f"the 1 documents of {split} hold no text" in capsys.readouterr().err
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_bad_input_reads_the_same_from_another_process(
    corpus: Path, tmp_path: Path, threads: int
) -> None:
    for split in ("train", "validation"):
        write_documents(tmp_path / f"{split}.parquet", VALIDATION)
    damage_pages(tmp_path / "train.parquet")
    with pytest.raises(ClozeError, match=r"train\.parquet: damaged"):
        build_data_set(tmp_path, tmp_path / "out", recipe(corpus, SplitTokens(False)), threads)


class DyingMethod(SplitTokens):
    """Ends its process without a word, as the kernel does when memory runs out."""

    def lines(self, documents: DocumentBatch) -> DocumentBatch:
        os._exit(9)


def test_a_killed_process_is_reported(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ClozeError, match="a process that was writing shards was killed"):
        build_data_set(corpus, tmp_path, recipe(corpus, DyingMethod(False)), 2)
    assert not (tmp_path / "manifest.json").exists()


def test_output_that_is_a_file(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    output.write_text("a file where a folder should be")
    assert build("segment_text", corpus, output) == 1
    assert f"{output}" in capsys.readouterr().err


def test_missing_documents(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--documents", str(tmp_path), "--tokenizer", str(corpus / "tokenizer.json")]
    flags += ["--threads", "1"]
    assert segment_text.main([*flags, "--output", str(tmp_path / "out")]) == 1
    assert "train.parquet: no such file" in capsys.readouterr().err
