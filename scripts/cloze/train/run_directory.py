"""The working directory of one training run: fingerprint, lock, checkpoints, results.

A run lives in `{root}/{fingerprint}/`, so the same recipe on the same bytes finds its
own work again, unfinished (it resumes) or finished (it publishes), and another recipe
never touches it. Nothing in it is pickled, and nothing in it is believed unread: what is
damaged is passed over for what is older, or made again.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cloze.cli import append_log, log
from cloze.errors import ClozeError
from cloze.files import (
    atomic_folder,
    atomic_path,
    fingerprint,
    read_json,
    read_object,
    sha256_file,
    write_json,
    write_sealed,
)
from cloze.locks import FolderLock
from cloze.model.weights import write_tensors
from cloze.slurm import job_id
from cloze.train.metrics_stream import MetricsStream

_KEPT_CHECKPOINTS = 2
_SECONDS_BETWEEN_LOOKS = 10.0
_TENSORS, STATE, _HASHES = "tensors.safetensors", "state.json", "sha256.json"
_DAMAGE = (SafetensorError, OSError, ClozeError, KeyError, TypeError, ValueError, AttributeError)

State = TypeVar("State")


class RunDirectory:
    """One run's folder; open it with `open_run`, which holds its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = MetricsStream(path / "metrics.jsonl")

    @property
    def final(self) -> Path:
        """The finished run's files; exists only when training has ended."""
        return self.path / "final"

    def is_finished(self) -> bool:
        """Return whether the finished run's files are all there as they were written.

        Damaged ones are said and removed, so that they are made again.
        """
        if not self.final.is_dir():
            return False
        try:
            hashes = read_object(self.path / _HASHES, is_sealed=True)
            damaged = [name for name in hashes if sha256_file(self.final / name) != hashes[name]]
        except _DAMAGE as error:
            damaged = [str(error)]
        if damaged:
            log.warning(
                "warning: %s: the finished run is damaged (%s); training it again",
                self.final, damaged[0],
            )  # fmt: skip
            shutil.rmtree(self.final)
        return not damaged

    @contextlib.contextmanager
    def finish(self) -> Iterator[Path]:
        """Yield the folder to write the finished run to; forgets the checkpoints afterwards."""
        with atomic_folder(self.final) as folder:
            yield folder
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            hashes = {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}
            write_sealed(self.path / _HASHES, hashes)
        self.discard_checkpoints()

    def publish(self, output: Path, percent: int | None = None) -> None:
        """Link a finished run's files into the folder `output`, metrics.json last.

        With a percentage these are the model as it was then; without one all else. Where
        links are impossible, as between file systems, the files are copied. Raises `ClozeError`
        where no such weights were kept.
        """
        root = self.final if percent is None else self.final / f"at-{percent}"
        if not root.is_dir():
            raise ClozeError(
                f"--publish-at {percent}: no weights of {percent} % of the run were kept, since it "
                f"was trained without that --keep-at; remove {self.path} to train it again"
            )
        last = root / "metrics.json"
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        for path in sorted(files, key=lambda path: path == last):
            if not path.relative_to(root).parts[0].startswith("at-"):
                with atomic_path(output / path.relative_to(root)) as temporary:
                    _link(path, temporary)

    def read_run(self) -> dict[str, Any]:
        """Return what `write_run` kept; an empty dictionary for a new run or a damaged file."""
        path = self.path / "run.json"
        try:
            return read_object(path, is_sealed=True) if path.is_file() else {}
        except ClozeError as error:
            log.warning("warning: %s cannot be read (%s); deciding again", path, error)
            return {}

    def write_run(self, values: Mapping[str, Any]) -> None:
        """Keep what was decided once for the whole run."""
        write_sealed(self.path / "run.json", values)

    def save_checkpoint(self, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Keep everything that step `step` (steps done) needs, whole or not at all."""
        target = self.checkpoint(step)
        if target.is_dir():
            return
        write_checkpoint(target, tensors, {"step": step, **state})
        for old in self.checkpoints()[:-_KEPT_CHECKPOINTS]:
            shutil.rmtree(old)

    def save_stable(self, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Keep the checkpoint from which a longer run can go on; see `longer`."""
        target = self.path / "stable"
        shutil.rmtree(target, ignore_errors=True)
        write_checkpoint(target, tensors, {"step": step, **state})

    def checkpoints(self, until: int | None = None) -> list[Path]:
        """Return the whole checkpoints, oldest first; those of at most `until` steps if given."""
        found = sorted(self.path.glob("checkpoint-*"))
        return [path for path in found if until is None or path <= self.checkpoint(until)]

    def load_checkpoint(
        self, parse: Callable[[dict[str, Any]], State]
    ) -> tuple[dict[str, Tensor], State] | None:
        """Return tensors and state of the newest sound checkpoint, or None where none is.

        `parse` makes the state of its JSON and fails where something is missing. A checkpoint
        that cannot be read or whose bytes have changed is reported and passed over for the
        one before.
        """
        for folder in reversed(self.checkpoints()):
            try:
                tensors, state = _read_checkpoint(folder)
                return tensors, parse(state)
            except _DAMAGE as error:
                reason = error if isinstance(error, ClozeError | OSError) else repr(error)
                log.warning("warning: %s cannot be read (%s); trying an older one", folder, reason)
        return None

    def load_checkpoint_of(self, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the checkpoint of a step, which another process has found sound."""
        return _read_checkpoint(self.checkpoint(step))

    def checkpoint(self, step: int) -> Path:
        """Where the checkpoint after so many steps lies."""
        return self.path / f"checkpoint-{step:08d}"

    def best_at(self, step: int) -> Path:
        """Where the weights of a step lie that were the best when they were kept."""
        return self.path / f"best-{step:08d}.safetensors"

    def save_best(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Keep the best weights so far; earlier ones only if a checkpoint names their step.

        So a run that resumes from that checkpoint finds the weights that its record names.
        """
        with atomic_path(self.best_at(step)) as temporary:
            write_tensors(tensors, temporary)
        needed = {self.best_at(step)}
        for folder in self.checkpoints():
            with contextlib.suppress(*_DAMAGE):
                needed.add(self.best_at(read_json(folder / STATE)["best_step"]))
        for file in self.path.glob("best-*.safetensors"):
            if file not in needed:
                file.unlink()

    def kept_at(self, percent: int) -> Path:
        """Where the weights lie that the run had after so many percent of it."""
        return self.path / f"at-{percent}.safetensors"

    def keep(self, percent: int, tensors: dict[str, Tensor]) -> None:
        """Keep the weights after so many percent of the run, to be fine-tuned too."""
        with atomic_path(self.kept_at(percent)) as temporary:
            write_tensors(tensors, temporary)

    def discard_checkpoints(self) -> None:
        """Remove the checkpoints and kept weights of a finished run."""
        for folder in self.checkpoints():
            shutil.rmtree(folder)
        for pattern in ("at-*.safetensors", "best-*.safetensors"):
            for file in self.path.glob(pattern):
                file.unlink()


@contextlib.contextmanager
def open_run(root: Path, recipe: Mapping[str, Any], is_main: bool = True) -> Iterator[RunDirectory]:
    """Open the run of `recipe` below `root`: the main process alone, the others beside it.

    The folder is locked as `FolderLock` says. If another trainer is at work in it, a job of a
    cluster, at which nobody looks, waits for it; otherwise `ClozeError` names the process. What is
    logged also lies in the folder's `log.txt`, which no later attempt overwrites.
    """
    path = root / fingerprint(recipe)
    if not is_main:
        yield RunDirectory(path)
        return
    path.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(path)
    try:
        _acquire(lock, path)
        _remove_leftovers(path)
        write_json(path / "recipe.json", dict(recipe))
        append_log(path / "log.txt")
        yield RunDirectory(path)
    finally:
        lock.release()


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and state with the hash of the former, whole or not at all."""
    with atomic_folder(folder) as temporary:
        write_tensors(tensors, temporary / _TENSORS)
        write_sealed(temporary / STATE, {**state, "sha256": sha256_file(temporary / _TENSORS)})


def _read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint; raises `ClozeError` if its bytes are not those that were written."""
    state = read_object(folder / STATE, is_sealed=True)
    if sha256_file(folder / _TENSORS) != state.pop("sha256"):
        raise ClozeError(f"{_TENSORS} is damaged: its sha256 is not that in {STATE}")
    return load_file(folder / _TENSORS), state


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    # An output is newer than its inputs, whenever its bytes were made.
    os.utime(target)


def _acquire(lock: FolderLock, path: Path) -> None:
    is_told = False
    while not lock.acquire():
        holder = lock.holder()
        if job_id() is None:
            stop = "stop it" if holder is None else f"stop it with `{holder.stop_command}`"
            raise ClozeError(
                f"{path}: {holder or 'another process'} is still training this very run (perhaps "
                f"an orphan of an earlier Snakemake); wait for it to finish, or {stop}, then run "
                "the same command again: it resumes from the last checkpoint"
            )
        if not is_told:
            log.warning("%s: waiting for %s, which is training this very run", path, holder)
            is_told = True
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of writers that were killed; the lock says they are gone."""
    for leftover in path.glob(".*.tmp"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
