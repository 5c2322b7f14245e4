"""A longer run goes on from a shorter one of the same recipe, where the schedule allows it.

Under `constant` and `warmup_stable_decay` (Hu et al. 2024, §4) the steps before the decay are
the same however long the run is, if its warm-up is given in steps and its masking rate stays.
The trainer keeps the checkpoint after the last of them in `stable/`, and a run with more steps
begins there: its weights are those of a run that was never shorter.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.files import read_json, read_object, read_records, write_sealed, write_text
from cloze.objectives.prediction_history import MASKED_EXAMPLES
from cloze.train.plan import TrainingPlan
from cloze.train.run_directory import STATE, RunDirectory

_LENGTH = frozenset({"max_steps", "max_tokens"})


def go_on_from_shorter(run: RunDirectory, plan: TrainingPlan) -> None:
    """Give a new run the last stable checkpoint of the longest shorter one, if there is any.

    Records come along; the best weights do not, since evaluations of the two may differ in
    size. Says so where shorter runs exist that no longer one can go on from.
    """
    if plan.max_steps is None or run.checkpoints():
        return
    shorter = list(_shorter_runs(run, plan.max_steps))
    usable = [
        (steps, folder)
        for folder, other in shorter
        if _same_until_the_decay(plan, other)
        and (steps := _steps(folder / "stable")) is not None
        and steps <= plan.stable_steps
    ]
    if usable:
        steps, folder = max(usable)
        _take_over(folder, run, steps, plan.max_steps)
        log.info(
            "going on after step %d of a shorter run, of which %d steps are left to do",
            steps, plan.max_steps - steps,
        )  # fmt: skip
    elif shorter:
        log.info(
            "a shorter run of this recipe exists, but a longer one cannot go on from it: that "
            "needs lr_scheduler_type constant or warmup_stable_decay, warmup_steps of 1 or more "
            "and one masking rate; training from the start"
        )


def _shorter_runs(run: RunDirectory, max_steps: int) -> Iterator[tuple[Path, TrainingPlan]]:
    """Yield the folders beside a run's whose recipe differs in a lower number of steps alone."""
    own = _without_length(read_json(run.path / "recipe.json"))
    for folder in sorted(run.path.parent.iterdir()):
        if folder == run.path or not folder.is_dir():
            continue
        try:
            recipe = _without_length(read_json(folder / "recipe.json"))
            plan = TrainingPlan.from_json(read_object(folder / "run.json", is_sealed=True))
        except (ClozeError, KeyError, TypeError, AttributeError):
            continue
        if recipe == own and plan.max_steps is not None and plan.max_steps < max_steps:
            yield folder, plan


def _without_length(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in recipe.items() if key not in _LENGTH}


def _same_until_the_decay(plan: TrainingPlan, other: TrainingPlan) -> bool:
    return plan.as_if_endless() == other.as_if_endless() and plan.stable_steps > 0


def _steps(checkpoint: Path) -> int | None:
    """Return the steps of a stable checkpoint, None where there is none or it is damaged."""
    try:
        return int(read_object(checkpoint / STATE, is_sealed=True)["step"])
    except (ClozeError, KeyError, TypeError, ValueError):
        return None


def _take_over(folder: Path, run: RunDirectory, steps: int, max_steps: int) -> None:
    checkpoint = run.checkpoint(steps)
    temporary = checkpoint.with_name(f".{checkpoint.name}.tmp")
    shutil.copytree(folder / "stable", temporary)
    state = read_object(temporary / STATE, is_sealed=True)
    write_sealed(
        temporary / STATE,
        {**state, "best_step": None, "best_value": None, "progress": steps / max_steps},
    )
    for name in ("metrics.jsonl", MASKED_EXAMPLES):
        records = (_rescaled(record, max_steps) for record in read_records(folder / name))
        write_text(run.path / name, "".join(json.dumps(record) + "\n" for record in records))
    temporary.replace(checkpoint)


def _rescaled(record: dict[str, Any], max_steps: int) -> dict[str, Any]:
    """Return a record with its progress as a share of the longer run."""
    if "progress" not in record:
        return record
    return {**record, "progress": (record["step"] - 1) / max_steps}
