"""Training curves as SVG, the same bytes for the same numbers."""

import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloze.files import atomic_path

_INK, _TRAIN, _VALIDATION, _FLOOR = "#444444", "#9ecae1", "#08519c", "#d94801"
_RATE, _MASKING = "#238b45", "#807dba"
_HEADROOM = 1.25


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as SVG without dates or random ids, atomically."""
    with (
        atomic_path(path) as temporary,
        matplotlib.rc_context({"svg.hashsalt": "cloze", "svg.fonttype": "path"}),
    ):
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


def draw_loss_curve(records: list[dict[str, Any]], floor: float, path: Path) -> None:
    """Draw a run by step into an SVG file: losses with the unigram floor, and the schedules.

    `records` are the lines of `metrics.jsonl`; `floor` is in nats a token. The lower panel
    shows learning rate and masking rate, where the records have them.
    """
    save_svg(loss_figure(records, floor), path)


def loss_figure(records: list[dict[str, Any]], floor: float) -> Figure:
    """Return the figure that `draw_loss_curve` writes."""
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    losses, schedules = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_losses(losses, records, floor)
    _draw_schedules(schedules, records)
    for axes in (losses, schedules):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#eeeeee")
    schedules.set_xlabel("optimizer step")
    return figure


def _series(records: list[dict[str, Any]], key: str) -> tuple[list[int], list[float]]:
    found = [record for record in records if key in record]
    return [record["step"] for record in found], [record[key] for record in found]


def _draw_losses(axes: Axes, records: list[dict[str, Any]], floor: float) -> None:
    both = any("validation_next_sentence_loss" in record for record in records)
    training = "training, with next-sentence loss" if both else "training"
    axes.plot(*_series(records, "loss"), color=_TRAIN, linewidth=1, label=training)
    steps, losses = _series(records, "validation_loss")
    axes.plot(
        steps, losses, color=_VALIDATION, marker="o", markersize=3.5,
        label=f"validation, last {losses[-1]:.3f}{_accuracy(records)}",
    )  # fmt: skip
    axes.axhline(
        floor, color=_FLOOR, linestyle="--", linewidth=1, label=f"unigram floor {floor:.3f}"
    )
    axes.set_ylabel("masked-token loss (nats)")
    axes.set_title("Masked-language-model pretraining", color=_INK)
    axes.legend(frameon=False)


def _accuracy(records: list[dict[str, Any]]) -> str:
    _, accuracies = _series(records, "validation_accuracy")
    return f" ({100 * accuracies[-1]:.1f} % right)" if accuracies else ""


def _draw_schedules(axes: Axes, records: list[dict[str, Any]]) -> None:
    steps, rates = _series(records, "learning_rate")
    if not rates:
        return
    axes.plot(steps, rates, color=_RATE, linewidth=1.5)
    axes.set_ylim(0, _HEADROOM * max(rates))
    # `1e-3 ×` in the label instead of an offset that floats above the axis.
    exponent = math.floor(math.log10(max(rates)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value / 10**exponent:g}")
    axes.set_ylabel(f"learning rate\n(1e{exponent})", color=_RATE)
    steps, shares = _series(records, "mlm_probability")
    if not shares:
        return
    masking = axes.twinx()
    masking.plot(
        steps, [100 * share for share in shares], color=_MASKING, linewidth=1.5,
        linestyle=":", drawstyle="steps-post",
    )  # fmt: skip
    masking.set_ylim(0, _HEADROOM * 100 * max(shares))
    masking.set_ylabel("masked (%)", color=_MASKING)
    masking.spines["top"].set_visible(False)
