"""Drawings of a report's page: seeds, checkpoints, curves, predicted against true scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cloze.show.themed_svg import FIRST, SECOND, drawing

_WIDE, _SQUARE = (4.6, 2.6), (4.0, 3.6)


def _times_100(value: float, _: float) -> str:
    return f"{100 * value:.4g}"


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


def loss_figure(records: Sequence[Mapping[str, Any]], floor: float | None) -> str:
    """Draw the lines of `metrics.jsonl`: training and validation loss, and the unigram floor."""

    def series(key: str) -> tuple[list[float], list[float]]:
        found = [record for record in records if key in record]
        return [record["step"] for record in found], [record[key] for record in found]

    def draw(axes: Axes) -> None:
        axes.plot(*series("loss"), color=FIRST, linewidth=0.8, alpha=0.5, label="training")
        axes.plot(
            *series("validation_loss"), color=FIRST, marker="o", markersize=3, label="validation"
        )
        if floor is not None:
            axes.axhline(
                floor, color=SECOND, linestyle="--", linewidth=1, label="word frequencies alone"
            )
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("masked-token loss (nats)")
        axes.legend()

    return drawing(draw, _WIDE)


def scatter_figure(points: Sequence[Sequence[float]]) -> str:
    """Draw [true score, predicted score] pairs with the line on which both are the same."""

    def draw(axes: Axes) -> None:
        true, predicted = zip(*points, strict=True)
        axes.axline((min(true), min(true)), slope=1, color=SECOND, linewidth=1)
        axes.scatter(true, predicted, s=8, color=FIRST, alpha=0.45, linewidths=0)
        axes.set_xlabel("true score")
        axes.set_ylabel("predicted, mean over seeds")

    return drawing(draw, _SQUARE)
