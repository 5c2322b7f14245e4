"""What the benchmarks share: run a command, watch what it takes, print medians."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds on the clock and of all its processes' CPU time, and MB.

    `peak_mb` is the largest sum of resident memory of the command and its children.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float


Command = list[str | Path]


def run(command: Command, folder: Path = ROOT, **environment: str) -> Cost:
    """Run a command in `folder` to its end; raises `SystemExit` with its output if it fails."""
    # Not a pipe: nobody empties it while the command runs, and a full one would stop it.
    with tempfile.TemporaryFile("w+") as output:
        started, before = time.perf_counter(), _children_cpu()
        process = psutil.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd=folder,
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process))
            time.sleep(_SAMPLE_SECONDS)
        wall = time.perf_counter() - started
        if process.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(map(str, command))}\n{output.read()}")
    return Cost(round(wall, 2), round(_children_cpu() - before, 2), round(peak / 1e6, 1))


def _children_cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _resident(process: psutil.Process) -> int:
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def python(script: str, *flags: str | Path) -> Command:
    """Return the command that runs one of the project's scripts."""
    return [sys.executable, SCRIPTS / script, *flags]


def folder_mb(*folders: Path) -> float:
    """Return the size of all files below these folders."""
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return round(sum(path.stat().st_size for path in files) / 1e6, 1)


def median(costs: Sequence[Cost]) -> dict[str, float]:
    """Return the median of each figure."""
    return {
        name: round(statistics.median(asdict(cost)[name] for cost in costs), 2)
        for name in Cost.__annotations__
    }


def clean_folder(path: Path) -> Path:
    """Return an empty folder of this name."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def report(result: dict[str, object]) -> None:
    """Print the one JSON line that a benchmark ends with."""
    print(json.dumps(result))
