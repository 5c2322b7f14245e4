"""The report of one task as data: what the JSON holds, and text and page are written from."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from cloze.show.adaptation import adaptation_facts
from cloze.show.kind_reports import KIND_REPORTS
from cloze.show.sources import (
    Sources,
    corpus_facts,
    dataset_facts,
    finetuning_facts,
    pretraining_facts,
    provenance,
    read_baselines,
    read_contamination,
    require_task,
)
from cloze.tasks.evaluations import Evaluations, require_comparable
from cloze.tasks.resampled_scores import (
    difference_of,
    paired_difference,
    paired_difference_of_sums,
)
from cloze.tasks.statistics import PairedDifference, wilson_interval
from cloze.tasks.task import Task

_LOWEST = {"matthews": -1.0, "pearson": -1.0, "spearman": -1.0, "pearson_and_spearman": -1.0}
# What `task_metrics` holds besides single numbers that describe the predictions.
_NO_MEASURES = {"score", "threshold", "null_threshold"}


def build_report(name: str, sources: Sources, *others: Sources) -> dict[str, Any]:
    """Return the whole report of a split, and the scores on others; accuracies lie within 0 and 1.

    Raises `ClozeError` if the evaluations, the baselines and the task do not belong together.
    """
    evaluations, task = sources.evaluations, sources.task
    return {
        "name": name,
        "task": {
            "name": task.name,
            "origin": task.facts["origin"],
            "labels": task.labels,
            "is_regression": task.is_regression,
            "objective": task.objective,
            "splits": task.facts["splits"],
            "hold_out": task.facts.get("hold_out"),
            "left_out": task.facts.get("left_out", {}),
        },
        **_of_split(sources),
        "other_splits": {other.split: _of_split(other) for other in others},
        "model": None if sources.pretraining is None else sources.pretraining.as_posix(),
        "recipe": dict(sources.recipe),
        "corpus": corpus_facts(sources.documents),
        "dataset": dataset_facts(sources.dataset),
        "pretraining": pretraining_facts(sources.pretraining),
        "phases": [pretraining_facts(folder) for folder in sources.phases],
        "finetuning": finetuning_facts(evaluations),
        **KIND_REPORTS[task.objective].details(evaluations, task),
        "checkpoints": _checkpoints(sources),
        "adaptation": adaptation_facts(sources.adapted_tokenizer, sources.masked_lm),
        "provenance": provenance(
            {
                "documents": sources.documents,
                "data set": sources.dataset,
                **{f"phase {n}": folder for n, folder in enumerate(sources.phases, start=1)},
                "encoder": sources.pretraining,
                "task": task.folder,
                "evaluation of the first seed": evaluations.seeds[0].folder,
            }
        ),
    }


def _of_split(sources: Sources) -> dict[str, Any]:
    """What is told of every split: scores, alone and beside baselines, and overlaps."""
    evaluations, task, split = sources.evaluations, sources.task, sources.split
    require_task(sources)
    beside = _baselines(sources, read_baselines(sources))
    return {
        "split": split,
        "examples": evaluations.num_examples,
        **_scores_of(evaluations, task),
        "measures": _measures(evaluations),
        "baselines": beside,
        "paired_difference": beside.get("no_pretraining", {}).get("paired_difference"),
        "overlap": {
            "with_training_split": task.facts["overlap_with_train"].get(split),
            "with_pretraining_text": read_contamination(sources),
        },
    }


def _score(evaluations: Evaluations, metric: str) -> dict[str, Any]:
    return {"metric": metric, **_over_seeds(evaluations, "score", _LOWEST.get(metric, 0.0))}


def _scores_of(evaluations: Evaluations, task: Task) -> dict[str, Any]:
    """Return `score` and, of classes, `accuracy` also with Wilson's interval over the rows."""
    found = {"score": _score(evaluations, task.metric)}
    if "accuracy" in evaluations.seeds[0].metrics:
        accuracy, rows = _over_seeds(evaluations, "accuracy", 0.0), evaluations.num_examples
        wilson = wilson_interval(accuracy["mean"] * rows, rows)
        found["accuracy"] = {**accuracy, "wilson_ci95": list(wilson)}
    return found


def _over_seeds(evaluations: Evaluations, key: str, lowest: float) -> dict[str, Any]:
    """A score has bounds, which a t interval does not know."""
    summary = evaluations.summary(key)
    bounds = summary.ci95
    return {
        "mean": summary.mean,
        "std": summary.std,
        "ci95": None if bounds is None else [max(lowest, bounds[0]), min(1.0, bounds[1])],
        "per_seed": evaluations.values(key),
    }


def _measures(evaluations: Evaluations) -> dict[str, float]:
    """Return every single number that was measured, averaged over the seeds."""
    return {
        name: evaluations.summary(name).mean
        for name, value in evaluations.seeds[0].metrics.items()
        # Whole numbers are counts.
        if isinstance(value, float) and name not in _NO_MEASURES
    }


def _baselines(sources: Sources, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return each baseline's score and by how much the encoder is better, with an interval.

    `measured` is what baselines.py wrote. Raises `ClozeError` if the encoder without
    pretraining or the ceiling were evaluated on other rows.
    """
    found: dict[str, Any] = {}
    for name, facts in measured.items():
        rows = ("predictions", "statistics")
        shown = {key: value for key, value in facts.items() if key not in rows}
        found[name] = {**shown, "paired_difference": _difference_from_baseline(sources, facts)}
    if sources.scratch is not None:
        found["no_pretraining"] = _encoder(sources, sources.scratch)
    if sources.unadapted is not None:
        found["unadapted"] = _encoder(sources, sources.unadapted)
    if sources.ceiling is not None:
        name, evaluations = sources.ceiling
        found["ceiling"] = {"name": name, **_encoder(sources, evaluations)}
    return found


def _encoder(sources: Sources, evaluations: Evaluations) -> dict[str, Any]:
    require_comparable(sources.evaluations, evaluations, sources.task.folder)
    return {
        **_scores_of(evaluations, sources.task),
        "finetuning": finetuning_facts(evaluations),
        "paired_difference": _as_facts(
            difference_of(sources.evaluations, evaluations, sources.task.metric)
        ),
    }


def _difference_from_baseline(sources: Sources, facts: Mapping[str, Any]) -> dict[str, Any]:
    ours, metric = sources.evaluations, sources.task.metric
    if ours.statistics is not None:
        baseline = np.array(facts["statistics"], dtype=np.float64)
        return _as_facts(paired_difference_of_sums(metric, ours.statistics, baseline[None]))
    baseline = np.array(facts["predictions"])
    return _as_facts(
        paired_difference(metric, ours.labels, ours.predictions, baseline[None], ours.num_labels)
    )


def _as_facts(difference: PairedDifference) -> dict[str, Any]:
    return {**asdict(difference), "ci95": list(difference.ci95)}


def _checkpoints(sources: Sources) -> list[dict[str, Any]]:
    """Return the score at each share of the pretraining budget, in percent, the last being 100.

    Raises `ClozeError` if one was evaluated on other rows.
    """
    if not sources.checkpoints:
        return []
    for evaluations in sources.checkpoints.values():
        require_comparable(sources.evaluations, evaluations, sources.task.folder)
    shares = {**sources.checkpoints, 100: sources.evaluations}
    return [
        {"percent": percent, "score": _score(shares[percent], sources.task.metric)}
        for percent in sorted(shares)
    ]
