"""Documents are stored as they are, split by their text, and dropped only for a counted reason."""

import errno
import itertools
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cloze.corpus import documents
from cloze.corpus.cleaning import Cleaning, Filters
from cloze.corpus.document_splits import Part, SplitAssigner, write_splits
from cloze.corpus.documents import (
    SCHEMA,
    Document,
    DocumentWriter,
    StoredDocument,
    read_documents,
)
from cloze.corpus.duplicates import Deduplicator
from cloze.corpus.parts import cleaned_batches
from cloze.errors import ClozeError
from cloze.files import SPLITS

TEXTS = [f"Text number {n} of many." for n in range(2000)]
KEEP = Cleaning()
FILES = {"dropped.tsv.gz", *(f"{split}.parquet" for split in SPLITS)}
SCRIPTS = "日本語。 e\u0301 ﷺ 👩‍👩‍👧 \u2028 \x85 \x0b नमस्ते\u200d \t lone\rreturn  "


def part(
    texts: Iterable[str],
    split: str | None = None,
    source: str = "a.txt",
    cleaning: Cleaning = KEEP,
) -> Part:
    documents = [Document(source, "", text) for text in texts]
    return Part(cleaned_batches(documents, cleaning), split)


def write(
    folder: Path,
    parts: Iterable[Part],
    draw: SplitAssigner,
    deduplicator: Deduplicator | None = None,
) -> dict[str, Any]:
    return write_splits(folder, parts, draw, deduplicator or Deduplicator(), KEEP.reasons, "corpus")


def split_texts(
    folder: Path,
    texts: Iterable[str],
    validation: float = 0.1,
    test: float = 0.1,
    source: str = "a.txt",
) -> dict[str, list[str]]:
    write(folder, [part(texts, source=source)], SplitAssigner(validation, test))
    return stored_texts(folder)


def stored_texts(folder: Path) -> dict[str, list[str]]:
    return {
        split: [row.text for row in read_documents(folder / f"{split}.parquet")] for split in SPLITS
    }


def write_own_splits(
    folder: Path, deduplicator: Deduplicator | None = None, **texts: list[str]
) -> dict[str, Any]:
    parts = [part(held, split) for split, held in texts.items()]
    return write(folder, parts, SplitAssigner(0, 0), deduplicator)


def rows(documents: list[StoredDocument]) -> pa.RecordBatch:
    columns = dict(zip(SCHEMA.names, zip(*documents, strict=True), strict=True))
    columns |= {"characters": [0] * len(documents), "words": [0] * len(documents)}
    schema = pa.schema([*SCHEMA, ("characters", pa.uint64()), ("words", pa.uint64())])
    return pa.record_batch(
        [pa.array(columns[field.name], field.type) for field in schema], schema=schema
    )


def test_text_survives_unchanged_but_for_carriage_returns(tmp_path: Path) -> None:
    write_own_splits(tmp_path, validation=["a\r\nb\r\n"], train=[SCRIPTS])

    assert stored_texts(tmp_path) == {"train": [SCRIPTS], "validation": ["a\nb\n"], "test": []}


def test_all_three_files_have_the_schema_even_when_empty(tmp_path: Path) -> None:
    write_own_splits(tmp_path, validation=["a"], train=["b"])

    for split in SPLITS:
        schema = pq.read_schema(tmp_path / f"{split}.parquet")
        assert schema.equals(SCHEMA)
        assert "pandas" not in str(schema.metadata)
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_row_groups_are_bounded_and_read_back_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "_ROW_GROUP_BYTES", 1000)
    held = [StoredDocument(n, "s", f"title {n}", "x" * (n % 300)) for n in range(500)]

    for name, stride in {"by row": 1, "by seven": 7, "at once": 500}.items():
        with DocumentWriter(tmp_path / name) as writer:
            for start in range(0, 500, stride):
                writer.add(rows(held[start : start + stride]))
        assert writer.counts["documents"] == 500
        assert writer.counts["bytes"] == sum(len(row.text) for row in held)

    file = pq.ParquetFile(tmp_path / "at once")
    sizes = [
        sum(map(len, file.read_row_group(n, ["text"])["text"].to_pylist()))
        for n in range(file.num_row_groups)
    ]
    assert all(1000 <= size < 1300 for size in sizes[:-1])
    assert list(read_documents(tmp_path / "at once")) == held
    # However the documents come, the bytes are the same.
    contents = {(tmp_path / name).read_bytes() for name in ("by row", "by seven", "at once")}
    assert len(contents) == 1


