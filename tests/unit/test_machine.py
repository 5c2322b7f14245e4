"""The limits of the container that a process runs in."""

import os
import time
from pathlib import Path

import pytest

from cloze.machine import (
    available_cores,
    cpu_model,
    memory_limit,
    vector_extensions,
    watch_others,
)
from cloze.metrics import environment

PHYSICAL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
GIB = 1 << 30


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """Write what Linux says of a process's control groups below `root`."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


MEMORY = [
    ("0::/", {"sys/fs/cgroup/memory.max": f"{GIB}"}, GIB),
    ("0::/", {"sys/fs/cgroup/memory.max": "max"}, PHYSICAL),
    # The tightest of a group and those around it holds.
    (
        "0::/slurm/job",
        {
            "sys/fs/cgroup/slurm/memory.max": f"{GIB // 2}",
            "sys/fs/cgroup/slurm/job/memory.max": f"{GIB}",
        },
        GIB // 2,
    ),
    # A container of Docker sees its own group as the top one.
    ("4:memory:/docker/1a2b", {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}"}, GIB),
    (
        "5:cpu,cpuacct:/\n4:memory:/a\n0::/",
        {"sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{GIB}"},
        GIB,
    ),
    # No limit is a number that no machine has.
    ("4:memory:/", {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}"}, PHYSICAL),
]


@pytest.mark.parametrize(("groups", "files", "limit"), MEMORY)
def test_memory_is_that_of_the_container(
    tmp_path: Path, groups: str, files: dict[str, str], limit: int
) -> None:
    assert memory_limit(machine(tmp_path, groups, files)) == limit


def test_without_control_groups_memory_is_that_of_the_machine(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) == PHYSICAL


CORES = [
    ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, 8),
    ("0::/", {"sys/fs/cgroup/cpu.max": "250000 100000"}, 2),
    ("0::/", {"sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
    ("0::/", {"sys/fs/cgroup/cpu.max": "1600000 100000"}, 8),
    # A job's own group is free, that of its user is not.
    (
        "0::/slurm/job",
        {
            "sys/fs/cgroup/slurm/cpu.max": "300000 100000",
            "sys/fs/cgroup/slurm/job/cpu.max": "max 100000",
        },
        3,
    ),
    (
        "3:cpu,cpuacct:/docker/1a2b",
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
        4,
    ),
    (
        "1:cpu:/",
        {
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        8,
    ),
]


@pytest.mark.parametrize(("groups", "files", "cores"), CORES)
def test_cores_are_those_that_the_container_may_keep_busy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    groups: str,
    files: dict[str, str],
    cores: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert available_cores(machine(tmp_path, groups, files)) == cores


def test_the_processor_is_named_with_what_decides_its_last_digits(tmp_path: Path) -> None:
    flags = "fpu sse2 sse4_1 avx2 fma avx512f avx512_bf16 amx_tile aes"
    core = f"processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: {flags}\n"
    root = machine(tmp_path, "0::/", {"proc/cpuinfo": core + core})
    assert cpu_model(root) == "Some CPU @ 2 GHz"
    assert vector_extensions(root) == [
        "amx_tile", "avx2", "avx512_bf16", "avx512f", "fma", "sse4_1",
    ]  # fmt: skip
    arm = machine(tmp_path, "0::/", {"proc/cpuinfo": "processor : 0\nFeatures : fp asimd sve aes"})
    assert vector_extensions(arm) == ["asimd", "sve"]
    assert cpu_model(arm)


def test_a_record_tells_the_processor() -> None:
    assert environment()["cpu_model"] == cpu_model()
    assert environment()["vector_extensions"] == vector_extensions()


def test_without_a_description_there_is_still_a_name(tmp_path: Path) -> None:
    assert cpu_model(tmp_path)
    assert vector_extensions(tmp_path) == []


def test_what_others_take_of_the_cores_is_what_this_program_does_not(monkeypatch):
    clock, busy = iter([10.0, 12.0]), iter([100.0, 103.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr("cloze.machine.busy_seconds", lambda cores: next(busy))
    own = iter([(5.0, 0.0, 0.0, 0.0), (5.5, 0.0, 0.5, 0.0)])
    monkeypatch.setattr(os, "times", lambda: next(own))
    others = watch_others()
    # Three seconds of work in two, one of them this program's and its children's.
    assert others() == 1.0
