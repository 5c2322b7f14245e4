"""What a report is made from, and whether it belongs together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloze.errors import ClozeError
from cloze.files import read_json
from cloze.tasks.evaluations import Evaluations
from cloze.tasks.task import Task


@dataclass(frozen=True)
class Sources:
    """What a report tells of one split from; None for what a model from elsewhere does not have.

    `scratch`: the same encoder without pretraining. `ceiling`: the name of a public encoder
    and its evaluations. `checkpoints`: those of the encoder as it was after so many percent of
    its pretraining.
    """

    task: Task
    evaluations: Evaluations
    baselines: Path
    scratch: Evaluations | None = None
    ceiling: tuple[str, Evaluations] | None = None
    checkpoints: Mapping[int, Evaluations] = field(default_factory=dict)
    pretraining: Path | None = None
    dataset: Path | None = None
    documents: Path | None = None
    contamination: Path | None = None
    recipe: Mapping[str, str] = field(default_factory=dict)

    @property
    def split(self) -> str:
        """The split that was evaluated."""
        return str(self.evaluations.seeds[0].metrics["split"])


def require_task(sources: Sources) -> None:
    """Raise `ClozeError` unless the evaluations are of the task as it is now."""
    for seed in sources.evaluations.seeds:
        if seed.metrics["task"] != sources.task.name:
            raise ClozeError(
                f"{sources.task.folder}: is the task {sources.task.name}, the evaluations are of "
                f"{seed.metrics['task']}; give the task folder that was evaluated"
            )
    rows = sources.task.split(sources.split)
    if rows.texts != sources.evaluations.texts:
        raise ClozeError(
            f"{sources.task.folder}: its {sources.split} split has changed since the evaluations "
            "were made; run evaluate.py again"
        )


def read_baselines(sources: Sources) -> dict[str, Any]:
    """Return what baselines.py measured on the split, by baseline.

    Raises `ClozeError` if it was on other rows.
    """
    metrics = read_json(sources.baselines)["metrics"]
    measured = dict(metrics.get("splits", {}).get(sources.split, {}))
    rows = len(sources.evaluations.labels)
    same_rows = measured and all(len(found["predictions"]) == rows for found in measured.values())
    if metrics["task"] != sources.task.name or not same_rows:
        raise ClozeError(
            f"{sources.baselines}: was made on other rows than the evaluations; "
            "run baselines.py again on this task"
        )
    return measured


def read_contamination(sources: Sources) -> dict[str, Any] | None:
    """Return what find_contamination.py counted in the pretraining text, if it was looked for.

    Raises `ClozeError` if it looked for other rows.
    """
    if sources.contamination is None:
        return None
    metrics = read_json(sources.contamination)["metrics"]
    found = metrics["splits"].get(sources.split, {})
    if metrics["task"] != sources.task.name or found.get("rows") != len(sources.evaluations.labels):
        raise ClozeError(
            f"{sources.contamination}: was made on other rows than the evaluations; "
            "run find_contamination.py again on this task"
        )
    return dict(found)
