"""Tests run in as many processes as there are cores, so that each has its share of threads."""

import os

import pytest

from cloze.machine import available_cores

# A worker starts processes of its own and takes up to 2 GB.
MAX_WORKERS = 4

# Before anything imports PyTorch, whose threads would otherwise wait for each other's cores.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // _WORKERS)))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return min(available_cores(), MAX_WORKERS)
