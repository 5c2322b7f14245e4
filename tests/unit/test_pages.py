"""Pages from templates: what is filled in is text."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from cloze import pages
from cloze.files import resource
from cloze.show.figures import for_a_page

TABLE = '{% import "show/parts.html" as parts %}{{ parts.table(("", text), [(text, text)]) }}'


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Return a function that renders a template's text."""
    parts = resource("show/parts.html").read_text(encoding="utf-8")
    (tmp_path / "show").mkdir()
    (tmp_path / "show" / "parts.html").write_text(parts, encoding="utf-8")
    monkeypatch.setattr(pages, "_ROOT", tmp_path)
    pages._environment.cache_clear()

    def fill(template: str, **values: object) -> str:
        (tmp_path / "page.html").write_text(template, encoding="utf-8")
        return pages.render(tmp_path / "page.html", **values)

    yield fill
    pages._environment.cache_clear()


@pytest.mark.parametrize("template", ["<p>{{ text }}</p>", '<p title="{{ text }}">', TABLE])
def test_a_value_is_text_wherever_it_stands(fill, template: str) -> None:
    page = fill(template, text="<b> \"&' {{ 1 + 1 }} \x07 \u202e \x85")
    assert "&lt;b&gt; &#34;&amp;&#39; {{ 1 + 1 }} \ufffd \ufffd \ufffd" in page
    assert "<b>" not in page


def test_a_figure_is_markup(fill) -> None:
    svg = for_a_page("<svg viewBox='0'></svg>", "title")
    assert "<title>title</title></svg>" in fill("{{ svg }}", svg=svg)


def test_a_value_that_nobody_gave_is_an_error(fill) -> None:
    with pytest.raises(UndefinedError, match="'absent' is undefined"):
        fill("{{ absent }}")
