"""The command line of predict.py: texts from anywhere, predictions as text, JSON and arrays."""

import io
import json
import os
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import predict
from cloze.model.device import resolve_compute
from tests.tiny_task import write_encoder
from tests.unit.test_predictors import write_classifier

CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


@pytest.fixture
def encoder(tmp_path):
    return write_encoder(tmp_path / "encoder")


@pytest.fixture
def classifier(tmp_path):
    return write_classifier(tmp_path / "classifier", ["bad", "good"])


def run(*words):
    return predict.main([str(word) for word in (*words, "--threads", 1, "--device", "cpu")])


def test_arguments_are_classified_as_text(classifier, capsys):
    assert run("classify", "w1 w2", "w3\nw4", "--model", classifier) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[2] for line in lines] == ["w1 w2", "w3 w4"]
    assert all(line[0] in ("bad", "good") and 0.5 <= float(line[1]) <= 1 for line in lines)


@pytest.mark.parametrize(("before", "capacity"), [({}, "64"), ({CAPACITY: "2"}, "2")])
def test_few_products_stay_planned_unless_told(before, capacity, classifier, monkeypatch):
    for name in (CAPACITY, "LRU_CACHE_CAPACITY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    first_products = []

    def resolve(*arguments):
        first_products.append((os.environ[CAPACITY], os.environ["LRU_CACHE_CAPACITY"]))
        return resolve_compute(*arguments)

    monkeypatch.setattr(predict, "resolve_compute", resolve)
    assert run("classify", "w1", "--model", classifier) == 0
    assert first_products == [(capacity, "1")]


def test_json_lines_hold_every_probability(classifier, capsys):
    assert run("classify", "w1 w2", "--json", "--model", classifier) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["text"] == "w1 w2"
    assert record["score"] == record["probabilities"][record["label"]]
    assert sum(record["probabilities"].values()) == pytest.approx(1)


def test_standard_input_is_a_text_a_line(encoder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"w1 [MASK]\n[MASK] w2\n")))
    assert run("fill-mask", "--json", "--top-k", 3, "--model", encoder) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["text"] for record in records] == ["w1 [MASK]", "[MASK] w2"]
    assert [len(record["masks"][0]) for record in records] == [3, 3]


def test_masks_are_filled_a_line_each(encoder, capsys):
    assert run("fill-mask", "[MASK] w1 [MASK]", "--top-k", 2, "--model", encoder) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_an_array_has_a_row_for_each_line_blank_ones_too(encoder, tmp_path):
    (tmp_path / "texts.txt").write_text("w1 w2\n\nw3\n")
    output = tmp_path / "vectors.npy"
    assert (
        run("embed", "--input", tmp_path / "texts.txt", "--output", output, "--model", encoder) == 0
    )
    vectors = np.load(output, mmap_mode="r")
    assert vectors.shape == (3, 32)
    assert vectors.dtype == np.float32
    assert np.unique(vectors, axis=0).shape == (3, 32)


def test_a_table_of_embeddings_keeps_the_texts(encoder, tmp_path):
    rows = {"review": ["w1", "w2 w3"], "stars": [1, 2]}
    pq.write_table(pa.table(rows), tmp_path / "texts.parquet")
    flags = ("--input", tmp_path / "texts.parquet", "--column", "review")
    assert run("embed", *flags, "--output", tmp_path / "out.parquet", "--model", encoder) == 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["text"].to_pylist() == rows["review"]
    assert np.array(table["embedding"].to_pylist()).shape == (2, 32)


def test_array_and_table_and_json_lines_hold_the_same_vectors(encoder, tmp_path, capsys):
    for name in ("out.npy", "out.parquet"):
        run("embed", "w1 w2", "w3", "--output", tmp_path / name, "--model", encoder)
    run("embed", "w1 w2", "w3", "--model", encoder)
    lines = [json.loads(line)["embedding"] for line in capsys.readouterr().out.splitlines()]
    table = pq.read_table(tmp_path / "out.parquet")["embedding"].to_pylist()
    expected = np.load(tmp_path / "out.npy")
    np.testing.assert_array_equal(np.array(lines, np.float32), expected)
    np.testing.assert_array_equal(np.array(table, np.float32), expected)


@pytest.mark.parametrize(
    "name",
    [
        *("texts.csv", "texts.tsv", "texts.jsonl", "texts.txt.gz"),
        *("texts.json", "texts.ndjson", "texts.JSON", "texts.json.gz"),
    ],
)
def test_files_are_read_by_their_suffix(classifier, tmp_path, name, capsys):
    import gzip

    contents = {
        "texts.csv": b'id,text\n1,"w1, w2"\n',
        "texts.tsv": b"id\ttext\n1\tw1, w2\n",
        "texts.jsonl": b'{"text": "w1, w2"}\n',
        "texts.txt.gz": gzip.compress(b"w1, w2\n"),
        "texts.json.gz": gzip.compress(b'{"text": "w1, w2"}\n'),
    }
    (tmp_path / name).write_bytes(contents.get(name, contents["texts.jsonl"]))
    assert run("classify", "--input", tmp_path / name, "--json", "--model", classifier) == 0
    assert json.loads(capsys.readouterr().out)["text"] == "w1, w2"


