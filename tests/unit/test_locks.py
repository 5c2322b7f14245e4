"""A lock keeps others out; a file system without locks is named with the way out."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from cloze.errors import ClozeError
from cloze.fetch.transfer import PartialFile
from cloze.locks import try_lock
from cloze.train.run_directory import open_run


def test_one_process_holds_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with open(path, "w") as first, open(path) as second:
        assert try_lock(first.fileno(), path)
        assert not try_lock(second.fileno(), path)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_folder_without_locks_is_named(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    message = f"{tmp_path}.*: its file system refuses locks .*; choose a folder on a local disk"
    with pytest.raises(ClozeError, match=message), open_run(tmp_path, {}):
        pass
    with pytest.raises(ClozeError, match=message), PartialFile(tmp_path / "data.bin"):
        pass
