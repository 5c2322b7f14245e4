"""Figures of the report, as SVG: the same bytes for the same numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cloze.pretraining.curves import save_svg

_INK, _PAPER = "#222222", "#ffffff"
_INCHES_PER_LABEL = 0.9


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
            f"{counts[row, column]:.4g}\n{share:.0%}",
            ha="center",
            va="center",
            color=_PAPER if share > 0.6 else _INK,
        )
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    save_svg(figure, path)
