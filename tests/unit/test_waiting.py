import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloze.machine import busy_seconds
from cloze.model.waiting import CoreWatch

# Products so small that their threads wait for each other all the time.
WORK = """
import resource, sys, time, torch
from cloze.model.device import resolve_compute
resolve_compute("cpu", "fp32", "off", 2, 0.0)
torch.manual_seed(0)
states, weights = torch.randn(512, 256), torch.randn(256, 256)
time.sleep(1.2)
before, until = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw, time.perf_counter() + 1.5
while time.perf_counter() < until:
    torch.nn.functional.gelu(states @ weights) + states
sleeps = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before
print(sleeps, float((states @ weights).sum()))
"""


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def work(**environment: str) -> tuple[int, str]:
    """Return how often its threads went to sleep in 1.5 seconds of work, and what came out."""
    path = os.pathsep.join(sys.path)
    values = {key: value for key, value in os.environ.items() if not key.startswith("OMP_NUM")}
    done = subprocess.run(
        [sys.executable, "-c", WORK],
        env={**values, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    sleeps, result = done.stdout.split()
    return int(sleeps), result


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="needs Linux")
def test_threads_yield_beside_busy_processes_and_compute_the_same():
    with busy_processes(os.cpu_count() or 1):
        spinning = work(GOMP_SPINCOUNT="300000")
        yielding = work()
    assert yielding[0] > 10 * (1 + spinning[0])
    assert yielding[1] == spinning[1]


def look_at(watch: CoreWatch, loads: list[float], own: float = 2.0) -> list[bool]:
    """Let so many cores be busy with other processes, a second each; returns who yields."""
    seen, busy, used = [], 0.0, 0.0
    watch.look(0.0, busy, used)
    for second, load in enumerate(loads, start=1):
        busy, used = busy + own + load, used + own
        watch.look(float(second), busy, used)
        seen.append(watch.is_yielding)
    return seen


@pytest.fixture
def watch(monkeypatch) -> CoreWatch:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)), raising=False)
    watch = CoreWatch(Path("libgomp.so.1"))
    watch.threads = 4
    return watch


def test_threads_yield_as_long_as_others_take_their_cores(watch):
    assert look_at(watch, [0.0, 0.1, 1.0, 1.0, 0.1, 0.0]) == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]


def test_a_load_in_between_changes_nothing(watch):
    assert look_at(watch, [0.2, 0.2, 0.5, 0.2, 0.2, 0.1]) == [False, False, True, True, True, False]


def test_spare_cores_may_be_busy(watch):
    watch.threads = 2
    assert look_at(watch, [2.0, 2.2, 3.0]) == [False, False, True]


def test_the_cores_of_the_process_alone_count(tmp_path, watch):
    tick = os.sysconf("SC_CLK_TCK")
    (tmp_path / "proc").mkdir()
    lines = [f"cpu{core} {tick} 0 {tick} 900 50 0 0 {tick} 5 0" for core in range(6)]
    (tmp_path / "proc" / "stat").write_text("\n".join(["cpu 1 2 3", *lines, "intr 1"]) + "\n")
    watch._root = tmp_path
    assert busy_seconds(watch._cores, watch._root) == 4 * 3.0
