"""Figures of the report, as SVG: the same bytes for the same numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cloze.show.curves import save_svg
from cloze.show.text_layout import mean_count

_INK, _PAPER = "#222222", "#ffffff"
_INCHES_PER_LABEL = 0.9


def draw_main_figure(report: Mapping[str, Any], path: Path) -> None:
    """Draw a report's confusion matrix or, of a task of scores, predictions by true score."""
    if report["task"]["is_regression"]:
        draw_scatter(report["scatter"], path)
    else:
        draw_confusion_matrix(report["confusion_matrix"], report["task"]["labels"], path)


def draw_scatter(points: Sequence[Sequence[float]], path: Path) -> None:
    """Draw [true score, predicted score] pairs, with the line on which both are the same."""
    true, predicted = np.asarray(points, dtype=float).T
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.axline((true.min(), true.min()), slope=1, color="#aaaaaa", linewidth=1)
    axes.scatter(true, predicted, s=9, color="#2a6fb0", alpha=0.5, linewidths=0)
    axes.set_xlabel("true score")
    axes.set_ylabel("predicted score, mean over seeds")
    axes.spines[["top", "right"]].set_visible(False)
    save_svg(figure, path)


def draw_confusion_matrix(
    matrix: Sequence[Sequence[float]], labels: Sequence[str], path: Path
) -> None:
    """Draw counts [num_labels, num_labels] (rows true, columns predicted) into an SVG file.

    A cell is shaded by its share of its row, so small classes can be read too.
    """
    counts = np.asarray(matrix, dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.2 + _INCHES_PER_LABEL * len(labels)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(
            column,
            row,
            f"{mean_count(matrix[row][column])}\n{share:.0%}",
            ha="center",
            va="center",
            color=_PAPER if share > 0.6 else _INK,
        )
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    save_svg(figure, path)
