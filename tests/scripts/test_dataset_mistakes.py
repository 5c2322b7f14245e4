"""Settings, documents and folders of which no data set can be made: each has its message."""

import os
from pathlib import Path

import pytest

import segment_text
from cloze.corpus.document_reader import DocumentBatch
from cloze.errors import ClozeError
from cloze.tokens.dataset import DataSetRecipe, build_data_set
from cloze.tokens.samples import Method, SplitTokens
from tests.data_sets import METHODS, VALIDATION, build, write_corpus
from tests.texts import damage_pages, write_documents


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def recipe(corpus: Path, method: Method) -> DataSetRecipe:
    return DataSetRecipe(corpus / "tokenizer.json", method, 32, 32, 2, "msgpack")


def test_a_row_shorter_than_a_sample(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build("segment_text", corpus, tmp_path, "--row-length", "16") == 1
    assert "row_length of 16 cannot hold a sample of max_length 32" in capsys.readouterr().err


def test_max_length_of_3(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for method in METHODS:
        with pytest.raises(SystemExit):
            build(method, corpus, tmp_path / "out", "--max-length", "3")
        assert "'3' is not a whole number of 8 or more" in capsys.readouterr().err
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
    with pytest.raises(ClozeError, match=r"train\.parquet: not a whole file of documents"):
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
