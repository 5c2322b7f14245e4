"""HTML pages from Jinja2 templates, in which every value is text unless the template says else."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

# What HTML and SVG may not hold, and marks that would turn the text after them around.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_ROOT = Path(__file__).parent


def render(template: Path, **values: Any) -> str:
    """Return a page from a template below the library's folder, given as `resource("…")`.

    Templates name each other from that folder: `{% include "show/page.css" %}`. A value that
    a template uses and nobody gave raises `jinja2.UndefinedError`.
    """
    name = template.relative_to(_ROOT).as_posix()
    return _environment().get_template(name).render(values)


def visible(text: str) -> str:
    """Return a text in which what cannot be seen is shown as U+FFFD."""
    return _UNSEEN.sub("\ufffd", text)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_ROOT),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = "{:,}".format
    return environment


def _finalized(value: Any) -> Any:
    """What bears `__html__` is markup that a template or a figure made."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
