import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cloze.errors import ClozeError
from cloze.files import read_object, sha256_file, write_sealed
from cloze.tokens.loading import iterate_rows, load_rows
from cloze.tokens.manifest import FORMAT_VERSION, Header
from cloze.tokens.shards import Rows, open_shard, read_shard
from tests.tiny import write_one_shard, write_rows

FORMATS = ["msgpack", "parquet"]


def make_rows(seed: int, num_rows: int, vocab_size: int = 30522) -> Rows:
    rng = np.random.default_rng(seed)
    samples_per_row = rng.integers(1, 5, size=num_rows)
    lengths = rng.integers(3, 30, size=int(samples_per_row.sum()))
    sample_offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    row_samples = np.concatenate([[0], np.cumsum(samples_per_row)])
    num_tokens = int(sample_offsets[-1])
    return Rows(
        max_length=128,
        row_length=128,
        vocab_size=vocab_size,
        input_ids=rng.integers(0, vocab_size, num_tokens).astype(
            np.uint16 if vocab_size <= 65536 else np.uint32
        ),
        row_offsets=sample_offsets[row_samples],
        sample_offsets=sample_offsets,
        word_starts=rng.random(num_tokens) < 0.8,
        sentence_starts=rng.random(num_tokens) < 0.1,
        documents=rng.integers(0, 2**32, len(lengths)).astype(np.uint32),
        second_lengths=rng.integers(0, 30, len(lengths)).astype(np.uint32),
        is_next=rng.random(len(lengths)) < 0.5,
    )


def write_data_set(folder: Path, parts: list[Rows], shard_format: str, tokenizer: Path) -> None:
    header = Header(
        format_version=FORMAT_VERSION,
        format=shard_format,
        method="segment_text",
        max_length=128,
        row_length=128,
        vocab_size=parts[0].vocab_size,
        tokenizer_sha256=sha256_file(tokenizer),
        special_ids={"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4},
    )
    write_rows(folder, header, {"train": parts})


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    return path


@pytest.fixture(params=FORMATS)
def data_set(request: pytest.FixtureRequest, tmp_path: Path, tokenizer: Path) -> Path:
    folder = tmp_path / "data"
    write_data_set(folder, [make_rows(0, 20), make_rows(1, 7)], request.param, tokenizer)
    return folder


def assert_same(left: Rows, right: Rows) -> None:
    for field in dataclasses.fields(Rows):
        a, b = getattr(left, field.name), getattr(right, field.name)
        np.testing.assert_array_equal(a, b, err_msg=field.name)
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None), field.name


@pytest.mark.parametrize("vocab_size", [30522, 65536, 65537])
@pytest.mark.parametrize("shard_format", FORMATS)
def test_rows_survive_the_disk(
    tmp_path: Path, tokenizer: Path, shard_format: str, vocab_size: int
) -> None:
    rows = make_rows(3, 50, vocab_size)
    write_data_set(tmp_path, [rows], shard_format, tokenizer)
    loaded = load_rows(tmp_path, "train", tokenizer)
    assert_same(loaded, rows)
    assert loaded.input_ids.itemsize == (2 if vocab_size <= 65536 else 4)


def test_shards_follow_one_another(data_set: Path, tokenizer: Path) -> None:
    first, second = make_rows(0, 20), make_rows(1, 7)
    rows = load_rows(data_set, "train", tokenizer)
    assert (rows.num_rows, rows.num_samples) == (27, first.num_samples + second.num_samples)
    assert rows.num_tokens == first.num_tokens + second.num_tokens
    np.testing.assert_array_equal(
        rows.row_offsets,
        np.concatenate([first.row_offsets, first.num_tokens + second.row_offsets[1:]]),
    )
    np.testing.assert_array_equal(rows.input_ids[first.num_tokens :], second.input_ids)
    np.testing.assert_array_equal(
        rows.documents, np.concatenate([first.documents, second.documents])
    )


@pytest.mark.parametrize("shard_format", FORMATS)
def test_an_empty_shard_is_a_shard(tmp_path: Path, tokenizer: Path, shard_format: str) -> None:
    parts = [make_rows(0, 0), make_rows(1, 4), make_rows(0, 0)]
    write_data_set(tmp_path, parts, shard_format, tokenizer)
    assert_same(load_rows(tmp_path, "train", tokenizer), parts[1])


