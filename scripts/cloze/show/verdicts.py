"""What is amiss with a result, told beside it: each with the setting to change."""

from collections.abc import Iterator, Mapping
from typing import Any

from cloze.show.kind_reports import kind_report
from cloze.show.text_layout import percent, points

Report = Mapping[str, Any]

_MUCH_IS_CUT = 0.05
_NAMES_SHOWN = 5


def verdicts(report: Report) -> list[str]:
    """Return a sentence or two for each thing that a reader of the score must know first."""
    found = [_lost_to_a_baseline, _pretraining_without_gain, _not_recognised, _one_document]
    return [sentence for tell in found for sentence in tell(report)]


def best_baseline(report: Report) -> tuple[str, Mapping[str, Any]] | None:
    """Return name and facts of the best baseline that needs no encoder, None without any."""
    names, found = kind_report(report["task"]).baseline_names, report["baselines"]
    beside = [(name, found[key]) for key, name in names.items() if key in found]
    return max(beside, key=lambda named: named[1]["score"], default=None)


def _lost_to_a_baseline(report: Report) -> Iterator[str]:
    best = best_baseline(report)
    if best is None or best[1]["paired_difference"]["difference"] >= 0:
        return
    name, difference = best[0], best[1]["paired_difference"]
    surely = "is better" if difference["ci95"][1] < 0 else "may be better"
    yield (
        f"{name} {surely}: this encoder differs by {points(difference)} points. {_way_out(report)}"
    )


def _way_out(report: Report) -> str:
    recipe = report["finetuning"]
    cut, rows = recipe.get("truncated_texts") or 0, report["task"]["splits"]["train"]["rows"]
    if cut > _MUCH_IS_CUT * rows:
        return (
            f"{percent(cut / rows)} % of the training texts are cut: a larger max_length below "
            "the task's finetuning reads more of them."
        )
    return "A longer budget of pretraining, a wider encoder or more num_train_epochs may help."


def _pretraining_without_gain(report: Report) -> Iterator[str]:
    difference = report["paired_difference"]
    if difference and difference["ci95"][0] <= 0:
        yield (
            f"What pretraining brings, {points(difference)} points, cannot be told from nothing "
            f"on {report['examples']:,} {kind_report(report['task']).row_name}: give it a longer "
            "budget or text that is nearer to the task's, and compare over more seeds."
        )


def _not_recognised(report: Report) -> Iterator[str]:
    by_class = report.get("classification_report", {}).get("per_class", {})
    missing = [name for name, found in by_class.items() if found["support"] and not found["recall"]]
    if missing:
        more = f" and {len(missing) - _NAMES_SHOWN} more" if len(missing) > _NAMES_SHOWN else ""
        yield (
            f"No row is recognised of {', '.join(missing[:_NAMES_SHOWN])}{more}: "
            "class_weights: balanced below the task's finetuning, or more num_train_epochs, "
            "make rare classes count."
        )


def _one_document(report: Report) -> Iterator[str]:
    split = ((report["corpus"] or {}).get("splits") or {}).get("validation", {})
    if split.get("documents") == 1:
        yield (
            "The validation loss of pretraining is that of one document, so it tells of that text "
            "alone: raise the corpus's validation_fraction, or give it more documents."
        )
