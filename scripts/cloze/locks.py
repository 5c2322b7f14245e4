"""The lock that keeps two processes from one file."""

import errno
import fcntl
from pathlib import Path

from cloze.errors import ClozeError


def try_lock(descriptor: int, path: Path) -> bool:
    """Take the lock of an open file, and return whether no other process holds it.

    Raises `ClozeError`, which names the folder of `path`, where the file system has no locks: two
    processes at one file would spoil each other's work.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise ClozeError(
            f"{path.parent}: its file system refuses locks ({error.strerror}), without which two "
            "processes could write there at once; choose a folder on a local disk, or mount that "
            "one with locks (on Lustre with -o flock, on NFS with lockd running)"
        ) from error
    return True
