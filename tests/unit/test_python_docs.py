"""Docstrings and help topics come from parsed files, in order, with wrapped lines joined."""

from pathlib import Path
from pydoc_data.topics import topics

import pytest

from cloze.corpus.python_docs import join_wrapped_lines, read_python_docs
from cloze.errors import ClozeError

MODULE = '''"""The module."""
raise SystemExit("imported")
class A:
    """Class A."""
    def method(self):
        """Method."""
        def inner():
            "Inner."
    if True:
        async def other(self):
            """Other \\d."""
    text = """not a docstring"""
def last():
    """Last."""
'''


@pytest.fixture
def library(tmp_path: Path) -> Path:
    files = {
        "b/__init__.py": MODULE,
        "b/sub.py": "x = 1\n",
        "a.py": "# -*- coding: latin-1 -*-\n'''Caf\xe9.'''\n",
        "test/test_a.py": '"""A test."""',
        "b/tests/x.py": '"""A test."""',
        "site-packages/other.py": '"""Not the library."""',
        "pydoc_data/topics.py": "topics = {'with': 'With.\\n', 'assert': 'As'\n 'sert.'}\n",
    }
    for name, source in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.encode("latin-1"))
    return tmp_path


def test_documents_of_a_library(library: Path) -> None:
    documents = list(read_python_docs(library))

    assert [(item.source, item.title, item.text) for item in documents] == [
        ("a.py", "a", "Café."),
        (
            "b/__init__.py",
            "b",
            "The module.\n\nClass A.\n\nMethod.\n\nInner.\n\nOther \\d.\n\nLast.",
        ),
        ("b/sub.py", "b.sub", ""),
        ("pydoc_data/topics.py", "assert", "Assert."),
        ("pydoc_data/topics.py", "with", "With."),
    ]


def test_a_python_without_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClozeError, match=r"topics\.py: no such file; .*full installation"):
        list(read_python_docs(tmp_path))


def test_a_damaged_module_is_named(library: Path) -> None:
    (library / "a.py").write_text("def (")

    with pytest.raises(ClozeError, match=r"a\.py: cannot be parsed"):
        list(read_python_docs(library))


LONG = "Words that fill this line almost up to its very margin,"


@pytest.mark.parametrize(
    ("above", "below", "goes_on"),
    [
        (LONG, "and go on.", True),
        (f"    {LONG}", "    and go on.", True),
        (f"- {LONG}", "  and go on.", True),
        (f"12. {LONG}", "    and go on.", True),
        (f"name -- {LONG}", "    and go on.", True),
        ("A short line.", "Another.", False),
        (LONG, "    indented code", False),
        (f"- {LONG}", "- next item", False),
        (f"- {LONG}", "back at the margin", False),
        (f">>> {LONG}", "result", False),
        (f"rule ::= {LONG}", "rule ::= more", False),
        (LONG, "", False),
        (LONG, "=====", False),
    ],
)
def test_lines_wrapped_at_the_margin_are_joined(above: str, below: str, goes_on: bool) -> None:
    joined = f"{above} {below.strip()}" if goes_on else f"{above}\n{below}"

    assert join_wrapped_lines(f"{above}\n{below}") == joined


@pytest.mark.parametrize("topic", ["assert", "with", "typesmapping"])
def test_joining_loses_no_word(topic: str) -> None:
    joined = join_wrapped_lines(topics[topic])

    assert joined.split() == topics[topic].split()
    assert joined.count("\n") < topics[topic].count("\n")
