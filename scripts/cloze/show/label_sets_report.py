"""What a report tells of several labels at once: each label, and the rows that are furthest off."""

import textwrap
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from cloze.files import resource
from cloze.pages import render
from cloze.show.figures import bars_figure
from cloze.show.kind_report import (
    MOST_MISTAKES,
    KindReport,
    Report,
    Section,
    type_scores,
    type_table,
)
from cloze.show.text_layout import WIDTH, percent, table
from cloze.tasks.evaluations import Evaluations
from cloze.tasks.task import Task

_BARS = 30
_MISTAKE_LINES = 4


class LabelSetsReport(KindReport):
    """Precision, recall and F1 of each label, and the rows with the most wrong labels."""

    baseline_names: ClassVar = {
        "tfidf_logistic_regression": "TF-IDF + logistic regressions",
        "majority": "most frequent labels",
    }

    def details(self, evaluations: Evaluations, task: Task) -> dict[str, Any]:
        """Return `types` and `mistakes`; of these the labels that were missed and wrongly given."""
        return {
            "types": type_scores(evaluations, "per_type", task.labels),
            "mistakes": _mistakes(evaluations, task),
        }

    def sections(self, report: Report) -> Iterator[Section]:
        """Yield the table of labels and the mistakes."""
        yield "BY LABEL, mean over seeds", table(*type_table(report["types"]))
        yield "ROWS WITH THE MOST WRONG LABELS, first seed", _lines(report)

    def page(self, report: Report) -> str:
        """Return the same as bars, a table and articles."""
        return render(
            resource("show/label_sets_report.html"),
            report=report,
            type_table=type_table(report["types"]),
            percent=percent,
        )

    def figure(self, report: Report) -> str:
        """Return F1 by label, of the most frequent ones."""
        largest = sorted(report["types"].items(), key=lambda item: -item[1]["support"])[:_BARS]
        return bars_figure({name: part["f1"] for name, part in largest}, "F1")

    def split_counts(self, split: Report) -> str:
        """Say how many rows have each label."""
        counts = ", ".join(f"{count:,} {name}" for name, count in split["rows_by_label"].items())
        return f"{counts}; {split['rows_without_label']:,} without any"


def _mistakes(evaluations: Evaluations, task: Task) -> list[dict[str, Any]]:
    predictions = evaluations.seeds[0].predictions
    sides = [predictions.table[name].to_pylist() for name in ("label", "prediction")]
    true, found = ([set(row) for row in side] for side in sides)
    wrong = np.array([len(one ^ other) for one, other in zip(true, found, strict=True)])
    worst = np.lexsort((np.arange(len(wrong)), -wrong))[:MOST_MISTAKES]

    def names(indices: set[int]) -> list[str]:
        return [task.labels[index] for index in sorted(indices)]

    return [
        {
            "row": int(row),
            "text": predictions.texts[row],
            **({} if predictions.pairs is None else {"text_pair": predictions.pairs[row]}),
            "right": names(true[row] & found[row]),
            "missed": names(true[row] - found[row]),
            "wrongly": names(found[row] - true[row]),
        }
        for row in worst
        if wrong[row]
    ]


def _lines(report: Report) -> Iterator[str]:
    if not report["mistakes"]:
        yield "  none"
    for mistake in report["mistakes"]:
        yield "  " + "; ".join(
            f"{name}: {', '.join(mistake[key]) or 'none'}"
            for key, name in (("missed", "missed"), ("wrongly", "wrongly given"))
        )
        for text in (mistake["text"], mistake.get("text_pair", "")):
            yield from textwrap.wrap(
                text, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6,
                max_lines=_MISTAKE_LINES, placeholder=" …",
            )  # fmt: skip
