"""What a report tells of one kind of task besides its scores.

A kind is a class in a module of `cloze.show`, entered in `show.kind_reports`: what it adds to the
report's data, how that reads as text and on the page, its baselines and its main figure.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from cloze.show.text_layout import percent
from cloze.tasks.evaluations import Evaluations
from cloze.tasks.task import Task

Report = Mapping[str, Any]
Section = tuple[str, Iterable[str]]
Table = tuple[list[str], list[list[str]]]

MOST_MISTAKES = 10


class KindReport(ABC):
    """What is told of one kind of task."""

    row_name: ClassVar[str] = "rows"
    """What is drawn again for intervals, in the plural."""
    baseline_names: ClassVar[Mapping[str, str]] = {}
    """Baselines by their keys, in the order in which they are shown."""

    use: ClassVar[str] = "classify"
    """What `predict.py` does with such a model."""

    @abstractmethod
    def details(self, evaluations: Evaluations, task: Task) -> dict[str, Any]:
        """Return what the report's data holds of this kind alone, `mistakes` among it."""

    @abstractmethod
    def sections(self, report: Report) -> Iterator[Section]:
        """Yield headings and lines of the text."""

    @abstractmethod
    def page(self, report: Report) -> str:
        """Return the part of the page that shows the details."""

    @abstractmethod
    def figure(self, report: Report) -> str:
        """Return the main figure as SVG."""

    @abstractmethod
    def split_counts(self, split: Report) -> str:
        """Say what a split holds, from its facts in `task.json`."""

    def baseline_notes(self, report: Report) -> Iterator[str]:
        """Yield how the baselines were made, a paragraph each."""
        yield from ()


def type_scores(
    evaluations: Evaluations, key: str, types: Sequence[str] | None = None
) -> dict[str, dict[str, float]]:
    """Return precision, recall and F1 of each type averaged over the seeds, with its support.

    key: where `metrics.json` holds them by type; a type that a seed does not know counts 0 there.
    types: in this order; None: all, sorted.
    """
    found = [seed.metrics[key] for seed in evaluations.seeds]
    types = types or sorted({name for seed in found for name in seed})
    return {
        name: {
            **{
                measure: float(np.mean([seed.get(name, {}).get(measure, 0.0) for seed in found]))
                for measure in ("precision", "recall", "f1")
            },
            "support": max(seed.get(name, {}).get("support", 0) for seed in found),
        }
        for name in types
    }


def type_table(scores: Mapping[str, Mapping[str, float]], name: str = "") -> Table:
    """Return header and rows: precision, recall, F1 and support of each type."""
    rows = [
        [
            label,
            *(percent(part[key]) for key in ("precision", "recall", "f1")),
            f"{part['support']:,}",
        ]
        for label, part in scores.items()
    ]
    return [name, "precision", "recall", "F1", "support"], rows
