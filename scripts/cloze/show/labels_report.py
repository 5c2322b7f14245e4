"""What a report tells of classes and of scores."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from cloze.files import resource
from cloze.pages import render
from cloze.show.figures import bars_figure, confusion_figure, for_a_page, scatter_figure
from cloze.show.kind_report import MOST_MISTAKES, KindReport, Report, Section, Table, type_table
from cloze.show.text_layout import WIDTH, mean_count, percent, table
from cloze.tasks.evaluations import Evaluations
from cloze.tasks.scores import MATRIX_LABELS
from cloze.tasks.task import Task

_POINTS = 1_000
_CONFUSIONS = 20
_LABEL_WIDTH = 14
_MISTAKE_LINES = 4


class _LabelsReport(KindReport):
    """What both have in common."""

    _regression = ""

    def baseline_notes(self, report: Report) -> Iterator[str]:
        """Say how the linear model was tuned."""
        tfidf = report["baselines"]["tfidf_logistic_regression"]
        hold_out = tfidf["hold_out"]
        yield (
            f"The {self._regression} regression (C {tfidf['C']:g}, {tfidf['num_features']:,} words "
            f"and word pairs) was tuned on {hold_out['rows_held_out']:,} rows of the training "
            f"split; {hold_out['rows_removed']:,} rows that stand inside one of them were left out "
            "for that."
        )


class ClassesReport(_LabelsReport):
    """Precision and recall by class, the confusion matrix and the most confident mistakes."""

    _regression = "logistic"
    baseline_names: ClassVar = {
        "tfidf_logistic_regression": "TF-IDF + logistic regression",
        "majority": "majority class",
    }

    def details(self, evaluations: Evaluations, task: Task) -> dict[str, Any]:
        """Return `classification_report`, `confusion_matrix` or `confusions`, and `mistakes`."""
        return {
            "classification_report": _classification_report(evaluations, task.labels),
            **_confusions(evaluations, task.labels),
            "mistakes": _most_confidently_wrong(evaluations, task.labels),
        }

    def sections(self, report: Report) -> Iterator[Section]:
        """Yield the table of classes, the confusion matrix and the mistakes."""
        yield "BY CLASS, mean over seeds", table(*class_table(report))
        if "confusion_matrix" in report:
            heading = "CONFUSION MATRIX, mean over seeds (rows: true, columns: predicted)"
            yield heading, _confusion(report)
        else:
            yield "MOST FREQUENT CONFUSIONS, mean over seeds", table(*confusion_table(report))
        yield "MOST CONFIDENT MISTAKES, probabilities averaged over seeds", _mistakes(report)

    def page(self, report: Report) -> str:
        """Return the same as tables and bars."""
        return render(
            resource("show/classes_report.html"),
            report=report,
            class_table=class_table(report),
            confusions=None if "confusion_matrix" in report else confusion_table(report),
            headings=_headings(report),
            percent=percent,
            mean_count=mean_count,
        )

    def figure(self, report: Report) -> str:
        """Return the confusion matrix, of too many classes for one F1 of the most frequent."""
        if "confusion_matrix" in report:
            return confusion_figure(report["confusion_matrix"], report["task"]["labels"])
        by_class = report["classification_report"]["per_class"].items()
        largest = sorted(by_class, key=lambda item: -item[1]["support"])[:MATRIX_LABELS]
        return bars_figure({name: part["f1"] for name, part in largest}, "F1")

    def split_counts(self, split: Report) -> str:
        """Say how many rows there are of each class."""
        return ", ".join(f"{count:,} {label}" for label, count in split["rows_by_label"].items())


class ScoresReport(_LabelsReport):
    """Predicted by true scores, and those the furthest off."""

    _regression = "ridge"
    baseline_names: ClassVar = {
        "tfidf_logistic_regression": "TF-IDF + ridge regression",
        "majority": "mean of the training scores",
    }

    def details(self, evaluations: Evaluations, task: Task) -> dict[str, Any]:
        """Return `scatter` and `mistakes`."""
        return {"scatter": _scatter(evaluations), "mistakes": _furthest_off(evaluations)}

    def sections(self, report: Report) -> Iterator[Section]:
        """Yield the mistakes."""
        yield "FURTHEST OFF, predictions averaged over seeds", _mistakes(report)

    def page(self, report: Report) -> str:
        """Return the figure, the measures and the mistakes."""
        return render(
            resource("show/scores_report.html"),
            report=report,
            scatter=for_a_page(scatter_figure(report["scatter"]), "Predicted by true score"),
            headings=_headings(report),
        )

    def figure(self, report: Report) -> str:
        """Return predictions by true score."""
        return scatter_figure(report["scatter"])

    def split_counts(self, split: Report) -> str:
        """Say range and mean of the scores."""
        scores = split["scores"]
        return f"scores {scores['min']:g} to {scores['max']:g}, mean {scores['mean']:.3f}"


def _headings(report: Report) -> list[str]:
    seeds = len(report["score"]["per_seed"])
    return [mistake_heading(mistake, seeds) for mistake in report["mistakes"]]


def _classification_report(evaluations: Evaluations, labels: list[str]) -> dict[str, Any]:
    """Return precision, recall and F1 of each class, averaged over the seeds, with support."""

    def mean(*keys: str) -> float:
        return evaluations.summary(*keys).mean

    support = evaluations.seeds[0].metrics["per_class"]
    per_class = {
        label: {
            **{name: mean("per_class", label, name) for name in ("precision", "recall", "f1")},
            "support": support[label]["support"],
        }
        for label in labels
    }
    averages = {name: mean(name) for name in ("macro_f1", "weighted_f1")}
    return {"per_class": per_class, **averages}


def _most_confidently_wrong(evaluations: Evaluations, labels: list[str]) -> list[dict[str, Any]]:
    probabilities = evaluations.mean_probabilities
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != evaluations.labels)
    confidence = probabilities[wrong, predicted[wrong]]
    worst = wrong[np.lexsort((wrong, -confidence))][:MOST_MISTAKES]
    seeds_wrong = (~evaluations.correct).sum(axis=0)
    return [
        {
            **_texts(evaluations, row),
            "label": labels[evaluations.labels[row]],
            "prediction": labels[predicted[row]],
            "probability": float(probabilities[row, predicted[row]]),
            "seeds_wrong": int(seeds_wrong[row]),
        }
        for row in worst
    ]


def _furthest_off(evaluations: Evaluations) -> list[dict[str, Any]]:
    predicted = evaluations.predictions.mean(axis=0)
    errors = np.abs(predicted - evaluations.labels)
    worst = np.lexsort((np.arange(len(errors)), -errors))[:MOST_MISTAKES]
    return [
        {
            **_texts(evaluations, row),
            "label": float(evaluations.labels[row]),
            "prediction": float(predicted[row]),
        }
        for row in worst
    ]


def _texts(evaluations: Evaluations, row: int) -> dict[str, Any]:
    found = {"row": int(row), "text": evaluations.texts[row]}
    pairs = evaluations.seeds[0].predictions.pairs
    return found if pairs is None else {**found, "text_pair": pairs[row]}


def _scatter(evaluations: Evaluations) -> list[list[float]]:
    """Return [true score, mean predicted score] of at most 1,000 rows, evenly spread."""
    predicted = evaluations.predictions.mean(axis=0)
    rows = np.linspace(0, len(predicted) - 1, min(_POINTS, len(predicted))).astype(int)
    pairs = np.stack([evaluations.labels[rows], predicted[rows]], axis=1)
    return [[float(true), float(found)] for true, found in pairs.round(4)]


def _confusions(evaluations: Evaluations, labels: list[str]) -> dict[str, Any]:
    """Return `confusion_matrix`, counts averaged over the seeds, whose rows are true labels.

    Of more classes than `MATRIX_LABELS`: `confusions`, the most frequent pairs alone.
    """
    if len(labels) <= MATRIX_LABELS:
        matrices = [seed.metrics["confusion_matrix"] for seed in evaluations.seeds]
        return {"confusion_matrix": np.mean(matrices, axis=0).tolist()}
    predictions = evaluations.predictions
    true = np.broadcast_to(evaluations.labels, predictions.shape)
    wrong = true != predictions
    both = np.stack([true[wrong], predictions[wrong]])
    pairs, counts = np.unique(both, axis=1, return_counts=True)
    order = np.lexsort((pairs[1], pairs[0], -counts))[:_CONFUSIONS]
    return {
        "confusions": [
            {
                "label": labels[pairs[0, place]],
                "prediction": labels[pairs[1, place]],
                "rows": float(counts[place] / len(predictions)),
            }
            for place in order
        ]
    }


def confusion_table(report: Report) -> Table:
    """Return header and rows: the most frequent pairs of true and predicted classes."""
    rows = [
        [found["label"], found["prediction"], mean_count(found["rows"])]
        for found in report["confusions"]
    ]
    return ["true", "predicted", "rows"], rows


def class_table(report: Report) -> Table:
    """Return header and rows: precision, recall, F1 and support of each class, and averages."""
    scores, total = report["classification_report"], f"{report['examples']:,}"
    header, rows = type_table(scores["per_class"])
    rows += [
        [f"{kind} average", "", "", percent(scores[f"{kind}_f1"]), total]
        for kind in ("macro", "weighted")
    ]
    return header, rows


def _confusion(report: Mapping[str, Any]) -> list[str]:
    labels = [textwrap.shorten(label, _LABEL_WIDTH) for label in report["task"]["labels"]]
    rows = [
        (label, *map(mean_count, counts))
        for label, counts in zip(labels, report["confusion_matrix"], strict=True)
    ]
    return table(("", *labels), rows)


def mistake_heading(mistake: Mapping[str, Any], seeds: int) -> str:
    """Return what was said of a row, and what it is."""
    if "probability" not in mistake:
        return f"{mistake['label']:g}, predicted {mistake['prediction']:.2f}"
    return (
        f"{mistake['label']}, taken for {mistake['prediction']} with "
        f"{percent(mistake['probability'])} % ({mistake['seeds_wrong']} of {seeds} seeds wrong)"
    )


def _mistakes(report: Mapping[str, Any]) -> Iterator[str]:
    seeds = len(report["score"]["per_seed"])
    if not report["mistakes"]:
        yield "  none"
    indent = " " * 6
    for mistake in report["mistakes"]:
        yield f"  {mistake_heading(mistake, seeds)}"
        for text in (mistake["text"], mistake.get("text_pair", "")):
            yield from textwrap.wrap(
                text, WIDTH, initial_indent=indent, subsequent_indent=indent,
                max_lines=_MISTAKE_LINES, placeholder=" …",
            )  # fmt: skip
