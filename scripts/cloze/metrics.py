"""`metrics.json`: the one shape in which every stage says what it did."""

import argparse
import importlib.metadata
import platform
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cloze.errors import ClozeError
from cloze.files import Record, read_object, sha256_path, write_sealed
from cloze.machine import available_cores, cpu_model, vector_extensions
from cloze.settings.code_key import code_key
from cloze.settings.finetuning import TRUNCATIONS

_LIBRARIES = ("torch", "numpy", "tokenizers", "pyarrow", "scikit-learn")
_NOT_IN_ARGS = ("log", "threads")
_SIZES = ("max_length", "doc_stride", "max_answer_length")


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
    """Write `metrics.json` for one stage, atomically, with a digest of its values.

    Its keys: `metrics` (what was measured), `args` (flags, paths as text), `inputs`
    (path to SHA-256, see `files.sha256_path`; a mapping is taken as it is), `code`
    (`path@digest` of the modules that ran), `environment` and `seconds`.
    """
    if not isinstance(inputs, Mapping):
        inputs = {str(name): sha256_path(name) for name in inputs}
    values = vars(args) if isinstance(args, argparse.Namespace) else dict(args)
    write_sealed(
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


def read_metrics(path: Path) -> Record:
    """Read what `write_metrics` wrote.

    Raises `ClozeError` if it is missing, was changed, or is the file of something else.
    """
    record = read_object(path)
    for key in ("metrics", "args", "inputs"):
        if not isinstance(record[key] if key == "metrics" else record.get(key, {}), dict):
            raise ClozeError(f"{path}: its {key!r} are no keys and values; make it again")
    return record


def metrics_of_model(folder: Path) -> Mapping[str, Any]:
    """Return what `read_metrics` does of a model folder's own file.

    Empty for a model from elsewhere, which has no such file or one of another program.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        return {}
    record = read_object(path)
    # Nobody writes an empty one.
    return {} if record and "metrics" not in record else read_metrics(path)


def recipe_of_model(folder: Path) -> dict[str, Any]:
    """Return the recipe by which a model folder says that it was trained; empty from elsewhere.

    Raises `ClozeError` where its limits of a text are none.
    """
    recipe = metrics_of_model(folder).get("metrics", {}).get("recipe", {})
    sizes = [recipe.get(key) for key in _SIZES] if isinstance(recipe, dict) else [0]
    are_sizes = all(size is None or (type(size) is int and size > 0) for size in sizes)
    if not are_sizes or recipe.get("truncation", TRUNCATIONS[0]) not in TRUNCATIONS:
        raise ClozeError(
            f"{folder / 'metrics.json'}: its recipe has {', '.join(_SIZES)} or truncation that are "
            "no limits of a text; make it again"
        )
    return recipe


def plain(value: Any) -> Any:
    """Return a flag's value as JSON holds it, paths as text."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
