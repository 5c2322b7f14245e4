"""Figures of a corpus as SVG."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, NullLocator, PercentFormatter

from cloze.show.themed_svg import FIRST, SECOND, drawing

FIGURES = {
    "document_lengths": "Documents by length, in tokens",
    "sample_lengths": "Sentences and samples by length, in tokens",
    "row_fill": "Rows by how full they are",
    "token_frequencies": "Tokens by frequency",
}
_SIZE = (4.4, 2.7)
_TICKS = 8


def draw_figures(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return name to SVG of each of `FIGURES`; the same facts give the same text.

    `facts` is what `cloze.show.corpus_page.describe` returns.
    """
    draw = {
        "document_lengths": _draw_documents,
        "sample_lengths": _draw_samples,
        "row_fill": _draw_fill,
        "token_frequencies": _draw_frequencies,
    }
    return {name: drawing(partial(draw[name], facts=facts), _SIZE) for name in FIGURES}


def _draw_documents(axes: Axes, facts: Mapping[str, Any]) -> None:
    lengths = facts["lengths"]["document"]
    axes.stairs(lengths["counts"], lengths["edges"], fill=True, color=FIRST)
    axes.set_xscale("log")
    low, high = lengths["edges"][0], lengths["edges"][-1]
    axes.set_xlim(low, high)
    axes.set_xticks(_round_numbers(low, high), minor=False)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("tokens in a document")
    axes.set_ylabel("documents")
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))


def _round_numbers(low: int, high: int) -> list[int]:
    """Return numbers for a logarithmic axis: as many as it has room for."""
    for steps in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,)):
        numbers = [step * 10**power for power in range(len(str(high))) for step in steps]
        shown = [int(number) for number in numbers if low <= number <= high and number % 1 == 0]
        if len(shown) <= _TICKS:
            break
    return shown


def _draw_samples(axes: Axes, facts: Mapping[str, Any]) -> None:
    for name, colour, label in (
        ("sentence", SECOND, "sentences"),
        ("sample", FIRST, "samples"),
    ):
        lengths = facts["lengths"][name]
        if total := sum(lengths["counts"]):
            shares = [count / total for count in lengths["counts"]]
            axes.stairs(shares, lengths["edges"], color=colour, linewidth=1.6, label=label)
    axes.set_xlabel("tokens")
    axes.set_ylabel("share")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylim(bottom=0)
    axes.legend()


def _draw_fill(axes: Axes, facts: Mapping[str, Any]) -> None:
    lengths = facts["lengths"]["row"]
    full = facts["row_length"]
    edges = [100 * (edge - 1) / full for edge in lengths["edges"]]
    total = max(sum(lengths["counts"]), 1)
    shares = [count / total for count in lengths["counts"]]
    axes.stairs(shares, edges, fill=True, color=FIRST)
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"fill, % of {full} tokens")
    axes.set_ylabel("share of the rows")
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _draw_frequencies(axes: Axes, facts: Mapping[str, Any]) -> None:
    points = facts["vocabulary"]["frequency_by_rank"]
    axes.loglog(*zip(*points, strict=True), color=FIRST, linewidth=1.6)
    axes.set_xlabel("rank of the token")
    axes.set_ylabel("occurrences")
