"""Two results compared on the same rows: settings that differ, the difference, paired tests."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cloze.errors import ClozeError
from cloze.metrics import read_metrics
from cloze.show.comparison import PLACES
from cloze.show.text_layout import METRIC_NAMES, paragraph, percent, table, unit
from cloze.tasks.evaluations import Evaluations, read_evaluations, require_comparable
from cloze.tasks.lineage import is_encoder, staleness
from cloze.tasks.resampled_scores import (
    PERMUTATIONS,
    difference_of,
    mcnemar,
    permutation_test,
)


def describe_difference(first: Path, second: Path, split: str) -> str:
    """Return a text about a split of two folders, each a result's (with its seeds) or one seed's.

    Seeds that are stale (see `cloze.tasks.lineage`) are left out and named. Raises `ClozeError` if
    a folder holds no other evaluation, or those of different recipes, or if they are of other
    rows or labels.
    """
    stale: list[str] = []
    ours, theirs = _read(first, split, stale), _read(second, split, stale)
    require_comparable(ours, theirs, second)
    task = ours.seeds[0].metrics
    metric = task["metric"]
    if theirs.seeds[0].metrics["metric"] != metric:
        raise ClozeError(
            f"{second}: is measured by {theirs.seeds[0].metrics['metric']}, {first} by {metric}; "
            "evaluate both with the same task folder"
        )
    lines = [f"A  {first}", f"B  {second}", "", *_settings(ours, theirs), ""]
    lines += [f"{task['task']}, {task['split']}, {ours.num_examples:,} rows", ""]
    lines += table(("", METRIC_NAMES[metric], "seeds"), [_row("A", ours), _row("B", theirs)])
    lines += ["", *_tests(metric, ours, theirs)]
    for note in stale:
        lines += ["", f"  left out: {note}"]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _read(folder: Path, split: str, stale: list[str]) -> Evaluations:
    """Read the evaluations of a folder that are not stale; what is said of these joins `stale`."""
    candidates = [folder, folder / split, *sorted(folder.glob(f"seed-*/{split}"))]
    found = [place for place in candidates if (place / "predictions.parquet").is_file()]
    if not found:
        raise ClozeError(
            f"{folder}: holds no evaluation on {split}; name a task's folder with its seed-* "
            "folders, such as results/CORPUS/TOKENIZER/DATASET/ENCODER/TASK, or one of these"
        )
    reasons = {place: staleness(place, read_metrics(place / "metrics.json")) for place in found}
    notes = [f"{place} {reason}" for place, reason in reasons.items() if reason is not None]
    fresh = [place for place, reason in reasons.items() if reason is None]
    if not fresh:
        raise ClozeError(f"{notes[0]}; fine-tune and evaluate its seeds again")
    stale += notes
    return read_evaluations(fresh)


def _row(name: str, evaluations: Evaluations) -> tuple[str, str, str]:
    score, metric = evaluations.summary("score"), evaluations.seeds[0].metrics["metric"]
    spread = "" if score.std is None else f" ± {percent(score.std)}"
    return name, f"{percent(score.mean)}{unit(metric)}{spread}", f"{len(evaluations.seeds)}"


def _settings(ours: Evaluations, theirs: Evaluations) -> Iterator[str]:
    """Yield the settings of encoder and fine-tuning that are not the same."""
    ones, others = (_recipe(evaluations) for evaluations in (ours, theirs))
    keys = [key for key in {**ones, **others} if ones.get(key) != others.get(key)]
    if not keys:
        yield "  the same settings"
        return
    rows = [(key, str(ones.get(key, "-")), str(others.get(key, "-"))) for key in keys]
    yield from table(("setting", "A", "B"), rows)


def _recipe(evaluations: Evaluations) -> dict[str, Any]:
    seed = evaluations.seeds[0]
    finetuning = seed.metrics.get("finetuning", {})
    found = {f"finetuning.{key}": value for key, value in finetuning.get("recipe", {}).items()}
    found.pop("finetuning.seed", None)
    found["from_scratch"] = finetuning.get("from_scratch")
    for parent in seed.folder.parents:
        path = parent / "metrics.json"
        content: Mapping[str, Any] = read_metrics(path) if path.is_file() else {}
        is_pretrained = "validation_loss" in content.get("metrics", {})
        if is_pretrained and is_encoder(parent, evaluations.lineage.encoder):
            found |= {k: v for k, v in content.get("args", {}).items() if k not in PLACES}
            found["validation_loss"] = round(content["metrics"]["validation_loss"], 4)
            break
    return found


def _tests(metric: str, ours: Evaluations, theirs: Evaluations) -> Iterator[str]:
    difference = difference_of(ours, theirs, metric)
    low, high = difference.ci95
    chance = permutation_test(ours, theirs, metric)
    rows = [
        ("A − B, points", f"{100 * difference.difference:+.2f}"),
        ("95 % interval, bootstrap over rows", f"{100 * low:+.2f} to {100 * high:+.2f}"),
        (f"permutation test, {PERMUTATIONS:,} draws", f"p = {chance:.4f}"),
    ]
    if ours.statistics is None and ours.num_labels > 1:
        test = mcnemar(ours.correct, theirs.correct)
        split = f"p = {test.p_value:.4f} ({test.first_only} rows for A, {test.second_only} for B)"
        rows.append(("McNemar's exact test", split))
    yield from table(("", ""), rows)
    yield ""
    yield from paragraph(_verdict(difference.difference, low, high))


def _verdict(difference: float, low: float, high: float) -> str:
    if low <= 0 <= high:
        return (
            "These rows show no difference between the two: the interval holds 0. More rows or a "
            "larger effect would be needed to tell them apart."
        )
    better = "A" if difference > 0 else "B"
    return (
        f"{better} is better on these rows by more than the choice of rows explains. The tests "
        "know nothing of the choice of seeds; compare the deviations above."
    )
