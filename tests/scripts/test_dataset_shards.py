"""The shards of a data set: the same bytes however they are made, and a manifest of all."""

import json
from pathlib import Path

import pytest

import collect_shards
import segment_text
from cloze.files import sha256_file
from cloze.tokens.loading import load_rows
from tests.data_sets import METHODS, TRAIN, VALIDATION, build, write_corpus
from tests.texts import write_documents


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name != "metrics.json"
    }


@pytest.mark.parametrize(
    ("method", "shard_format"), [("segment_text", "msgpack"), ("split_tokens", "parquet")]
)
def test_same_bytes_in_every_run_on_any_number_of_threads(
    corpus: Path, tmp_path: Path, method: str, shard_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloze.tokens.dataset.capped_threads", lambda args: args.threads)
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
