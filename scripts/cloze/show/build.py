"""The report of one task as data: what the JSON holds, and text and page are written from."""

from typing import Any

from cloze.show.mistakes import scatter, worst_mistakes
from cloze.show.scores import (
    baselines,
    checkpoints,
    classification_report,
    confusion_matrix,
    measures,
    scores_of,
)
from cloze.show.sources import Sources, read_baselines, read_contamination, require_task
from cloze.show.stages import (
    corpus_facts,
    dataset_facts,
    finetuning_facts,
    pretraining_facts,
    provenance,
)
from cloze.tasks.evaluations import Evaluations
from cloze.tasks.task import Task


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
            "splits": task.facts["splits"],
            "hold_out": task.facts.get("hold_out"),
        },
        **_of_split(sources),
        "other_splits": {other.split: _of_split(other) for other in others},
        "recipe": dict(sources.recipe),
        "corpus": corpus_facts(sources.documents),
        "dataset": dataset_facts(sources.dataset),
        "pretraining": pretraining_facts(sources.pretraining),
        "finetuning": finetuning_facts(evaluations),
        **_in_detail(evaluations, task),
        "checkpoints": checkpoints(sources),
        "mistakes": worst_mistakes(evaluations, task),
        "provenance": provenance(
            {
                "documents": sources.documents,
                "data set": sources.dataset,
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
    beside = baselines(sources, read_baselines(sources))
    return {
        "split": split,
        "examples": len(evaluations.labels),
        **scores_of(evaluations, task),
        "measures": measures(evaluations),
        "baselines": beside,
        "paired_difference": beside.get("no_pretraining", {}).get("paired_difference"),
        "overlap": {
            "with_training_split": task.facts["overlap_with_train"].get(split),
            "with_pretraining_text": read_contamination(sources),
        },
    }


def _in_detail(evaluations: Evaluations, task: Task) -> dict[str, Any]:
    if task.is_regression:
        return {"scatter": scatter(evaluations)}
    return {
        "classification_report": classification_report(evaluations, task.labels),
        "confusion_matrix": confusion_matrix(evaluations),
    }
