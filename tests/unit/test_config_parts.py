"""Parts are the corpus in order, of bounded number, and the same before and after a download."""

from pathlib import Path

import pytest

from cloze.files import Share
from cloze.settings.parts import MAX_PARTS, CorpusPart, corpus_parts


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ten files of 40 bytes, where a part should hold 100."""
    monkeypatch.setattr("cloze.settings.parts.PART_BYTES", 100)
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.txt").write_text("x" * 40)
    return sorted(map(str, folder.iterdir()))


def parts(
    named: dict[str, list[str]], format: str = "text", fetched: tuple[str, ...] = ()
) -> dict[str, CorpusPart]:
    return corpus_parts(named, format, "*", fetched)


def test_small_files_share_a_part_in_order(files: list[str]) -> None:
    found = parts({"input": files})
    assert list(found) == [f"input-{n:05d}-of-00005" for n in range(5)]
    assert [path for part in found.values() for path in part.paths] == files
    assert {len(part.paths) for part in found.values()} == {2}


def test_one_file_or_little_text_is_not_divided(files: list[str]) -> None:
    assert parts({"input": files[:1]}) == {}
    assert parts({"input": files[:2]}) == {}
    assert parts({"train": files[:2], "validation": files[2:]}) == {}
    Path(files[0]).write_text("x" * 1000)
    assert parts({"input": files[:1]}) == {}


def test_held_out_splits_are_a_part_each(files: list[str]) -> None:
    found = parts({"train": files[:6], "validation": files[6:9], "test": files[9:]})
    assert list(found) == [
        *(f"train-{n:05d}-of-00003" for n in range(3)),
        "validation-00000-of-00001",
        "test-00000-of-00001",
    ]
    assert found["validation-00000-of-00001"].paths == tuple(files[6:9])


def test_what_is_fetched_has_no_size_yet(files: list[str]) -> None:
    after = parts({"input": files[:3]}, fetched=tuple(files[:3]))
    for file in files[:3]:
        Path(file).unlink()
    assert parts({"input": files[:3]}, fetched=tuple(files[:3])) == after
    assert len(after) == 3


def test_a_folder_is_divided_into_shares_none_of_them_empty(files: list[str]) -> None:
    folder = str(Path(files[0]).parent)
    found = list(parts({"input": [folder]}).values())
    assert found == [CorpusPart("input", (folder,), Share(n, 4)) for n in range(4)]
    names = [str(n) for n in range(10)]
    assert [name for part in found for name in part.share.of(names)] == names  # type: ignore[union-attr]
    for file in files[2:]:
        Path(file).unlink()
    Path(files[0]).write_text("x" * 1000)
    assert [part.share for part in parts({"input": [folder]}).values()] == [
        Share(0, 2),
        Share(1, 2),
    ]


def test_files_and_folders_keep_their_order(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "alone.txt").write_text("x")
    alone, folder = str(tmp_path / "alone.txt"), str(tmp_path / "texts")
    found = list(parts({"input": [alone, folder, files[0]]}).values())
    assert [part.paths for part in found] == [(alone,), *[(folder,)] * 4, (files[0],)]


def test_articles_that_go_on_from_file_to_file_are_one_part(files: list[str]) -> None:
    shards = [file.replace(".txt", ".parquet") for file in files]
    assert parts({"input": shards}, "wikitext", tuple(shards)) == {}
    assert len(parts({"input": shards}, "parquet", tuple(shards))) == 10
    assert len(parts({"input": files}, "wikitext", tuple(files))) == 10


def test_the_number_of_parts_is_bounded(files: list[str]) -> None:
    many = [f"remote/{n}" for n in range(5000)]
    found = parts({"input": many}, fetched=tuple(many))
    assert MAX_PARTS <= len(found) <= 2 * MAX_PARTS
    assert [path for part in found.values() for path in part.paths] == many
