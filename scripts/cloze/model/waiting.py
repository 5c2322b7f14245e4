"""Threads that wait actively as long as their cores are free, and sleep where others need them.

GNU's OpenMP, with which PyTorch computes on Linux, lets a thread that waits for its team spin for
about a millisecond before it sleeps. On a free core that saves the time of waking up. Beside
another process it takes the core from the very thread that is waited for, and a training may
fall to a twentieth of its speed. Where OpenMP has more threads than the machine has cores, it
spins for a three-hundredth of that time (`GOMP_SPINCOUNT` in libgomp's manual): an idle team
of that many threads makes all others yield, and its end lets them spin again. No number depends
on it.
"""

import ctypes
import functools
import os
import threading
import time
from pathlib import Path

from cloze.machine import busy_seconds

_SECONDS_BETWEEN_LOOKS = 0.5
# Of a core: others may take so much of the threads' cores before these yield, or take again what
# they have left to them; the second is less, so that a machine in between does not go to and fro.
_MUCH, _LITTLE = 0.3, 0.15
_CHOSEN_BY_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def yield_when_busy(threads: int) -> None:
    """From now on let the OpenMP threads of this process yield while its cores are needed.

    `threads`: how many compute at a time. Does nothing with one, where the environment says how
    threads wait, and where OpenMP is not GNU's.
    """
    library = _libgomp()
    if threads < 2 or library is None or any(name in os.environ for name in _CHOSEN_BY_USER):
        return
    watch = _watch(library)
    watch.threads = threads


@functools.cache
def _watch(library: Path) -> "CoreWatch":
    watch = CoreWatch(library)
    watch.start()
    return watch


class CoreWatch(threading.Thread):
    """Looks twice a second at what other processes take of the cores of this one."""

    def __init__(self, library: Path, root: Path = Path("/")) -> None:
        super().__init__(name="core-watch", daemon=True)
        self.threads = 2
        self.is_yielding = False
        self._library, self._root = library, root
        self._cores = sorted(os.sched_getaffinity(0))
        self._before: tuple[float, float, float] | None = None

    def run(self) -> None:
        """Start and end the idle team as the cores are busy and free."""
        team: _IdleTeam | None = None
        never = threading.Event()
        while not never.wait(_SECONDS_BETWEEN_LOOKS):
            busy = busy_seconds(self._cores, self._root)
            self.look(time.monotonic(), busy, time.process_time())
            if self.is_yielding and team is None:
                team = _IdleTeam(self._library, os.cpu_count() or len(self._cores))
                team.start()
            elif not self.is_yielding and team is not None:
                team.end()
                team = None

    def look(self, now: float, busy: float, own: float) -> None:
        """Take note of the time, the busy seconds of the cores and those of this process."""
        if self._before is not None:
            since, busy_before, own_before = self._before
            others = (busy - busy_before - (own - own_before)) / (now - since)
            lacking = self.threads - (len(self._cores) - others)
            self.is_yielding = lacking > (_LITTLE if self.is_yielding else _MUCH)
        self._before = (now, busy, own)


class _IdleTeam(threading.Thread):
    """A thread whose OpenMP team has one thread more than there are cores, and does nothing."""

    def __init__(self, library: Path, cores: int) -> None:
        super().__init__(name="idle-team", daemon=True)
        self._library, self._size = library, cores + 1
        self._ended = threading.Event()

    def run(self) -> None:
        """Have the team made by an empty parallel region, and keep it until the end."""
        gomp = ctypes.CDLL(str(self._library))
        nothing = ctypes.cast(gomp.omp_get_thread_num, ctypes.c_void_p)
        gomp.GOMP_parallel(nothing, None, ctypes.c_uint(self._size), ctypes.c_uint(0))
        self._ended.wait()

    def end(self) -> None:
        """End the thread, and its team with it."""
        self._ended.set()
        self.join()


def _libgomp() -> Path | None:
    """Return the file of GNU's OpenMP that this process has loaded, if it has."""
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        return None
    paths = (line.split(maxsplit=5)[-1] for line in maps.read_text().splitlines() if "/" in line)
    return next((Path(path) for path in paths if Path(path).name.startswith("libgomp")), None)
