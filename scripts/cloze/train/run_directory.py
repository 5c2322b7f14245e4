"""The working directory of one training run: fingerprint, lock, checkpoints, results.

A run lives in `{root}/{fingerprint}/`, so the same recipe on the same bytes finds its
own work again, unfinished (it resumes) or finished (it publishes), and another recipe
never touches it. Nothing in it is pickled.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.files import atomic_folder, atomic_path, read_json, sha256_file, write_json
from cloze.train.metrics_stream import MetricsStream

_KEPT_CHECKPOINTS = 2
_TENSORS, _STATE = "tensors.safetensors", "state.json"


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that stand for a recipe of plain JSON values."""
    text = json.dumps(recipe, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class RunDirectory:
    """One run's folder; open it with `open_run`, which holds its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = MetricsStream(path / "metrics.jsonl")

    @property
    def final(self) -> Path:
        """The finished run's files; exists only when training has ended."""
        return self.path / "final"

    @property
    def best(self) -> Path:
        """The weights with the lowest validation loss so far."""
        return self.path / "best.safetensors"

    def read_run(self) -> dict[str, Any]:
        """Return what `write_run` kept, or an empty dictionary for a new run."""
        path = self.path / "run.json"
        return read_json(path) if path.is_file() else {}

    def write_run(self, values: Mapping[str, Any]) -> None:
        """Keep what was decided once for the whole run."""
        write_json(self.path / "run.json", dict(values))

    def save_checkpoint(self, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Keep everything that step `step` (steps done) needs, whole or not at all."""
        target = self._checkpoint(step)
        if target.is_dir():
            return
        with atomic_folder(target) as folder:
            _write_tensors(tensors, folder / _TENSORS)
            digest = sha256_file(folder / _TENSORS)
            write_json(folder / _STATE, {"step": step, **state, "sha256": digest})
        for old in self.checkpoints()[:-_KEPT_CHECKPOINTS]:
            shutil.rmtree(old)

    def checkpoints(self, until: int | None = None) -> list[Path]:
        """Return the whole checkpoints, oldest first; those of at most `until` steps if given."""
        found = sorted(self.path.glob("checkpoint-*"))
        return [path for path in found if until is None or path <= self._checkpoint(until)]

    def load_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and state of the newest sound checkpoint, or None for a new run.

        A checkpoint that cannot be read or whose bytes have changed is reported and passed
        over for the one before; if none is sound, training starts again rather than from
        half a state.
        """
        for folder in reversed(self.checkpoints()):
            try:
                return _read_checkpoint(folder)
            except (SafetensorError, OSError, ClozeError) as error:
                log.warning("warning: %s cannot be read (%s); trying an older one", folder, error)
        return None

    def load_checkpoint_of(self, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the checkpoint of a step, which another process has found sound."""
        return _read_checkpoint(self._checkpoint(step))

    def _checkpoint(self, step: int) -> Path:
        return self.path / f"checkpoint-{step:08d}"

    def save_best(self, tensors: dict[str, Tensor]) -> None:
        """Keep the weights with the lowest validation loss apart from the checkpoints."""
        with atomic_path(self.best) as temporary:
            _write_tensors(tensors, temporary)

    def kept_at(self, percent: int) -> Path:
        """Where the weights lie that the run had after so many percent of it."""
        return self.path / f"at-{percent}.safetensors"

    def keep(self, percent: int, tensors: dict[str, Tensor]) -> None:
        """Keep the weights after so many percent of the run, to be fine-tuned too."""
        with atomic_path(self.kept_at(percent)) as temporary:
            _write_tensors(tensors, temporary)

    def publish(self, output: Path, percent: int | None = None) -> None:
        """Copy a finished run's files into the folder `output`, metrics.json last.

        With a percentage these are the model as it was then; without one all else.
        """
        root = self.final if percent is None else self.final / f"at-{percent}"
        last = root / "metrics.json"
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        for path in sorted(files, key=lambda path: path == last):
            if not path.relative_to(root).parts[0].startswith("at-"):
                with atomic_path(output / path.relative_to(root)) as temporary:
                    shutil.copyfile(path, temporary)

    def discard_checkpoints(self) -> None:
        """Remove the checkpoints and kept weights of a finished run."""
        for folder in self.checkpoints():
            shutil.rmtree(folder)
        for file in self.path.glob("at-*.safetensors"):
            file.unlink()


@contextlib.contextmanager
def open_run(root: Path, recipe: Mapping[str, Any]) -> Iterator[RunDirectory]:
    """Open the run of `recipe` below `root`, alone.

    The lock is the kernel's and ends with its process, however that ends. Raises
    `ClozeError` naming the process if another trainer is at work in the folder.
    """
    path = root / fingerprint(recipe)
    path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, path)
        _remove_leftovers(path)
        write_json(path / "recipe.json", dict(recipe))
        yield RunDirectory(path)
    finally:
        os.close(descriptor)


def _write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write and flush a safetensors file; raises `OSError` where the file system refuses it."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        # The library is not written in Python and reports a full disk as a text.
        if not (found := re.search(r"\(os error (\d+)\)", str(error))):
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(path)) from error
    with open(path, "rb") as written:
        os.fsync(written.fileno())


def _read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint; raises `ClozeError` if its bytes are not those that were written."""
    state = read_json(folder / _STATE)
    if sha256_file(folder / _TENSORS) != state.pop("sha256", None):
        raise ClozeError(f"{_TENSORS} is damaged: its sha256 is not that in {_STATE}")
    return load_file(folder / _TENSORS), state


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        holder = os.read(descriptor, 64).decode() or "unknown"
        raise ClozeError(
            f"{path}: process {holder} is still training this very run (perhaps an orphan of an "
            f"earlier Snakemake); wait for it to finish, or stop it with `kill {holder}`, then "
            "run the same command again: it resumes from the last checkpoint"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of writers that were killed; the lock says they are gone."""
    for leftover in path.glob(".*.tmp"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
