"""Drawings as SVG that take their colours from a file of their own or from the page around them."""

import io
import re
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours that nothing else has, to be replaced by those of a file or of a page.
INK, FIRST, SECOND = "#010203", "#040506", "#070809"
_OF_A_FILE = {INK: "#333333", FIRST: "#2a6fb0", SECOND: "#d9822b"}
_OF_A_PAGE = {INK: "currentColor", FIRST: "var(--first)", SECOND: "var(--second)"}
_STYLE: Any = {
    "svg.hashsalt": "cloze", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
    "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 0.6, "legend.frameon": False, "legend.labelcolor": INK,
}  # fmt: skip


def drawing(draw: Callable[[Axes], None], size: tuple[float, float]) -> str:
    """Return what `draw` draws, in inches, with placeholders for INK, FIRST and SECOND."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        stream = io.StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=metadata, transparent=True)
    return stream.getvalue()


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
