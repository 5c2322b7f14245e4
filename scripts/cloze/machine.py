"""What this process may use of its machine: limits of containers and of jobs count as its own."""

import contextlib
import os
import platform
import re
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from cloze.slurm import given_cores, given_memory

_ROOT = Path("/")
# Those that decide which kernels a matrix product takes, and so its last digits.
_VECTOR_EXTENSIONS = re.compile(r"(sse4|avx|fma|amx|asimd|sve|bf16|i8mm)\w*")


def memory_limit(root: Path = _ROOT) -> int:
    """Return how many bytes of memory this process and its siblings may use.

    The least of the machine's memory, what SLURM gave to the job and the limits of the control
    groups (Linux, version 1 or 2) that the process is in. `root` is where `proc` and `sys` are.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    if (given := given_memory()) is not None:
        limits.append(given)
    for group in _control_groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limits += [int(word) for word in _words(group / name) if word.isdigit()]
    return min(limits)


def available_cores(root: Path = _ROOT) -> int:
    """Return how many cores this process may keep busy, at least 1.

    Those it may run on, or fewer where SLURM gave the job fewer, or a control group allows it less
    CPU time than they have.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    cores = min(cores, given_cores() or cores)
    for group in _control_groups("cpu", root):
        quota = _words(group / "cpu.max") or [
            *_words(group / "cpu.cfs_quota_us"),
            *_words(group / "cpu.cfs_period_us"),
        ]
        # "max" and -1 are no limit.
        if len(quota) == 2 and all(word.isdigit() for word in quota):
            cores = min(cores, int(quota[0]) // int(quota[1]))
    return max(1, cores)


def cpu_model(root: Path = _ROOT) -> str:
    """Return the processor's name, or its architecture where the system does not tell it."""
    found = re.search(r"^model name\s*: (.+)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def vector_extensions(root: Path = _ROOT) -> list[str]:
    """Return the processor's instruction sets for vectors and matrices, as Linux names them."""
    found = re.search(r"^(flags|Features)\s*: (.+)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    return sorted(filter(_VECTOR_EXTENSIONS.fullmatch, found[2].split() if found else []))


def busy_seconds(cores: Collection[int], root: Path = _ROOT) -> float:
    """Return the seconds since the machine's start for which cores have worked, for anybody."""
    names, ticks = {f"cpu{core}" for core in cores}, 0
    for line in (root / "proc/stat").read_text(encoding="ascii").splitlines():
        name, *counts = line.split()
        if name in names:
            # user nice system idle iowait irq softirq steal; guests are counted as users.
            ticks += sum(map(int, counts[:8])) - int(counts[3]) - int(counts[4])
    return ticks / os.sysconf("SC_CLK_TCK")


def watch_others() -> Callable[[], float]:
    """Return what tells how many cores other programs have kept busy since now.

    It counts ended children as this program, and tells 0 where the system does not say.
    """
    if not Path("/proc/stat").is_file():
        return lambda: 0.0
    cores = os.sched_getaffinity(0)

    def seconds() -> tuple[float, float]:
        return time.monotonic(), busy_seconds(cores) - sum(os.times()[:4])

    started, before = seconds()

    def others() -> float:
        now, after = seconds()
        return max(0.0, (after - before) / max(now - started, 1e-3))

    return others


def _control_groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups, from its own to the outermost."""
    for line in _words(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # Version 2 names no controllers; beside version 1 its folder is `unified`.
        for mount in (controller, controllers) if controllers else ("", "unified"):
            # A container may see its own group as the top one, whatever name it is given here.
            names = group.split("/")
            for depth in range(len(names), 0, -1):
                yield (root / "sys/fs/cgroup" / mount).joinpath(*names[1:depth])


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _text(path: Path) -> str:
    """Return what a file says, nothing if there is no such file."""
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8")
    return ""
