"""Which files of a folder are read: not hidden ones, those of linked folders once, any name."""

import os
from pathlib import Path

import pytest

from cloze.errors import ClozeError
from cloze.files import (
    is_hidden,
    matching_files,
    read_json,
    readable_name,
    sha256_path,
    write_json,
)


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("a.txt", False),
        ("./a/b.txt", False),
        ("a/..b", True),
        (".a", True),
        ("a/._b.txt", True),
        (".git/config", True),
        ("__MACOSX/a.txt", True),
        ("a\\__MACOSX\\b.txt", True),
        ("a/Thumbs.db", True),
        ("a/...", False),
    ],
)
def test_what_no_person_put_there_is_hidden(name: str, hidden: bool) -> None:
    assert is_hidden(name) == hidden


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    make(tmp_path, "real/r1.txt", "real/sub/r2.txt", "texts/o.txt", "texts/.hidden/h.txt")
    texts = tmp_path / "texts"
    (texts / "linked").symlink_to(tmp_path / "real")
    (texts / "zz").symlink_to(tmp_path / "real")
    (texts / "file.txt").symlink_to(tmp_path / "real" / "r1.txt")
    (tmp_path / "top").symlink_to(texts)
    expected = ["file.txt", "linked/r1.txt", "linked/sub/r2.txt", "o.txt"]
    assert matching_files(texts, "*") == expected
    assert matching_files(tmp_path / "top", "*") == expected
    assert matching_files(texts, "*/r*") == expected[1:3]


def test_what_lies_there_itself_keeps_its_place(tmp_path: Path) -> None:
    make(tmp_path, "z/one.txt")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    assert matching_files(tmp_path, "*") == ["z/one.txt"]


def test_circles_end(tmp_path: Path) -> None:
    make(tmp_path, "texts/a/one.txt", "texts/b/two.txt", "beside.txt")
    texts = tmp_path / "texts"
    (texts / "again").symlink_to(texts)
    (texts / "up").symlink_to("..")
    (texts / "a" / "b").symlink_to(texts / "b")
    (texts / "b" / "a").symlink_to(texts / "a")
    assert matching_files(texts, "*") == ["a/one.txt", "b/two.txt"]
    assert sha256_path(texts)


def test_a_link_to_nothing_is_named_unless_it_is_not_asked_for(tmp_path: Path) -> None:
    make(tmp_path, "a.txt")
    (tmp_path / "b.txt").symlink_to(tmp_path / "gone")
    (tmp_path / ".#a.txt").symlink_to("somebody@elsewhere")
    assert matching_files(tmp_path, "a*") == ["a.txt"]
    with pytest.raises(ClozeError, match=r"b\.txt: is a link to a file that is not there; mend"):
        matching_files(tmp_path, "*.txt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    make(tmp_path, "shut/a.txt")
    (tmp_path / "shut").chmod(0)
    try:
        with pytest.raises(ClozeError, match=r"cannot read .*shut"):
            matching_files(tmp_path, "*")
    finally:
        (tmp_path / "shut").chmod(0o700)


def test_a_name_that_is_no_utf_8_can_be_read_hashed_and_recorded(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    (tmp_path / name).write_text("text")
    assert matching_files(tmp_path, "*.txt") == [name]
    assert readable_name(name) == "caf\ufffd.txt"
    assert readable_name("café.txt") == "café.txt"
    write_json(tmp_path / "out.json", {name: sha256_path(tmp_path)})
    assert list(read_json(tmp_path / "out.json")) == [name]
