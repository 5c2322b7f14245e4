"""What Snakemake would refuse of input files, some only after the work, is said while planning."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from cloze.errors import ClozeError
from cloze.settings.files import check_plannable, files_below


def dated(path: Path, hours: float) -> Path:
    path.write_text("text")
    moment = time.time() + 3600 * hours
    os.utime(path, (moment, moment))
    return path


@pytest.mark.parametrize(("hours", "said"), [(2, "2 hours"), (0.02, "72 seconds"), (72, "3 days")])
def test_a_time_stamp_in_the_future_names_touch(tmp_path: Path, hours: float, said: str) -> None:
    path = dated(tmp_path / "a text.txt", hours)
    with pytest.raises(ClozeError, match=rf"lies {said} ahead of .*: touch '{path}'$"):
        check_plannable([str(path)])
    with pytest.raises(ClozeError, match=r"a text\.txt: its time stamp"):
        files_below(str(tmp_path))


def test_the_time_of_a_link_counts_too(tmp_path: Path) -> None:
    link = tmp_path / "link.txt"
    link.symlink_to(dated(tmp_path / "a.txt", -1))
    check_plannable([str(link)])
    moment = time.time() + 3600
    os.utime(link, (moment, moment), follow_symlinks=False)
    with pytest.raises(ClozeError, match="touch"):
        check_plannable([str(link)])


def test_what_is_not_there_yet_and_what_is_from_now_pass(tmp_path: Path) -> None:
    check_plannable([str(tmp_path / "made.txt"), str(dated(tmp_path / "a.txt", 0))])


def test_a_name_that_is_no_utf_8_is_said(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("text")
    with pytest.raises(ClozeError, match=r"caf\ufffd\.txt: the name is not UTF-8, .* archive$"):
        files_below(str(tmp_path))


def test_files_of_a_folder_are_those_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.txt").write_text("text")
    folder = tmp_path / "texts"
    folder.mkdir()
    assert files_below(str(folder)) == [str(folder)]
    (folder / "linked").symlink_to(tmp_path / "real")
    (folder / ".DS_Store").write_text("hidden")
    assert files_below(str(folder)) == [f"{folder}/linked/a.txt"]
    assert files_below("made/by/a/job.txt") == ["made/by/a/job.txt"]


def test_several_files_are_touched_at_once(tmp_path: Path) -> None:
    for number in range(3):
        dated(tmp_path / f"{number}.txt", 2)
    with pytest.raises(ClozeError, match=r"0\.txt: .* 2 more.*: (find .* touch \{\} \+)$") as e:
        files_below(str(tmp_path))
    subprocess.run(str(e.value).rpartition(": ")[2], shell=True, check=True)
    assert len(files_below(str(tmp_path))) == 3