def test_row_groups_are_bounded_in_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "_ROW_GROUP_ROWS", 30)

    with DocumentWriter(tmp_path / "a") as writer:
        writer.add(rows([StoredDocument(n, "", "", "") for n in range(70)]))

    file = pq.ParquetFile(tmp_path / "a")
    assert [file.metadata.row_group(n).num_rows for n in range(3)] == [30, 30, 10]


def test_a_reader_need_not_hold_a_whole_row_group(tmp_path: Path) -> None:
    draw = random.Random(1)
    texts = ["".join(draw.choices("abcdefgh", k=1 << 19)) for _ in range(15)]
    kept = [StoredDocument(number, "", "", text) for number, text in enumerate(texts)]
    path = tmp_path / "train.parquet"
    with DocumentWriter(path) as writer:
        writer.add(rows(kept))
    with pq.ParquetFile(path) as file:
        assert file.num_row_groups == 1
        before = pa.total_allocated_bytes()
        batches = file.iter_batches(1, columns=["text"], use_threads=False)
        read = next(batches)
        # Its compressed bytes and a page of a few documents, 7.5 MiB of text being stored.
        assert pa.total_allocated_bytes() - before < 6 << 20
        assert read.column("text")[0].as_py() == texts[0]


def test_counts_are_of_code_points_bytes_and_words(tmp_path: Path) -> None:
    metrics = write_own_splits(tmp_path, validation=["v"], train=["é日 👍\nx", "ab"])

    assert metrics["splits"]["train"] == {
        "documents": 2,
        "characters": 8,
        "bytes": 2 + 3 + 1 + 4 + 1 + 1 + 2,
        "words": 4,
    }


def test_reading_something_else_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("not parquet at all")
    with pytest.raises(ClozeError, match=r"a\.parquet: not a whole parquet file"):
        list(read_documents(tmp_path / "a.parquet"))
    with pytest.raises(ClozeError, match="no such file"):
        list(read_documents(tmp_path / "b.parquet"))
    pq.write_table(pq.ParquetFile(_one_row(tmp_path)).read().drop_columns("text"), tmp_path / "c")
    with pytest.raises(ClozeError, match="has the columns document_id, source, title instead of"):
        list(read_documents(tmp_path / "c"))


def _one_row(folder: Path) -> Path:
    with DocumentWriter(folder / "one.parquet") as writer:
        writer.add(rows([StoredDocument(0, "", "", "x")]))
    return folder / "one.parquet"


def test_split_depends_on_the_text_alone(tmp_path: Path) -> None:
    straight = split_texts(tmp_path / "a", TEXTS)
    shuffled = random.Random(0).sample(TEXTS, len(TEXTS))
    padded = [f"\n {text} \n" for text in shuffled]
    other = split_texts(tmp_path / "b", padded, source="elsewhere.txt")

    for split in SPLITS:
        assert {text.strip() for text in other[split]} == set(straight[split])
        assert straight[split] == [text for text in TEXTS if text in set(straight[split])]
    assert 140 < len(straight["validation"]) < 260
    assert 140 < len(straight["test"]) < 260


