"""A table of results as text, Markdown, CSV and as a page that sorts itself."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cloze.errors import ClozeError
from cloze.files import resource, write_text
from cloze.show.comparison import Row, differing_columns
from cloze.show.html_parts import escape, fill, join
from cloze.show.text_layout import short_number


def write_table(rows: Sequence[Row], path: Path) -> None:
    """Write the rows in the form that the file's name asks for.

    Raises `ClozeError` if that is none of .html, .md, .csv and .txt.
    """
    render = _FORMATS.get(path.suffix.lower())
    if render is None:
        raise ClozeError(
            f"--output {path}: no such form; end the name in one of {', '.join(_FORMATS)}"
        )
    write_text(path, render(rows))


def render_table(rows: Sequence[Row]) -> str:
    """Return aligned text with only the columns that differ."""
    columns = differing_columns(rows)
    cells = [columns] + [[_shown(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    lines = []
    for line in cells:
        first = f"{line[0]:<{widths[0]}}"
        others = [f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True)]
        lines.append("  ".join([first, *others]).rstrip())
    return "\n".join(lines) + "\n"


def _as_markdown(rows: Sequence[Row]) -> str:
    columns = differing_columns(rows)
    lines = [columns, ["---", *("---:" for _ in columns[1:])]]
    lines += [[_shown(row.get(column)) for column in columns] for row in rows]
    return "".join(f"| {' | '.join(map(_markdown_cell, line))} |\n" for line in lines)


def _markdown_cell(text: str) -> str:
    return text.replace("|", r"\|")


def _as_csv(rows: Sequence[Row]) -> str:
    """Numbers whole, not as they are shown: this is for a program."""
    stream = io.StringIO()
    columns = differing_columns(rows)
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _as_html(rows: Sequence[Row]) -> str:
    columns = differing_columns(rows)
    head = "".join(
        f'<th scope="col" aria-sort="none"><button>{escape(name)}</button></th>' for name in columns
    )
    body = join(_line(row, columns) for row in rows)
    parts = {"head": head, "body": body, "number": f"{len(rows):,}"}
    return fill(resource("show/comparison_page.html"), parts)


def _line(row: Row, columns: Sequence[str]) -> str:
    cells = [_cell(row.get(column), place) for place, column in enumerate(columns)]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(value: Any, place: int) -> str:
    number = f' data-value="{value!r}"' if _is_number(value) else ""
    name = "th" if place == 0 else "td"
    return f"<{name}{number}>{escape(_shown(value))}</{name}>"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return short_number(value) if _is_number(value) else str(value)


_FORMATS: dict[str, Callable[[Sequence[Row]], str]] = {
    ".html": _as_html,
    ".md": _as_markdown,
    ".csv": _as_csv,
    ".txt": render_table,
}