def test_two_columns_are_a_pair(classifier, tmp_path, capsys):
    (tmp_path / "pairs.jsonl").write_text('{"a": "w1", "b": "w2 w3"}\n')
    flags = ("--input", tmp_path / "pairs.jsonl", "--column", "a", "b", "--json")
    assert run("classify", *flags, "--model", classifier) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["text"], record["second_text"]) == ("w1", "w2 w3")


def test_a_file_of_predictions_appears_only_when_whole(encoder, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("w1 [MASK]\nw2\n")
    output = tmp_path / "out.jsonl"
    flags = ("--input", tmp_path / "texts.txt", "--output", output)
    assert run("fill-mask", *flags, "--model", encoder) == 1
    assert "texts.txt: line 2: has no [MASK]" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder", "texts.txt"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.dat", b"w1 w2\n", "a.dat: the name does not say what the file is; give --format (text"),
        ("reviews", b"w1 w2\n", "reviews: the name does not say what the file is"),
        ("a.xlsx", b"PK\x03\x04" + bytes(22) + b"\x02\0\0\0xl/", "a.xlsx: is a"),
        ("a.pdf", b"%PDF-1.7\n", "a.pdf: is a PDF; take its text out first"),
        ("a.json", b'[{"text": "w1"}]', "a.json: line 1: not a JSON object; jsonl is one object"),
        ("a.json", b'{\n "text": "w1"\n}\n', "one object a line; make it so: jq -c"),
        ("a.txt", "w1\nw2\n".encode("utf-16"), "a.txt: is UTF-16 text; convert it: iconv"),
        ("a.tsv", b"w1\t1\nw2\t2\n", "there are: w1, 1; if they are the first row's values"),
    ],
)
def test_what_cannot_be_read_as_text_is_named(classifier, tmp_path, capsys, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert run("classify", "--input", tmp_path / name, "--model", classifier) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert not captured.out


@pytest.mark.parametrize(
    ("name", "content", "flags"),
    [
        ("a.tsv", b"w1 w2\t1\nw3\t2\n", ["--no-header", "--column", "0"]),
        ("a.csv", b"1;w1 w2\n2;w3\n", ["--no-header", "--column", "1"]),
        ("a.csv", b"1|w1 w2\n2|w3\n", ["--no-header", "--column", "1", "--delimiter", "|"]),
        ("a.tsv", b'text\n"w1 w2"\nw3\n', ["--quoting"]),
        ("a.dat", b"text\nw1 w2\nw3\n", ["--format", "csv"]),
    ],
)
def test_tables_are_read_as_they_are_said_to_be(classifier, tmp_path, capsys, name, content, flags):
    (tmp_path / name).write_bytes(content)
    words = ("classify", "--json", *flags, "--input", tmp_path / name)
    assert run(*words, "--model", classifier) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["w1 w2", "w3"]


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".JSONL"])
def test_the_suffix_of_the_output_says_its_form(classifier, tmp_path, suffix):
    output = tmp_path / f"out{suffix}"
    assert run("classify", "w1", "w2", "--output", output, "--model", classifier) == 0
    assert [json.loads(line)["text"] for line in output.read_text().splitlines()] == ["w1", "w2"]
    for name in ("out.tsv", "out.txt", "out"):
        output = tmp_path / name
        assert run("classify", "w1", "--output", output, "--model", classifier) == 0
        assert output.read_text().endswith("\tw1\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["classify", "w1", "--output", "o.csv"], "--output o.csv: .csv cannot be written; end it"),
        (["embed", "w1", "--output", "out.csv"], ".csv is unknown; use .npy or .parquet"),
        (["embed", "w1", "--input", "a.txt"], "--input: texts were given as arguments too"),
        (["embed", "--input", "absent.txt"], "absent.txt: no such file"),
        (["embed", "--column", "a", "b", "c"], "--column: 3 names"),
        (["classify", "w1"], "cannot classify"),
    ],
)
def test_mistakes_are_named(encoder, capsys, words, message):
    assert run(*words, "--model", encoder) == 1
    assert message in capsys.readouterr().err


def test_texts_that_were_cut_are_reported(encoder, capsys, tmp_path):
    output = tmp_path / "out.npy"
    run("embed", "w1 " * 40, "w1", "--output", output, "--model", encoder)
    assert "1 of 2 texts were cut to 32 tokens" in capsys.readouterr().err
