import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import describe_corpus
import extract_documents
import segment_text
import split_tokens
import train_tokenizer
from cloze.files import read_json, write_json
from tests.texts import MULTILINGUAL
from tests.tiny import write_tokenizer

HOSTILE = "<script>alert('no & \"never\"')</script> {{title}} stands here."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents, tokenizer and two data sets of a small corpus in many scripts."""
    folder = tmp_path_factory.mktemp("corpus")
    long = " ".join(f"The {number}th sentence of a long story is here." for number in range(40))
    paragraphs = [
        f"{HOSTILE}\n{line} Number {n}." for n, line in enumerate(MULTILINGUAL.split("\n"))
    ]
    texts = [*paragraphs, long, paragraphs[0]]
    (folder / "corpus.txt").write_text("\n\n".join(texts), encoding="utf-8")
    source = ["--format", "paragraphs", "--input", str(folder / "corpus.txt")]
    source += ["--validation-fraction", "0.3"]
    assert extract_documents.main([*source, "--output", str(folder / "documents")]) == 0
    train = ["--documents", str(folder / "documents" / "train.parquet"), "--vocab-size", "600"]
    assert train_tokenizer.main([*train, "--output", str(folder / "tokenizer")]) == 0
    shared = [
        *("--documents", str(folder / "documents"), "--max-length", "32", "--threads", "1"),
        *("--tokenizer", str(folder / "tokenizer" / "tokenizer.json")),
    ]
    assert segment_text.main([*shared, "--output", str(folder / "segment")]) == 0
    pairs = ["--next-sentence", "--output", str(folder / "pairs")]
    assert segment_text.main([*shared, *pairs]) == 0
    assert split_tokens.main([*shared, "--output", str(folder / "split")]) == 0
    return folder


def describe(folder: Path, dataset: str, output: Path) -> int:
    return describe_corpus.main(
        [
            *("--documents", str(folder / "documents"), "--dataset", str(folder / dataset)),
            *("--tokenizer", str(folder / "tokenizer" / "tokenizer.json")),
            *("--recipe", "corpus=small", "tokenizer=of <b>600</b>", "--output", str(output)),
        ]
    )


@pytest.mark.parametrize("dataset", ["segment", "split"])
def test_the_facts_agree_with_documents_and_manifest(
    folder: Path, dataset: str, tmp_path: Path
) -> None:
    assert describe(folder, dataset, tmp_path) == 0
    facts = read_json(tmp_path / "corpus.json")
    manifest = read_json(folder / dataset / "manifest.json")["splits"]["train"]
    counted = read_json(folder / "documents" / "metrics.json")["metrics"]
    train = facts["splits"]["train"]
    assert {key: train[key] for key in ("documents", "words", "bytes")} == {
        key: counted["splits"]["train"][key] for key in ("documents", "words", "bytes")
    }
    assert (train["rows"], train["tokens"]) == (manifest["rows"], manifest["tokens"])
    assert facts["text_tokens"] == manifest["tokens"] - 2 * manifest["samples"]
    assert facts["tokens_per_word"] == facts["text_tokens"] / train["words"]
    assert facts["bytes_per_token"] == manifest["text_bytes"] / facts["text_tokens"]
    assert facts["row_fill"] == manifest["tokens"] / (manifest["rows"] * 32)
    assert facts["lengths"]["document"]["summary"]["count"] == train["documents"]
    assert facts["lengths"]["sample"]["summary"]["count"] == manifest["samples"]
    assert facts["duplicates"] == counted["dropped"]["duplicate"] == 1
    sentences = facts["lengths"]["sentence"]["summary"]
    assert (sentences is None) == (dataset == "split")
    assert (facts["cut_sentences"] is None) == (dataset == "split")
    assert "test" in facts["splits"]


def test_pairs_count_the_text_of_a_document_once(folder: Path, tmp_path: Path) -> None:
    facts = {}
    for dataset in ("segment", "pairs"):
        assert describe(folder, dataset, tmp_path / dataset) == 0
        facts[dataset] = read_json(tmp_path / dataset / "corpus.json")
    assert facts["segment"]["pairs"] == {"count": 0, "is_next": 0}
    pairs = facts["pairs"]["pairs"]
    assert pairs["count"] > pairs["is_next"] > 0
    for key in ("text_tokens", "tokens_per_word", "bytes_per_token"):
        assert facts["pairs"][key] == facts["segment"][key]
    documents = [facts[dataset]["lengths"]["document"] for dataset in facts]
    assert documents[0] == documents[1]
    page = (tmp_path / "pairs" / "corpus.html").read_text(encoding="utf-8")
    assert f"Pairs for next-sentence prediction: {pairs['count']}" in page


def test_examples_are_whole_samples_in_the_order_of_the_text(folder: Path, tmp_path: Path) -> None:
    assert describe(folder, "segment", tmp_path) == 0
    examples = read_json(tmp_path / "corpus.json")["examples"]
    assert 1 <= len(examples) <= 3
    assert [e["tokens"] for e in examples] == sorted(e["tokens"] for e in examples)
    for example in examples:
        assert len(example["samples"]) == min(example["num_samples"], 3)
        ends = []
        for sample in example["samples"]:
            tokens = sample["tokens"]
            assert [tokens[0]["token"], tokens[-1]["token"]] == ["[CLS]", "[SEP]"]
            text = "".join(token["token"].removeprefix("##") for token in tokens[1:-1])
            assert text in "".join(example["text"].split())
            ends.append("".join(example["text"].split()).index(text))
        assert ends == sorted(ends)
        assert example["samples"][0]["tokens"][1]["starts_sentence"]


class Tags(HTMLParser):
    """Collects tags and everything that would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in ("meta", "use", "path", "rect"):
            self.open.append(tag)
        links = (value or "" for name, value in attrs if name in ("src", "href", "xlink:href"))
        self.fetched += [link for link in links if not link.startswith("#")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("use", "path", "rect"):
            assert self.open.pop() == tag


@pytest.mark.parametrize("dataset", ["segment", "split"])
def test_the_page_is_one_file_whose_text_is_only_text(
    folder: Path, dataset: str, tmp_path: Path
) -> None:
    assert describe(folder, dataset, tmp_path) == 0
    page = (tmp_path / "corpus.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.fetched == []
    assert tags.seen.isdisjoint({"script", "link", "img", "iframe"})
    assert "url(http" not in page
    assert "small · of &lt;b&gt;600&lt;/b&gt;" in page
    assert "&lt;script&gt;alert(" in page
    # Braces of the text are no placeholders, and no placeholder is left.
    assert set(re.findall(r"\{\{\w+\}\}", page)) == {"{{title}}"}
    for name in ("document_lengths", "sample_lengths", "row_fill", "token_frequencies"):
        assert (tmp_path / f"corpus_{name}.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_the_same_inputs_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert describe(folder, "segment", tmp_path / name) == 0
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) == 6
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_folders_that_do_not_belong_together_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--documents", str(folder / "documents"), "--dataset", str(folder / "segment")]
    other = write_tokenizer(tmp_path / "tokenizer")
    output = ["--output", str(tmp_path / "page")]
    assert describe_corpus.main([*arguments, "--tokenizer", str(other), *output]) == 1
    assert "wrong tokenizer for" in capsys.readouterr().err
    write_json(tmp_path / "documents" / "metrics.json", {"metrics": {"splits": {}}})
    (tmp_path / "documents" / "train.parquet").symlink_to(folder / "documents" / "train.parquet")
    tokenizer = str(folder / "tokenizer" / "tokenizer.json")
    arguments[1] = str(tmp_path / "documents")
    assert describe_corpus.main([*arguments, "--tokenizer", tokenizer, *output]) == 1
    assert "has no 'dropped'; make it with extract_documents.py" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()
