"""What keeps two processes from one file, or from one folder that several machines see."""

import errno
import fcntl
import json
import os
import signal
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.slurm import job_id

# Between two renewals of a lease, and after the last one of a holder that is gone. A client of
# NFS may write late by some thirty seconds.
RENEWAL_SECONDS, EXPIRY_SECONDS = 10.0, 90.0


def try_lock(descriptor: int, path: Path) -> bool:
    """Take the lock of an open file, and return whether no other process holds it.

    Raises `ClozeError`, which names the folder of `path`, where the file system has no locks: two
    processes at one file would spoil each other's work.
    """
    try:
        return _flock(descriptor)
    except OSError as error:
        raise ClozeError(
            f"{path.parent}: its file system refuses locks ({error.strerror}), without which two "
            "processes could write there at once; choose a folder on a local disk, or mount that "
            "one with locks (on Lustre with -o flock, on NFS with lockd running)"
        ) from error


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock, by the names that its machine and SLURM gave it."""

    process: int
    host: str
    job: str | None

    @classmethod
    def this(cls) -> Self:
        """Return this process."""
        return cls(os.getpid(), os.uname().nodename, job_id())

    @property
    def is_dead(self) -> bool:
        """Whether it ran on this machine and does no more."""
        if self.host != os.uname().nodename:
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False

    @property
    def stop_command(self) -> str:
        """What a person types to end it."""
        if self.job is not None:
            return f"scancel {self.job}"
        here = self.host == os.uname().nodename
        return f"kill {self.process}" if here else f"ssh {self.host} kill {self.process}"

    def __str__(self) -> str:
        job = "" if self.job is None else f" (SLURM job {self.job})"
        return f"process {self.process} on {self.host}{job}"


class FolderLock:
    """Lets one process at a time work in a folder, of all machines that see it.

    By the kernel's lock of the file `lock`, which ends with its process. Where the file system
    refuses that (Lustre without `-o flock`, NFS without lockd), by a `Lease`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._lease = Lease(folder / "lease")
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Return whether this process works in the folder from now on."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            is_ours = _flock(descriptor)
        except OSError as error:
            os.close(descriptor)
            log.warning(
                "warning: %s: its file system refuses locks (%s); taking a lease instead",
                self._path.parent, error.strerror,
            )  # fmt: skip
            return self._lease.acquire()
        if not is_ours:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _as_text(Holder.this()), 0)
        self._descriptor = descriptor
        return True

    def holder(self) -> Holder | None:
        """Return the process that works in the folder, None where it has not said so yet."""
        return _read_holder(self._lease.path) or _read_holder(self._path)

    def release(self) -> None:
        """Let others in, if this process held the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._lease.release()


class Lease:
    """A file that names its holder, who renews it every `RENEWAL_SECONDS`.

    One that has not been renewed for `EXPIRY_SECONDS` is nobody's any more; that is judged by
    watching it, so that no two clocks are compared. A holder that was held up for as long
    and finds its lease with another ends at once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._text: bytes | None = None
        self._is_over = threading.Event()

    def acquire(self) -> bool:
        """Return whether this process holds the lease; may watch another's for some time."""
        abandoned = self._abandoned()
        if abandoned is None or not (abandoned == b"" or self._remove(abandoned)):
            return False
        text = _as_text(Holder.this(), token=uuid.uuid4().hex)
        try:
            with open(self.path, "xb") as file:
                file.write(text)
        except FileExistsError:
            return False
        self._text = text
        threading.Thread(target=self._renew, name="lease", daemon=True).start()
        return True

    def release(self) -> None:
        """Give the lease back, if it is this process's."""
        if self._text is not None:
            self._is_over.set()
            self._remove(self._text)
            self._text = None

    def _abandoned(self) -> bytes | None:
        """Return what stands in a lease that is nobody's, b"" where there is none; None if held."""
        seen, deadline = self._look(), time.monotonic() + EXPIRY_SECONDS
        if seen is None:
            return b""
        while time.monotonic() < deadline:
            holder = _read_holder(self.path)
            if holder is not None and holder.is_dead:
                break
            time.sleep(RENEWAL_SECONDS / 10)
            if self._look() != seen:
                return None
        return seen[0]

    def _look(self) -> tuple[bytes, int] | None:
        """Return what stands in the lease and when it was renewed, by the file server's clock."""
        try:
            # Opening it makes a client of NFS ask the server.
            with open(self.path, "rb") as file:
                return file.read(), os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return None

    def _remove(self, text: bytes) -> bool:
        """Remove the lease with this text, and return whether this process did so."""
        aside = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return False
        is_same = aside.read_bytes() == text
        if not is_same:
            # Another was faster, and this is the lease that it made.
            os.link(aside, self.path)
        aside.unlink()
        return is_same

    def _renew(self) -> None:
        while not self._is_over.wait(RENEWAL_SECONDS):
            found = self._look()
            if found is None or found[0] != self._text:
                log.error("error: %s: another process has taken over; ending", self.path)
                os.kill(os.getpid(), signal.SIGINT)
                return
            os.utime(self.path)


def _as_text(holder: Holder, **more: str) -> bytes:
    return json.dumps({**asdict(holder), **more}).encode()


def _read_holder(path: Path) -> Holder | None:
    try:
        values = json.loads(path.read_bytes())
        return Holder(values["process"], values["host"], values["job"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