def test_a_wider_split_keeps_its_documents_and_leaves_the_other_alone(tmp_path: Path) -> None:
    narrow = split_texts(tmp_path / "a", TEXTS, validation=0.05, test=0.05)
    wide = split_texts(tmp_path / "b", TEXTS, validation=0.2, test=0.05)

    assert set(narrow["validation"]) < set(wide["validation"])
    assert narrow["test"] == wide["test"]


def test_ids_count_through_the_splits_in_corpus_order(tmp_path: Path) -> None:
    split_texts(tmp_path, TEXTS)

    held = [row for split in SPLITS for row in read_documents(tmp_path / f"{split}.parquet")]
    assert [row.text for row in sorted(held)] == TEXTS
    assert sorted(row.document_id for row in held) == list(range(len(TEXTS)))


@pytest.mark.parametrize("count", [2, 3, 4, 7])
@pytest.mark.parametrize("fractions", [(0.01, 0.01), (0.01, 0.0), (0.9, 0.05), (0.05, 0.9)])
def test_no_split_of_a_tiny_corpus_is_empty(
    tmp_path: Path, count: int, fractions: tuple[float, float]
) -> None:
    for start in range(8):
        texts = TEXTS[start : start + count]
        held = split_texts(tmp_path / str(start), texts, *fractions)
        backwards = split_texts(tmp_path / f"{start}-back", texts[::-1], *fractions)

        assert held["train"]
        assert held["validation"]
        assert bool(held["test"]) == (count >= 3 and fractions[1] > 0)
        assert sorted(itertools.chain(*held.values())) == sorted(texts)
        assert held["train"] == [text for text in texts if text in held["train"]]
        assert {split: set(backwards[split]) for split in SPLITS} == {
            split: set(held[split]) for split in SPLITS
        }


def test_moving_documents_for_a_tiny_corpus_leaves_no_other_file(tmp_path: Path) -> None:
    split_texts(tmp_path, TEXTS[:3], 0.01, 0.01)

    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_one_document_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(ClozeError, match=r"corpus: no document is left for .*; add documents$"):
        split_texts(tmp_path, ["alone"])
    assert list(tmp_path.iterdir()) == []


def test_nothing_at_all_says_what_was_dropped(tmp_path: Path) -> None:
    with pytest.raises(ClozeError, match=r"corpus: no document \(dropped: 2 empty, 0 too short"):
        split_texts(tmp_path, ["", " \u2028\n"])


def test_drops_are_counted_by_reason_and_the_first_of_equals_stays(tmp_path: Path) -> None:
    texts = ["", "  ", "abc", " abcd ", "a long one", "a long one\n", "another", "another one"]
    cleaning = Cleaning(Filters(min_characters=4))

    metrics = write(tmp_path, [part(texts, cleaning=cleaning)], SplitAssigner(0.3, 0))

    assert metrics["dropped"] == {"empty": 2, "too_short": 1, "duplicate": 1}
    kept = sorted(itertools.chain(*stored_texts(tmp_path).values()))
    assert kept == [" abcd ", "a long one", "another", "another one"]


def test_a_training_document_equal_to_a_held_out_one_goes(tmp_path: Path) -> None:
    metrics = write_own_splits(tmp_path, test=["x"], validation=["y", "x"], train=["x", "y\n", "z"])

    assert stored_texts(tmp_path) == {"test": ["x"], "validation": ["y"], "train": ["z"]}
    assert metrics["dropped"]["duplicate"] == 3


def test_duplicates_can_stay(tmp_path: Path) -> None:
    deduplicator = Deduplicator(keep_duplicates=True)
    metrics = write_own_splits(tmp_path, deduplicator, validation=["x"], train=["x", "x"])

    assert metrics["dropped"] == {"empty": 0, "too_short": 0}
    assert stored_texts(tmp_path)["train"] == ["x", "x"]


def test_a_full_disk_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", refuse)

    with pytest.raises(ClozeError, match=r"cannot write .*/out/.*: the disk is full"):
        split_texts(tmp_path / "out", TEXTS[:10])
    assert list((tmp_path / "out").iterdir()) == []
