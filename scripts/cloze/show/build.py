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


def build_report(name: str, sources: Sources) -> dict[str, Any]:
    """Return the whole report; accuracies lie between 0 and 1.

    Raises `ClozeError` if the evaluations, the baselines and the task do not belong together.
    """
    evaluations, task, split = sources.evaluations, sources.task, sources.split
    require_task(sources)
    beside = baselines(sources, read_baselines(sources))
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
        "split": split,
        "examples": len(evaluations.labels),
        "recipe": dict(sources.recipe),
        "corpus": corpus_facts(sources.documents),
        "dataset": dataset_facts(sources.dataset),
        "pretraining": pretraining_facts(sources.pretraining),
        "finetuning": finetuning_facts(evaluations),
        **scores_of(evaluations, task),
        "measures": measures(evaluations),
        **_in_detail(evaluations, task),
        "baselines": beside,
        "paired_difference": beside.get("no_pretraining", {}).get("paired_difference"),
        "checkpoints": checkpoints(sources),
        "overlap": {
            "with_training_split": task.facts["overlap_with_train"].get(split),
            "with_pretraining_text": read_contamination(sources),
        },
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


def _in_detail(evaluations: Evaluations, task: Task) -> dict[str, Any]:
    if task.is_regression:
        return {"scatter": scatter(evaluations)}
    return {
        "classification_report": classification_report(evaluations, task.labels),
        "confusion_matrix": confusion_matrix(evaluations),
    }
