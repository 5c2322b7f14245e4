from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cloze.corpus import document_reader
from cloze.corpus.document_reader import count_documents, read_batches, read_texts
from cloze.errors import ClozeError
from tests.texts import damage_pages, random_text, write_documents


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    path = tmp_path / "train.parquet"
    write_documents(path, [f"text {i}" for i in range(10)], first_id=100)
    return path


@pytest.mark.parametrize("start", range(11))
def test_any_range_of_rows(documents: Path, start: int) -> None:
    assert count_documents(documents) == 10
    for stop in range(start, 11):
        expected = [(100 + i, f"text {i}") for i in range(start, stop)]
        assert list(read_texts(documents, start, stop)) == expected


def test_ranges_within_one_large_row_group(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    texts = [str(i) for i in range(300)]
    pq.write_table(pa.table({"document_id": range(300), "text": texts}), path)
    for start, stop in [(0, 300), (63, 65), (64, 128), (130, 131), (200, 300)]:
        assert [text for _, text in read_texts(path, start, stop)] == texts[start:stop]
    assert len(list(read_texts(path))) == 300


@pytest.mark.parametrize("piece_bytes", [1, 100, 1 << 20])
def test_batches_are_as_full_as_they_may_be_however_the_file_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(document_reader, "_PIECE_BYTES", piece_bytes)
    path = tmp_path / "train.parquet"
    sizes = [10, 0, 90, 0, 0, 101, 250, 0, 60, 30, 20, 1]
    texts = pa.array(["x" * size for size in sizes], pa.large_string())
    ids = pa.array(range(len(sizes)), pa.uint32())
    pq.write_table(pa.table({"document_id": ids, "text": texts}), path)
    found = [batch.ids.tolist() for batch in read_batches(path, batch_bytes=100)]
    assert found == [[0, 1, 2, 3, 4], [5], [6], [7, 8, 9], [10, 11]]
    found = [batch.ids.tolist() for batch in read_batches(path, 2, 9, batch_bytes=100)]
    assert found == [[2, 3, 4], [5], [6], [7, 8]]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ClozeError, match=r"absent\.parquet: no such file"):
        count_documents(tmp_path / "absent.parquet")


def test_truncated_file(documents: Path) -> None:
    documents.write_bytes(documents.read_bytes()[:-10])
    with pytest.raises(ClozeError, match=r"train\.parquet: not a whole parquet file"):
        list(read_texts(documents))


def test_missing_column(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"document_id": [1], "body": ["text"]}), path)
    with pytest.raises(ClozeError, match=r"x\.parquet: no column 'text'"):
        list(read_texts(path))


def test_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_documents(path, [random_text(seed, 20) for seed in range(3)])
    damage_pages(path)
    assert count_documents(path) == 3
    with pytest.raises(
        ClozeError, match=r"x\.parquet: not a whole file of documents \(.*extract_documents\.py"
    ):
        list(read_texts(path))
