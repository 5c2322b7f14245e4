"""The report of one task as data: what the JSON holds and the text is written from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cloze.data.manifest import read_manifest
from cloze.errors import ClozeError
from cloze.files import read_json
from cloze.tasks.evaluations import Evaluations, require_comparable
from cloze.tasks.statistics import PairedDifference, Summary, paired_bootstrap, wilson_interval
from cloze.tasks.task import Task

MISTAKES = 10
_PRETRAINING_KEYS = (
    "num_parameters",
    "steps",
    "tokens",
    "epochs",
    "train_seconds",
    "tokens_per_second",
    "validation_loss",
    "unigram_entropy",
    "validation_accuracy",
    "bits_per_byte",
)
_ARCHITECTURE_KEYS = (
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "vocab_size",
)


@dataclass(frozen=True)
class Sources:
    """What a report is made from; None for what a model from elsewhere does not have."""

    task: Task
    evaluations: Evaluations
    baselines: Path
    scratch: Evaluations | None = None
    pretraining: Path | None = None
    dataset: Path | None = None
    documents: Path | None = None
    contamination: Path | None = None
    recipe: Mapping[str, str] = field(default_factory=dict)


def build_report(name: str, sources: Sources) -> dict[str, Any]:
    """Return the whole report; accuracies lie between 0 and 1.

    Raises `ClozeError` if the evaluations, the baselines and the task do not belong together.
    """
    evaluations, task = sources.evaluations, sources.task
    split = evaluations.seeds[0].metrics["split"]
    _require_task(sources, split)
    report = {
        "name": name,
        "task": {
            "name": task.name,
            "origin": task.facts["origin"],
            "labels": task.labels,
            "splits": task.facts["splits"],
            "hold_out": task.facts.get("hold_out"),
        },
        "split": split,
        "examples": len(evaluations.labels),
        "recipe": dict(sources.recipe),
        "corpus": _corpus(sources.documents),
        "dataset": _dataset(sources.dataset),
        "pretraining": _pretraining(sources.pretraining),
        "finetuning": _finetuning(evaluations),
        "accuracy": _accuracy(evaluations),
        "classification_report": _classification_report(evaluations, task.labels),
        "confusion_matrix": _confusion_matrix(evaluations),
        "baselines": _baselines(sources),
        "overlap": {
            "with_training_split": task.facts["overlap_with_train"].get(split),
            "with_pretraining_text": _contamination(sources, split),
        },
        "mistakes": worst_mistakes(evaluations, task.labels),
    }
    scratch = report["baselines"].get("no_pretraining", {})
    report["paired_difference"] = scratch.get("paired_difference")
    return report


def worst_mistakes(evaluations: Evaluations, labels: list[str]) -> list[dict[str, Any]]:
    """Return the rows whose averaged prediction is most confidently wrong, worst first."""
    probabilities = evaluations.mean_probabilities
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != evaluations.labels)
    confidence = probabilities[wrong, predicted[wrong]]
    worst = wrong[np.lexsort((wrong, -confidence))][:MISTAKES]
    seeds_wrong = (~evaluations.correct).sum(axis=0)
    return [
        {
            "row": int(row),
            "text": evaluations.texts[row],
            "label": labels[evaluations.labels[row]],
            "prediction": labels[predicted[row]],
            "probability": float(probabilities[row, predicted[row]]),
            "seeds_wrong": int(seeds_wrong[row]),
        }
        for row in worst
    ]


def _require_task(sources: Sources, split: str) -> None:
    for seed in sources.evaluations.seeds:
        if seed.metrics["task"] != sources.task.name:
            raise ClozeError(
                f"{sources.task.folder}: is the task {sources.task.name}, the evaluations are of "
                f"{seed.metrics['task']}; give the task folder that was evaluated"
            )
    rows = sources.task.split(split)
    if rows.texts != sources.evaluations.texts:
        raise ClozeError(
            f"{sources.task.folder}: its {split} split has changed since the evaluations were "
            "made; run evaluate.py again"
        )


def _accuracy(evaluations: Evaluations) -> dict[str, Any]:
    summary = evaluations.summary("accuracy")
    examples = len(evaluations.labels)
    return {
        **_summary(summary),
        "per_seed": evaluations.values("accuracy"),
        "wilson_ci95": list(wilson_interval(summary.mean * examples, examples)),
    }


def _summary(summary: Summary) -> dict[str, Any]:
    """An accuracy lies between 0 and 1, which a t interval does not know."""
    bounds = summary.ci95
    return {
        "mean": summary.mean,
        "std": summary.std,
        "ci95": None if bounds is None else [max(0.0, bounds[0]), min(1.0, bounds[1])],
    }


def _difference(difference: PairedDifference) -> dict[str, Any]:
    return {**asdict(difference), "ci95": list(difference.ci95)}


def _classification_report(evaluations: Evaluations, labels: list[str]) -> dict[str, Any]:
    def mean(*keys: str) -> float:
        return evaluations.summary(*keys).mean

    per_class = {
        label: {
            **{score: mean("per_class", label, score) for score in ("precision", "recall", "f1")},
            "support": evaluations.seeds[0].metrics["per_class"][label]["support"],
        }
        for label in labels
    }
    return {
        "per_class": per_class,
        "macro_f1": mean("macro_f1"),
        "weighted_f1": mean("weighted_f1"),
    }


def _confusion_matrix(evaluations: Evaluations) -> list[list[float]]:
    """Counts averaged over the seeds; rows are true labels."""
    matrices = [seed.metrics["confusion_matrix"] for seed in evaluations.seeds]
    return np.mean(matrices, axis=0).tolist()


def _baselines(sources: Sources) -> dict[str, Any]:
    ours = sources.evaluations
    measured = read_json(sources.baselines)["metrics"]
    found: dict[str, Any] = {}
    for name in ("majority", "tfidf_logistic_regression"):
        facts = dict(measured[name])
        predictions = np.array(facts.pop("predictions"))
        if measured["task"] != sources.task.name or predictions.shape != ours.labels.shape:
            raise ClozeError(
                f"{sources.baselines}: was made on other rows than the evaluations; "
                "run baselines.py again on this task"
            )
        difference = paired_bootstrap(ours.correct, (predictions == ours.labels)[None])
        found[name] = {**facts, "paired_difference": _difference(difference)}
    if sources.scratch is not None:
        require_comparable(ours, sources.scratch, sources.task.folder)
        found["no_pretraining"] = {
            "accuracy": _accuracy(sources.scratch),
            "finetuning": _finetuning(sources.scratch),
            "paired_difference": _difference(
                paired_bootstrap(ours.correct, sources.scratch.correct)
            ),
        }
    return found


def _finetuning(evaluations: Evaluations) -> dict[str, Any]:
    first = evaluations.seeds[0].metrics.get("finetuning", {})
    return {
        "recipe": first.get("recipe", {}),
        "train_accuracy": evaluations.values("finetuning", "train_accuracy"),
        "train_seconds": evaluations.values("finetuning", "train_seconds"),
        "truncated_texts": first.get("truncated_texts"),
        "num_parameters": first.get("num_parameters"),
    }


def _pretraining(folder: Path | None) -> dict[str, Any] | None:
    if folder is None:
        return None
    metrics = read_json(folder / "metrics.json")["metrics"]
    config = read_json(folder / "config.json")
    return {
        **{key: metrics[key] for key in _PRETRAINING_KEYS if key in metrics},
        "architecture": {key: config[key] for key in _ARCHITECTURE_KEYS if key in config},
    }


def _dataset(folder: Path | None) -> dict[str, Any] | None:
    if folder is None:
        return None
    manifest = read_manifest(folder)
    return {
        "method": manifest.method,
        "max_length": manifest.max_length,
        "vocab_size": manifest.vocab_size,
        "splits": {
            name: {"tokens": split.tokens, "samples": split.samples, "rows": split.rows}
            for name, split in manifest.splits.items()
        },
    }


def _corpus(folder: Path | None) -> dict[str, Any] | None:
    return None if folder is None else dict(read_json(folder / "metrics.json")["metrics"])


def _contamination(sources: Sources, split: str) -> dict[str, Any] | None:
    """Return what find_contamination.py counted in the pretraining text."""
    if sources.contamination is None:
        return None
    metrics = read_json(sources.contamination)["metrics"]
    found = metrics["splits"].get(split, {})
    if metrics["task"] != sources.task.name or found.get("rows") != len(sources.evaluations.labels):
        raise ClozeError(
            f"{sources.contamination}: was made on other rows than the evaluations; "
            "run find_contamination.py again on this task"
        )
    return dict(found)
