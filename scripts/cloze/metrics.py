"""`metrics.json`: the one shape in which every stage says what it did."""

import argparse
import importlib.metadata
import platform
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cloze.files import sha256_path, write_json
from cloze.machine import available_cores, cpu_model, vector_extensions
from cloze.settings.code_key import code_key

_LIBRARIES = ("torch", "numpy", "tokenizers", "pyarrow", "scikit-learn")
_NOT_IN_ARGS = ("log", "threads")


class Stopwatch:
    """Wall-clock and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Return `{"wall": seconds, "cpu": seconds of this process}`."""
        return {
            "wall": round(time.perf_counter() - self._wall, 3),
            "cpu": round(time.process_time() - self._cpu, 3),
        }


def environment() -> dict[str, Any]:
    """Return what a number may depend on besides its inputs: machine and library versions."""
    versions: dict[str, str | None] = {}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpu_model": cpu_model(),
        "vector_extensions": vector_extensions(),
        "cores": available_cores(),
        "libraries": versions,
    }


def write_metrics(
    path: Path,
    *,
    metrics: Mapping[str, Any],
    args: argparse.Namespace | Mapping[str, Any],
    inputs: Iterable[Path] | Mapping[str, str],
    script: Path,
    seconds: Mapping[str, float],
) -> None:
    """Write `metrics.json` for one stage, atomically.

    Its keys: `metrics` (what was measured), `args` (flags, paths as text), `inputs`
    (path to SHA-256, see `files.sha256_path`; a mapping is taken as it is), `code`
    (`path@digest` of the modules that ran), `environment` and `seconds`.
    """
    if not isinstance(inputs, Mapping):
        inputs = {str(name): sha256_path(name) for name in inputs}
    values = vars(args) if isinstance(args, argparse.Namespace) else dict(args)
    write_json(
        path,
        {
            "metrics": dict(metrics),
            "args": {key: plain(v) for key, v in values.items() if key not in _NOT_IN_ARGS},
            "inputs": dict(inputs),
            "code": code_key(script),
            "environment": environment(),
            "seconds": dict(seconds),
        },
    )


def plain(value: Any) -> Any:
    """Return a flag's value as JSON holds it, paths as text."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
