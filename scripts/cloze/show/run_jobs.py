"""The jobs of a run of the workflow as a person knows them: stage, subject, share done, reasons."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cloze.cli import progress_file

# Rules that are made once for each data set bear its name.
_STAGES_BY_DATASET = ("segment_text", "split_tokens", "collect")
# Wildcards that are folders in each other: the last one tells which.
_FOLDERS = ("corpus", "tokenizer", "dataset", "architecture", "encoder")
# Stages that keep all cores busy by themselves.
_WHOLE_MACHINE = ("pretrain", "train_tokenizer")
# Of a job whose rule has not ended in this run yet: seconds on the sample and two cores.
_USUAL_SECONDS = 5.0
# Stages of several bars, and the one that tells how far the whole job is.
_TELLING_BARS = {"pretrain": "train", "finetune": "train"}
# Stages that take from seconds to days, so that nothing is known before one of them has begun.
_OF_ANY_LENGTH = ("pretrain", "finetune", "download")
_LEAST_SHARE = 0.02
# Snakemake's reasons for a job in other words; those that follow from another job come last.
_FOLLOWS = "follows from the above"
_REASONS = {
    "Missing output files": "not made yet",
    "Updated input files": "an input has changed",
    "Set of input files has changed since last execution": "it reads other files than before",
    "Params have changed since last execution": "its settings or its code have changed",
    "Code has changed since last execution": "its rule has changed",
    "Input files updated by another job": _FOLLOWS,
}


@dataclass
class Job:
    """A job: its rule, what it is about, where it says how far it is, and what it said last."""

    rule: str
    wildcards: Mapping[str, str]
    output: Sequence[str]
    log: str
    share: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Return the job that a record of Snakemake's event `job_info` or `job_error` tells of."""
        log = next(iter(record["log"]), "")
        return cls(record["rule_name"], record.get("wildcards", {}), record["output"], log)

    @property
    def stage(self) -> str:
        """The rule without the name of a data set."""
        return next((s for s in _STAGES_BY_DATASET if self.rule.startswith(f"{s}_")), self.rule)

    @property
    def about(self) -> list[str]:
        """What the job is about: the last of the folders that lie in each other, then the rest."""
        names = dict(self.wildcards)
        folders = [names.pop(key) for key in _FOLDERS if key in names]
        if self.stage != self.rule:
            folders = [self.rule.removeprefix(f"{self.stage}_")]
        if "model" in names:
            folder, _, name = names.pop("model").rpartition("/")
            folders = [f"{name} without pretraining" if folder.endswith("/scratch") else name]
        # The first phase of a pretraining has no folder of its own, so its wildcard is empty.
        rest = [
            f"{key} {name}" if key == "seed" else Path(name).name
            for key, name in names.items()
            if name
        ]
        return [*folders[-1:], *rest]

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self.started

    def share_done(self) -> float:
        """Return how much of the job is done as far as it has said, 0 to 1."""
        # The file may be missing, and is empty for an instant each time it is written.
        with contextlib.suppress(OSError, ValueError):
            text = progress_file(Path(self.log)).read_text(encoding="utf-8")
            bar, _, percentage = text.rpartition(": ")
            if bar == _TELLING_BARS.get(self.stage, bar):
                self.share = float(percentage) / 100
        return self.share

    def forget_progress(self) -> None:
        """Remove what the job, or one before it, wrote of how far it was."""
        if self.log:
            progress_file(Path(self.log)).unlink(missing_ok=True)

    def describe(self) -> str:
        """Return stage and subject, and the share that is done where it is known."""
        share = self.share_done()
        return f"{self.stage} {', '.join(self.about)}" + (f" {share:.0%}" if share else "")


class TimeLeft:
    """How long the whole run still takes, by what its jobs took so far and where they are."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._waiting: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}

    def plan(self, jobs: Counter[str]) -> None:
        """Expect so many jobs of each rule."""
        self._waiting = jobs.copy()

    def note(self, rule: str, seconds: float) -> None:
        """Count a finished job."""
        self._waiting[rule] -= 1
        self._seconds[rule] = seconds

    def describe(self, running: Sequence[Job]) -> str:
        """Return the estimate in words, empty while nothing tells how long a stage takes."""
        seconds, waiting, left = dict(self._seconds), self._waiting.copy(), 0.0
        for job in running:
            if (share := job.share_done()) >= _LEAST_SHARE:
                seconds[job.rule] = job.seconds / share
            whole = seconds.get(job.rule, _USUAL_SECONDS)
            left += max(1.0, whole - job.seconds) / self._at_a_time(job.rule)
            waiting[job.rule] -= 1
        for rule, count in waiting.items():
            whole = seconds.get(rule, _USUAL_SECONDS)
            left += max(0, count) * whole / self._at_a_time(rule)
        unknown = {rule for rule in _OF_ANY_LENGTH if self._waiting[rule] > 0} - seconds.keys()
        if "pretrain" in unknown:
            return ""
        return f"{'at least' if unknown else 'about'} {_duration(left)} left in all"

    def _at_a_time(self, rule: str) -> int:
        return 1 if rule in _WHOLE_MACHINE else self._cores


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def plan_lines(jobs: Sequence[tuple[Job, str]]) -> Iterator[str]:
    """Return a line for the jobs of each stage: how many, of what, and why.

    `jobs`: each with the reason that Snakemake gives.
    """
    stages: dict[str, list[tuple[Job, str]]] = {}
    for job, reason in jobs:
        stages.setdefault(job.stage, []).append((job, reason))
    yield f"{len(jobs)} jobs would run:\n"
    for stage, found in stages.items():
        shared = [part for part in found[0][0].about if all(part in job.about for job, _ in found)]
        why = dict.fromkeys(words for _, reason in found for words in _reasons(reason))
        reasons = [words for words in why if words != _FOLLOWS] or [_FOLLOWS]
        yield f"{len(found):>5}  {stage:<18}  {', '.join(shared):<30}  {'; '.join(reasons)}"


def _reasons(text: str) -> list[str]:
    """Return Snakemake's reasons for a job, each in a few words."""
    found = [words for head, words in _REASONS.items() if head in text]
    return found or [text.partition(":")[0]]
