"""What the benchmarks share: run a command, watch what it takes, print medians."""

import itertools
import json
import lzma
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
MEGABYTE = 10**6
_SAMPLE_SECONDS = 0.05
# A proportional size takes the kernel a walk through all pages of a process.
_SAMPLES_PER_PROPORTIONAL = 5


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds on the clock and of all its processes' CPU time, and MB.

    `peak_mb` is the largest sum of resident memory of the command and its children, a page
    counted once for each process that has it; `peak_pss_mb` that of their proportional sizes,
    which count a shared page once.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    peak_pss_mb: float


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
        peak = peak_proportional = 0
        for sample in itertools.count():
            if process.poll() is not None:
                break
            peak = max(peak, _memory(process, "rss"))
            if sample % _SAMPLES_PER_PROPORTIONAL == 0:
                peak_proportional = max(peak_proportional, _memory(process, "pss"))
            time.sleep(_SAMPLE_SECONDS)
        wall = time.perf_counter() - started
        if process.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(map(str, command))}\n{output.read()}")
    return Cost(
        wall_s=round(wall, 2),
        cpu_s=round(_children_cpu() - before, 2),
        peak_mb=round(peak / 1e6, 1),
        peak_pss_mb=round(peak_proportional / 1e6, 1),
    )


def run_all(commands: Iterable[Command]) -> Cost:
    """Run commands one after the other: their seconds together, the highest of their peaks."""
    costs = [run(command) for command in commands]
    return Cost(
        wall_s=round(sum(cost.wall_s for cost in costs), 2),
        cpu_s=round(sum(cost.cpu_s for cost in costs), 2),
        peak_mb=max(cost.peak_mb for cost in costs),
        peak_pss_mb=max(cost.peak_pss_mb for cost in costs),
    )


def _children_cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _memory(process: psutil.Process, kind: Literal["rss", "pss"]) -> int:
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            total += each.memory_info().rss if kind == "rss" else each.memory_full_info().pss
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


def read_text(files: Iterable[Path]) -> Iterator[str]:
    """Yield the lines of text files, of those packed with xz too."""
    for file in files:
        opener = lzma.open if file.suffix == ".xz" else open
        with opener(file, "rt", encoding="utf-8", newline="\n") as stream:
            yield from stream


def clean_folder(path: Path) -> Path:
    """Return an empty folder of this name."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def report(result: dict[str, object]) -> None:
    """Print the one JSON line that a benchmark ends with."""
    print(json.dumps(result))
