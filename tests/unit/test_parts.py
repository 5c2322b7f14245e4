"""A part carries judged, measured documents from one job to the next, and nothing half written."""

import errno
from pathlib import Path

import pyarrow as pa
import pytest

from cloze.corpus import parts
from cloze.corpus.cleaning import Cleaning, Filters
from cloze.corpus.documents import Document
from cloze.corpus.duplicates import digest_numbers
from cloze.corpus.parts import PART_SCHEMA, PartFile, cleaned_batches, write_part
from cloze.errors import ClozeError

DOCUMENTS = [
    Document("a", "one", "The first\r\ntext."),
    Document("a", "", "  The first\ntext.\u3000"),
    Document("b", "", " short "),
    Document("b", "void", "\u2028"),
    Document("b", "long", "long " * 100),
]


def judged(**filters: int) -> list[dict[str, object]]:
    return [
        row
        for batch in cleaned_batches(DOCUMENTS, Cleaning(Filters(**filters)))
        for row in batch.to_pylist()
    ]


def test_documents_are_measured_and_digested_without_the_white_space_around_them() -> None:
    first, second, *_, last = judged()
    assert first["text"] == "The first\ntext."
    assert (first["characters"], first["words"]) == (15, 3)
    assert second["text"] == "  The first\ntext.\u3000"
    assert first["digest"] == second["digest"] != last["digest"]
    assert (last["source"], last["title"], last["words"]) == ("b", "long", 100)


def test_what_is_dropped_says_why_and_keeps_an_excerpt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "EXCERPT_CHARACTERS", 3)
    rows = judged(min_characters=6)
    assert [row["reason"] for row in rows] == [None, None, "too_short", "empty", None]
    assert rows[2]["detail"] == "5 characters"
    assert rows[2]["text"] == " sh"
    assert rows[4]["text"] == "long " * 100


def test_batches_are_bounded_in_bytes_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [Document("", "", "x" * 10)] * 100
    monkeypatch.setattr(parts, "_BATCH_CHARACTERS", 55)
    assert [b.num_rows for b in cleaned_batches(documents, Cleaning())] == [6] * 16 + [4]
    monkeypatch.setattr(parts, "_BATCH_ROWS", 4)
    assert [b.num_rows for b in cleaned_batches(documents, Cleaning())] == [4] * 25


def test_a_part_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.arrow"
    batches = list(cleaned_batches(DOCUMENTS, Cleaning()))
    write_part(path, batches, {"format": "text"}, {"x.txt": "12", "texts": None})

    part = PartFile(path)

    assert part.recipe == {"format": "text"}
    assert part.inputs == {"x.txt": "12", "texts": None}
    assert pa.Table.from_batches(part.batches(), PART_SCHEMA).equals(pa.Table.from_batches(batches))


def test_digests_are_numbers_also_of_a_slice() -> None:
    (batch,) = cleaned_batches(DOCUMENTS, Cleaning())
    numbers = digest_numbers(batch.column("digest"))
    digest = batch.column("digest")[4].as_py()
    assert numbers[4].tolist() == [int.from_bytes(digest[:8]), int.from_bytes(digest[8:])]
    assert digest_numbers(batch.column("digest").slice(3, 2)).tolist() == numbers[3:].tolist()


@pytest.mark.parametrize("keep", [0, 4, 0.5, 0.98])
def test_a_part_cut_short_is_named(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "a.arrow"
    write_part(path, cleaned_batches(DOCUMENTS, Cleaning()), {}, {})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep if keep > 1 else keep * len(whole))])
    with pytest.raises(ClozeError, match=r"a\.arrow: not a whole part .*extract_part\.py"):
        list(PartFile(path).batches())


def test_something_else_is_no_part(tmp_path: Path) -> None:
    with pytest.raises(ClozeError, match=r"b\.arrow: no such file"):
        PartFile(tmp_path / "b.arrow")
    schema = pa.schema([("text", pa.string())])
    with pa.ipc.new_file(str(tmp_path / "c.arrow"), schema):
        pass
    with pytest.raises(ClozeError, match=r"c\.arrow: no part of a corpus"):
        PartFile(tmp_path / "c.arrow")


def test_a_full_disk_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pa.ipc.RecordBatchFileWriter, "write_batch", refuse)
    with pytest.raises(ClozeError, match=r"cannot write .*a\.arrow: the disk is full"):
        write_part(tmp_path / "a.arrow", cleaned_batches(DOCUMENTS, Cleaning()), {}, {})
    assert list(tmp_path.iterdir()) == []
