"""What the pages share: a stylesheet, tables, tiles, and text that cannot become markup."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cloze.files import resource

_FILLER = re.compile(r"\{\{(\w+)\}\}")
# What HTML may not hold, and marks that would turn the text after them around.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def fill(template: Path, parts: Mapping[str, str]) -> str:
    """Return a template with `{{name}}` replaced, `{{style}}` by the stylesheet of all pages."""
    style = resource("show/page.css").read_text(encoding="utf-8")
    known = {"style": style, **parts}
    # In one pass: what is filled in may hold braces of its own.
    return _FILLER.sub(lambda match: known[match[1]], template.read_text(encoding="utf-8"))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of plain texts in a box that scrolls by itself."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{escape(c)}</td>' for c in row[1:])}</tr>"
        for row in rows
    )
    return f'<div class="table"><table><tr>{head}</tr>{body}</table></div>'


def tile(name: str, value: str, about: str) -> str:
    """Return one entry of the page's `<dl>`, from HTML."""
    return f"<div><dt>{name}</dt><dd>{value}<small>{about}</small></dd></div>"


def join(parts: Iterable[str]) -> str:
    """Return the parts, a line each."""
    return "\n".join(parts)


def escape(text: str) -> str:
    """Return text as HTML; what cannot be seen is shown as U+FFFD."""
    return html.escape(_UNSEEN.sub("\ufffd", text), quote=True)
