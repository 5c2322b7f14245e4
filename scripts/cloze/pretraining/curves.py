"""Training curves as SVG, the same bytes for the same numbers."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib.figure import Figure

from cloze.files import atomic_path

_INK, _TRAIN, _VALIDATION, _FLOOR = "#444444", "#9ecae1", "#08519c", "#d94801"


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as SVG without dates or random ids, atomically."""
    with (
        atomic_path(path) as temporary,
        matplotlib.rc_context({"svg.hashsalt": "cloze", "svg.fonttype": "path"}),
    ):
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


def draw_loss_curve(records: list[dict[str, Any]], floor: float, path: Path) -> None:
    """Draw training and validation loss by step, with the unigram floor, into an SVG file.

    `records` are the lines of `metrics.jsonl`; `floor` is in nats a token.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    training = [(r["step"], r["loss"]) for r in records if "loss" in r]
    validation = [(r["step"], r["validation_loss"]) for r in records if "validation_loss" in r]
    axes.plot(*zip(*training, strict=True), color=_TRAIN, linewidth=1, label="training")
    axes.plot(
        *zip(*validation, strict=True), color=_VALIDATION, marker="o", markersize=3.5,
        label=f"validation, last {validation[-1][1]:.3f}",
    )  # fmt: skip
    axes.axhline(
        floor, color=_FLOOR, linestyle="--", linewidth=1, label=f"unigram floor {floor:.3f}"
    )
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("masked-token loss (nats)")
    axes.set_title("Masked-language-model pretraining", color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#eeeeee")
    axes.legend(frameon=False)
    save_svg(figure, path)