@pytest.mark.parametrize("shard_format", FORMATS)
def test_blocks_of_a_shard_follow_one_another(
    tmp_path: Path, tokenizer: Path, shard_format: str
) -> None:
    parts = [make_rows(0, 20), make_rows(1, 7), make_rows(2, 0)]
    write_data_set(tmp_path, [parts[0]], shard_format, tokenizer)
    (path,) = tmp_path.glob("train-*")
    with open_shard(path, shard_format, 30522, 128) as shard:
        for part in parts:
            shard.add(part)
    blocks = list(read_shard(path, shard_format))
    ids = np.concatenate([block.input_ids for block in blocks])
    np.testing.assert_array_equal(ids, np.concatenate([part.input_ids for part in parts]))
    assert [len(block.samples_per_row) for block in blocks if len(block.input_ids)] == [20, 7]


def test_what_exceeds_memory_is_mapped_and_decoded_once(
    data_set: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = load_rows(data_set, "train", tokenizer)
    mapped = load_rows(data_set, "train", tokenizer, memory_bytes=0)
    assert isinstance(mapped.input_ids, np.memmap)
    assert_same(mapped, in_memory)
    (cache,) = (data_set / ".cache").glob("train-????????????")
    monkeypatch.setattr("cloze.tokens.loading._fill", None)
    assert_same(load_rows(data_set, "train", tokenizer, memory_bytes=0), in_memory)
    # Another data set under the same name has a cache of its own.
    manifest = data_set / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(TypeError):
        load_rows(data_set, "train", tokenizer, memory_bytes=0)
    assert list(cache.parent.glob("train-????????????")) == [cache]


def test_a_split_is_read_block_by_block(data_set: Path, tokenizer: Path) -> None:
    blocks = list(iterate_rows(data_set, "train", tokenizer))
    assert_same(blocks[0], make_rows(0, 20))
    assert_same(blocks[1], make_rows(1, 7))


@pytest.mark.parametrize("shard_format", FORMATS)
def test_same_rows_same_bytes(tmp_path: Path, shard_format: str) -> None:
    first = write_one_shard(tmp_path / "a", make_rows(0, 9), shard_format)
    second = write_one_shard(tmp_path / "b", make_rows(0, 9), shard_format)
    other = write_one_shard(tmp_path / "c", make_rows(1, 9), shard_format)
    assert first.sha256 == second.sha256 != other.sha256
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_parquet_is_one_line_a_row(tmp_path: Path) -> None:
    rows = make_rows(0, 3)
    write_one_shard(tmp_path / "x.parquet", rows, "parquet")
    lines = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert len(lines) == 3
    assert [len(line["input_ids"]) for line in lines] == np.diff(rows.row_offsets).tolist()
    assert all(sum(line["sample_lengths"]) == len(line["input_ids"]) for line in lines)


def first_shard(data_set: Path) -> Path:
    return next(path for path in sorted(data_set.iterdir()) if path.name.startswith("train-00000"))


def test_truncated_shard(data_set: Path, tokenizer: Path) -> None:
    shard = first_shard(data_set)
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(
        ClozeError, match=rf"{shard}: truncated shard .* delete it and .*manifest.json"
    ):
        load_rows(data_set, "train", tokenizer)


def test_damaged_shard(data_set: Path, tokenizer: Path) -> None:
    shard = first_shard(data_set)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ClozeError, match=rf"{shard}: damaged shard .*sha256"):
        load_rows(data_set, "train", tokenizer)


def test_missing_shard(data_set: Path, tokenizer: Path) -> None:
    shard = first_shard(data_set)
    shard.unlink()
    with pytest.raises(
        ClozeError, match=rf"{shard}: missing shard; delete .*manifest.json and run again"
    ):
        load_rows(data_set, "train", tokenizer)


def test_wrong_tokenizer(data_set: Path, tokenizer: Path) -> None:
    tokenizer.write_text("{ }")
    with pytest.raises(ClozeError, match=rf"{tokenizer}: wrong tokenizer for {data_set}"):
        load_rows(data_set, "train", tokenizer)
    assert load_rows(data_set, "train", None).num_rows == 27


def test_unknown_split(data_set: Path, tokenizer: Path) -> None:
    with pytest.raises(ClozeError, match=r"no split 'test' .* \['train'\]"):
        load_rows(data_set, "test", tokenizer)


def test_folder_without_manifest(data_set: Path, tokenizer: Path) -> None:
    (data_set / "manifest.json").unlink()
    with pytest.raises(ClozeError, match=r"manifest\.json: no such file, so .* no finished data"):
        load_rows(data_set, "train", tokenizer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format_version is 99, this version of Cloze reads 2"),
        ({"splits": {"train": {}}}, "not a manifest of this format"),
        ({"colour": "red"}, "not a manifest of this format .*colour"),
    ],
)
def test_manifest_of_another_shape(
    data_set: Path, tokenizer: Path, change: dict[str, object], message: str
) -> None:
    path = data_set / "manifest.json"
    write_sealed(path, {**read_object(path), **change})
    with pytest.raises(ClozeError, match=message):
        load_rows(data_set, "train", tokenizer)
