"""A lock keeps others out; a file system without locks is named with the way out."""

import errno
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cloze import locks
from cloze.errors import ClozeError
from cloze.fetch.transfer import PartialFile
from cloze.locks import FolderLock, Holder, Lease, try_lock
from cloze.train.run_directory import open_run


def test_one_process_holds_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with open(path, "w") as first, open(path) as second:
        assert try_lock(first.fileno(), path)
        assert not try_lock(second.fileno(), path)


def refuse_locks(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOSYS) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_folder_without_locks_is_named(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_locks(monkeypatch, number)
    message = f"{tmp_path}.*: its file system refuses locks .*; choose a folder on a local disk"
    with pytest.raises(ClozeError, match=message), PartialFile(tmp_path / "data.bin"):
        pass


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "RENEWAL_SECONDS", 0.05)
    monkeypatch.setattr(locks, "EXPIRY_SECONDS", 2.0)


@pytest.mark.usefixtures("hurry")
def test_without_locks_a_lease_keeps_a_second_trainer_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refuse_locks(monkeypatch)
    monkeypatch.setattr(locks.log, "propagate", True)
    with open_run(tmp_path, {}):
        with (
            pytest.raises(ClozeError, match=f"process {os.getpid()} on .* is still training"),
            open_run(tmp_path, {}),
        ):
            pass
        assert "refuses locks" in caplog.text
    with open_run(tmp_path, {}) as run:
        assert (run.path / "lease").exists()
    assert not list(run.path.glob("lease*"))


@pytest.mark.usefixtures("hurry")
def test_a_lease_that_nobody_renews_is_taken_over(tmp_path: Path) -> None:
    """Its holder was on another machine, which has lost its power."""
    path = tmp_path / "lease"
    path.write_text('{"process": 1, "host": "node17", "job": "4", "token": "a"}')
    lease = Lease(path)
    assert lease.acquire()
    lease.release()
    assert not path.exists()


def test_a_lease_of_a_dead_process_of_this_machine_is_taken_over_at_once(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    path = tmp_path / "lease"
    path.write_text(json.dumps({"process": child, "host": os.uname().nodename, "job": None}))
    lease = Lease(path)
    assert lease.acquire()
    lease.release()


@pytest.mark.usefixtures("hurry")
def test_of_many_that_take_over_a_lease_one_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    path.write_text('{"process": 1, "host": "node17", "job": null}')
    leases = [Lease(path) for _ in range(8)]
    with ThreadPoolExecutor(len(leases)) as pool:
        got = list(pool.map(Lease.acquire, leases))
    assert got.count(True) == 1
    assert [name.name for name in tmp_path.iterdir()] == ["lease"]
    for lease in leases:
        lease.release()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT as a script meets it; a process of pytest-xdist ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hurry", "ctrl_c")
def test_who_has_lost_its_lease_ends(tmp_path: Path) -> None:
    def lose() -> None:
        lease.path.write_text("another's")
        time.sleep(60)

    lease = Lease(tmp_path / "lease")
    assert lease.acquire()
    with pytest.raises(KeyboardInterrupt):
        lose()
    lease.release()
    assert lease.path.read_text() == "another's"


def test_a_holder_is_named_with_the_command_that_ends_it() -> None:
    here = os.uname().nodename
    assert Holder(7, here, None).stop_command == "kill 7"
    assert Holder(7, "node17", None).stop_command == "ssh node17 kill 7"
    assert Holder(7, "node17", "42").stop_command == "scancel 42"
    assert str(Holder(7, "node17", "42")) == "process 7 on node17 (SLURM job 42)"


def test_a_job_of_a_cluster_waits_for_the_trainer_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "43")
    with open_run(tmp_path, {}) as run:
        pass
    first = FolderLock(run.path)
    assert first.acquire()
    monkeypatch.setattr(time, "sleep", lambda _: first.release())
    with open_run(tmp_path, {}):
        assert first.holder().job == "43"
