"""What a cluster has and what it gave to a job, from the words of SLURM."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloze import slurm
from cloze.machine import available_cores, memory_limit
from cloze.slurm import Partition, partition
from tests.sinfo import write_sinfo

# As SLURM 22.05 prints them; the second kind of node in `batch` has cards.
SINFO = """\
batch*|16|64000|1-12:00:00|(null)
batch*|64|256000+|1-12:00:00|gpu:a100:4(S:0-1),nvme:1
debug|8|32000|30:00|gpu:2
long|16|64000|infinite|(null)
"""


@pytest.fixture
def sinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A command `sinfo` that says so."""
    command = write_sinfo(tmp_path, SINFO)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    slurm._nodes.cache_clear()
    yield command
    slurm._nodes.cache_clear()


@pytest.mark.usefixtures("sinfo")
def test_a_partition_is_its_largest_node_and_its_time_limit() -> None:
    assert partition() == partition("batch") == Partition(64, 256_000, gpus=4, minutes=36 * 60)
    assert partition("debug") == Partition(8, 32_000, gpus=2, minutes=30)
    assert partition("long") == Partition(16, 64_000, gpus=0, minutes=None)
    assert partition("long,debug") == partition("debug")
    assert partition("none") is None


def test_where_there_is_no_slurm_nothing_is_known(sinfo: Path) -> None:
    sinfo.write_text("#!/bin/sh\necho 'slurm_load_partitions: no controller' >&2\nexit 1\n")
    assert partition() is None


def test_a_job_uses_the_cores_that_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "3")
    assert available_cores(tmp_path) == 3
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "16")
    assert available_cores(tmp_path) == 8


@pytest.mark.parametrize(
    ("given", "megabytes"),
    [
        ({"SLURM_MEM_PER_NODE": "500"}, 500),
        ({"SLURM_MEM_PER_CPU": "200", "SLURM_CPUS_ON_NODE": "2"}, 400),
        # All that the node has.
        ({"SLURM_MEM_PER_NODE": "0"}, None),
        ({}, None),
    ],
)
def test_a_job_uses_the_memory_that_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], megabytes: int | None
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory_limit(tmp_path) == (physical if megabytes is None else megabytes << 20)


def test_a_job_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert slurm.job_id() is None
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    assert slurm.job_id() == "42"
