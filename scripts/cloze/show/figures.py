"""Figures of runs and reports as SVG: the same bytes for the same numbers.

A figure is drawn once, for a file of its own; `for_a_page` gives it the colours of a page.
"""

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cloze.pages import visible
from cloze.show.text_layout import mean_count

INK, FIRST, SECOND = "#333333", "#2a6fb0", "#d9822b"
_RATE, _MASKING, _PAPER = "#238b45", "#807dba", "#ffffff"
_OF_A_PAGE = {INK: "currentColor", FIRST: "var(--first)", SECOND: "var(--second)"}
_STYLE: Any = {
    "svg.hashsalt": "cloze", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
    "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 0.6, "legend.frameon": False, "legend.labelcolor": INK,
    # Labels are users' words: a dollar sign in one begins no formula.
    "text.parse_math": False,
}  # fmt: skip
_WIDE, _SQUARE = (4.6, 2.6), (4.2, 3.8)
_INCHES_PER_LABEL = 0.9
_HEADROOM = 1.25

Record = Mapping[str, Any]


def drawing(
    draw: Callable[..., None], size: tuple[float, float], heights: Sequence[float] = (1,)
) -> str:
    """Return SVG of what `draw` draws on axes of these relative heights; `size` in inches."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Text stays text, and whoever shows the figure has the fonts for its script.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)
        draw(*axes[:, 0])
        stream = io.StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=metadata, transparent=True)
    return visible(stream.getvalue())


def for_a_file(svg: str) -> str:
    """Return a figure for a file of its own, on white."""
    paper = f'<rect width="100%" height="100%" fill="{_PAPER}"/>\n <defs>'
    return svg.replace("<defs>", paper, 1)


def for_a_page(svg: str, title: str) -> Markup:
    """Return a figure to stand in HTML, in the page's colours, named for screen readers."""
    drawn = svg[svg.index("<svg") :]
    # Every figure numbers its groups from 1, but an id may stand only once in a page.
    drawn = re.sub(r'<g id="[^"]*"', "<g", drawn)
    drawn = re.sub(r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 role="img">', drawn)
    drawn = drawn.replace(">", f"><title>{escape(title)}</title>", 1)
    for colour, of_a_page in _OF_A_PAGE.items():
        drawn = drawn.replace(colour, of_a_page)
    return Markup(drawn)


def loss_curve(records: Sequence[Record], floor: float | None) -> str:
    """Draw a run by step: losses beside the unigram floor (nats), and below them the schedules.

    `records` are the lines of `metrics.jsonl`.
    """

    def draw(losses: Axes, schedules: Axes) -> None:
        draw_losses(losses, records, floor)
        draw_schedules(schedules, records)

    return drawing(draw, (5.4, 4.6), heights=(5, 2))


def draw_losses(axes: Axes, records: Sequence[Record], floor: float | None) -> None:
    """Draw training and validation losses by step."""
    both = any("validation_next_sentence_loss" in record for record in records)
    training = "training, with next-sentence loss" if both else "training"
    axes.plot(*_series(records, "loss"), color=FIRST, linewidth=0.8, alpha=0.5, label=training)
    steps, losses = _series(records, "validation_loss")
    last = f", last {losses[-1]:.3f}{_accuracy(records)}" if losses else ""
    axes.plot(steps, losses, color=FIRST, marker="o", markersize=3, label=f"validation{last}")
    if floor is not None:
        floor_label = f"unigram floor {floor:.3f}"
        axes.axhline(floor, color=SECOND, linestyle="--", linewidth=1, label=floor_label)
    axes.set_ylabel("masked-token loss (nats)")
    # Above the lines: wherever it stood among them, it would hide one.
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def draw_schedules(axes: Axes, records: Sequence[Record]) -> None:
    """Draw learning rate and masking rate by step, where the records have them."""
    axes.set_xlabel("optimizer step")
    steps, rates = _series(records, "learning_rate")
    if not rates:
        return
    axes.plot(steps, rates, color=_RATE, linewidth=1.5)
    axes.set_ylim(0, _HEADROOM * max(rates))
    # The exponent in the label instead of an offset that floats above the axis.
    exponent = math.floor(math.log10(max(rates)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value / 10**exponent:g}")
    axes.set_ylabel(f"learning rate\n(1e{exponent})", color=_RATE)
    steps, shares = _series(records, "mlm_probability")
    if shares:
        masking = axes.twinx()
        percents = [100 * share for share in shares]
        masking.plot(
            steps, percents, color=_MASKING, linewidth=1.5, linestyle=":", drawstyle="steps-post"
        )
        masking.set_ylim(0, _HEADROOM * max(percents))
        masking.set_ylabel("masked (%)", color=_MASKING)


def positions_figure(bins: Sequence[Record]) -> str:
    """Draw the masked-LM loss by position, as `long_texts.loss_by_position` returns it."""
    drawn = [part for part in bins if part["loss"] is not None]

    def draw(axes: Axes) -> None:
        middles = [(part["first"] + part["last"]) / 2 for part in drawn]
        errors = [part["standard_error"] or 0.0 for part in drawn]
        losses = [part["loss"] for part in drawn]
        axes.errorbar(
            middles, losses, yerr=errors, color=FIRST, marker="o", markersize=4, capsize=3
        )
        axes.set_xlim(0, bins[-1]["last"] + 1)
        axes.set_xlabel("position in a sample (tokens)")
        axes.set_ylabel("masked-token loss (nats)")

    return drawing(draw, _WIDE)


def _series(records: Sequence[Record], key: str) -> tuple[list[float], list[float]]:
    found = [record for record in records if key in record]
    return [record["step"] for record in found], [record[key] for record in found]


def _accuracy(records: Sequence[Record]) -> str:
    _, accuracies = _series(records, "validation_accuracy")
    return f" ({100 * accuracies[-1]:.1f} % right)" if accuracies else ""


def scatter_figure(points: Sequence[Sequence[float]]) -> str:
    """Draw [true score, predicted score] pairs with the line on which both are the same."""

    def draw(axes: Axes) -> None:
        true, predicted = zip(*points, strict=True)
        axes.axline((min(true), min(true)), slope=1, color=SECOND, linewidth=1)
        axes.scatter(true, predicted, s=8, color=FIRST, alpha=0.45, linewidths=0)
        axes.set_xlabel("true score")
        axes.set_ylabel("predicted, mean over seeds")

    return drawing(draw, _SQUARE)


def cosines_figure(points: Sequence[Sequence[float]]) -> str:
    """Draw [score, cosine] pairs; the two have scales of their own."""

    def draw(axes: Axes) -> None:
        scores, cosines = zip(*points, strict=True)
        axes.scatter(scores, cosines, s=8, color=FIRST, alpha=0.45, linewidths=0)
        axes.set_xlabel("score")
        axes.set_ylabel("cosine, mean over seeds")

    return drawing(draw, _SQUARE)


def confusion_figure(matrix: Sequence[Sequence[float]], labels: Sequence[str]) -> str:
    """Draw counts [num_labels, num_labels], rows true, columns predicted.

    A cell is shaded by its share of its row, so small classes can be read too.
    """
    counts = np.asarray(matrix, dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def draw(axes: Axes) -> None:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            text = f"{mean_count(matrix[row][column])}\n{share:.0%}"
            colour = _PAPER if share > 0.6 else INK
            axes.text(column, row, text, ha="center", va="center", color=colour)
        axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.spines[["top", "right"]].set_visible(True)

    side = 2.2 + _INCHES_PER_LABEL * len(labels)
    return drawing(draw, (side, side))


def bars_figure(shares: Mapping[str, float], measure: str) -> str:
    """Draw a bar for each name, from 0 to 1, the first on top."""
    names, values = list(shares), list(shares.values())

    def draw(axes: Axes) -> None:
        axes.barh(range(len(names)), values, color=FIRST, height=0.7)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.set_xlabel(measure)

    return drawing(draw, (4.6, 0.8 + 0.24 * len(names)))


def seeds_figure(report: Mapping[str, Any]) -> str:
    """Draw each seed as a dot, with mean and 95 % interval, beside those without pretraining."""
    groups = [("this encoder", report["score"], FIRST)]
    for key, name in (("no_pretraining", "no pretraining"), ("ceiling", "ceiling")):
        if key in report["baselines"]:
            groups.append((name, report["baselines"][key]["score"], SECOND))

    def draw(axes: Axes) -> None:
        for place, (_, score, colour) in enumerate(groups):
            values = list(score["per_seed"].values())
            axes.scatter(
                values, [place] * len(values), color=colour, alpha=0.45, s=28, linewidths=0
            )
            axes.scatter([score["mean"]], [place], color=colour, marker="|", s=320, linewidths=2)
            if score["ci95"] is not None:
                axes.hlines(place, *score["ci95"], color=colour, linewidth=1.2)
        axes.set_yticks(range(len(groups)), [name for name, _, _ in groups])
        axes.set_ylim(len(groups) - 0.4, -0.6)
        axes.xaxis.set_major_formatter(_times_100)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel("score, times 100")

    return drawing(draw, (4.6, 0.9 + 0.45 * len(groups)))


def checkpoints_figure(report: Mapping[str, Any]) -> str:
    """Draw the score by the share of the pretraining budget, with that of no pretraining."""
    points = report["checkpoints"]

    def draw(axes: Axes) -> None:
        shares = [point["percent"] for point in points]
        means = [point["score"]["mean"] for point in points]
        spread = [point["score"]["std"] or 0.0 for point in points]
        axes.errorbar(shares, means, yerr=spread, color=FIRST, marker="o", markersize=4, capsize=3)
        if "no_pretraining" in report["baselines"]:
            floor = report["baselines"]["no_pretraining"]["score"]["mean"]
            axes.axhline(floor, color=SECOND, linestyle="--", linewidth=1, label="no pretraining")
            axes.legend()
        axes.set_xlim(0, 105)
        axes.set_xlabel("share of the pretraining budget (%)")
        axes.yaxis.set_major_formatter(_times_100)
        axes.set_ylabel("score, times 100")

    return drawing(draw, _WIDE)


def _times_100(value: float, _: float) -> str:
    return f"{100 * value:.4g}"
