"""Figures of a corpus as SVG: coloured for a file of its own, or by the page they stand in."""

import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator, PercentFormatter

FIGURES = {
    "document_lengths": "Documents by length, in tokens",
    "sample_lengths": "Sentences and samples by length, in tokens",
    "row_fill": "Rows by how full they are",
    "token_frequencies": "Tokens by frequency",
}
# Colours that nothing else has, to be replaced by those of a file or of a page.
_INK, _FIRST, _SECOND = "#010203", "#040506", "#070809"
_OF_A_FILE = {_INK: "#333333", _FIRST: "#2a6fb0", _SECOND: "#d9822b"}
_OF_A_PAGE = {_INK: "currentColor", _FIRST: "var(--first)", _SECOND: "var(--second)"}
_SIZE = (4.4, 2.7)
_TICKS = 8
_STYLE: Any = {
    "svg.hashsalt": "cloze", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
    "text.color": _INK, "axes.edgecolor": _INK, "axes.labelcolor": _INK, "xtick.color": _INK,
    "ytick.color": _INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 0.6, "legend.frameon": False, "legend.labelcolor": _INK,
}  # fmt: skip


def draw_figures(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return name to SVG of each of `FIGURES`; the same facts give the same text.

    `facts` is what `cloze.report.corpus_page.describe` returns.
    """
    draw = {
        "document_lengths": _draw_documents,
        "sample_lengths": _draw_samples,
        "row_fill": _draw_fill,
        "token_frequencies": _draw_frequencies,
    }
    drawn = {}
    for name in FIGURES:
        with mpl.rc_context(_STYLE):
            figure = Figure(figsize=_SIZE, layout="constrained")
            draw[name](figure.add_subplot(), facts)
            stream = io.StringIO()
            metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            figure.savefig(stream, format="svg", metadata=metadata, transparent=True)
        drawn[name] = stream.getvalue()
    return drawn


def for_a_file(svg: str) -> str:
    """Return a figure for a file of its own, on white."""
    return _coloured(svg, _OF_A_FILE).replace("<defs>", '<rect width="100%" height="100%" '
                                              'fill="#ffffff"/>\n <defs>', 1)  # fmt: skip


def for_a_page(svg: str, title: str) -> str:
    """Return a figure to stand in HTML, in the page's colours, named for screen readers."""
    drawing = svg[svg.index("<svg") :]
    # Every figure numbers its groups from 1, but an id may stand only once in a page.
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)
    drawing = re.sub(r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 role="img">', drawing)
    drawing = drawing.replace(">", f"><title>{title}</title>", 1)
    return _coloured(drawing, _OF_A_PAGE)


def _coloured(svg: str, colours: Mapping[str, str]) -> str:
    for placeholder, colour in colours.items():
        svg = svg.replace(placeholder, colour)
    return svg


def _draw_documents(axes: Axes, facts: Mapping[str, Any]) -> None:
    lengths = facts["lengths"]["document"]
    axes.stairs(lengths["counts"], lengths["edges"], fill=True, color=_FIRST)
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
        ("sentence", _SECOND, "sentences"),
        ("sample", _FIRST, "samples"),
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
    axes.stairs(shares, edges, fill=True, color=_FIRST)
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"fill, % of {full} tokens")
    axes.set_ylabel("share of the rows")
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _draw_frequencies(axes: Axes, facts: Mapping[str, Any]) -> None:
    points = facts["vocabulary"]["frequency_by_rank"]
    axes.loglog(*zip(*points, strict=True), color=_FIRST, linewidth=1.6)
    axes.set_xlabel("rank of the token")
    axes.set_ylabel("occurrences")
