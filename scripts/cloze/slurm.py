"""What a SLURM cluster has, as `sinfo` tells it, and what it gave to the job of this process."""

import functools
import os
import re
import subprocess
from dataclasses import dataclass

_FORMAT = "%P|%c|%m|%l|%G"
_SECONDS_OF_PATIENCE = 30
# gpu:2, gpu:a100:4(S:0-1)
_GPUS = re.compile(r"\bgpu:(?:[^:,(]+:)?(\d+)")


@dataclass(frozen=True)
class Partition:
    """The largest node of a partition, and how many minutes a job may run there at most."""

    cores: int
    memory_mb: int
    gpus: int
    minutes: int | None


def partition(name: str | None = None) -> Partition | None:
    """Return the partition of a name, or the default one; None where SLURM knows none.

    Of several names with commas between them, as `sbatch` takes them, that of the largest node.
    """
    asked = None if name is None else name.split(",")
    nodes = [
        Partition(
            _number(cores), _number(memory), sum(map(int, _GPUS.findall(generic))), _minutes(limit)
        )
        for found, cores, memory, limit, generic in _nodes()
        if (found.endswith("*") if asked is None else found.rstrip("*") in asked)
    ]
    return max(nodes, key=lambda node: (node.gpus, node.cores, node.memory_mb), default=None)


def job_id() -> str | None:
    """Return the number of the job that this process belongs to, None outside of one."""
    return os.environ.get("SLURM_JOB_ID")


def given_cores() -> int | None:
    """Return how many cores of this node the job has; None outside of a job."""
    return _given("SLURM_CPUS_ON_NODE")


def given_memory() -> int | None:
    """Return how many bytes of this node's memory the job has; None where it has no limit."""
    megabytes = _given("SLURM_MEM_PER_NODE")
    if megabytes is None and (share := _given("SLURM_MEM_PER_CPU")):
        megabytes = share * (given_cores() or 1)
    # 0 asks for all memory of the node.
    return megabytes << 20 if megabytes else None


@functools.cache
def _nodes() -> list[list[str]]:
    """Return partition, cores, MB, time limit and generic resources of each kind of node."""
    try:
        found = subprocess.run(
            ["sinfo", "--noheader", "--exact", "--format", _FORMAT],
            capture_output=True,
            text=True,
            timeout=_SECONDS_OF_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip().split("|") for line in found.stdout.splitlines()]


def _number(text: str) -> int:
    return int(text.rstrip("+"))


def _minutes(limit: str) -> int | None:
    """Return the minutes of `[days-][hours:]minutes:seconds`, None for no limit."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if found is None:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes


def _given(name: str) -> int | None:
    value = os.environ.get(name, "")
    return int(value) if value.isdigit() else None
