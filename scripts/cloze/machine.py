"""What this process may use of its machine: the container's limits count as the machine's do."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def memory_limit(root: Path = _ROOT) -> int:
    """Return how many bytes of memory this process and its siblings may use.

    The least of the machine's memory and the limits of the control groups (Linux, version 1
    or 2) that the process is in. `root` is where `proc` and `sys` are.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for group in _control_groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limits += [int(word) for word in _words(group / name) if word.isdigit()]
    return min(limits)


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
    """Return what white space parts in a file, nothing if there is no such file."""
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8").split()
    return []
