"""The English that every Python carries: docstrings and the topics of `help()`.

Files are parsed, never imported, so nothing of the standard library runs.
"""

import ast
import re
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path

from cloze.corpus.documents import Document
from cloze.errors import ClozeError

_NOT_DOCUMENTATION = {"test", "tests", "idle_test", "site-packages", "dist-packages", "pydoc_data"}
_TOPICS = "pydoc_data/topics.py"
_WRAPPED_LINE_CHARACTERS = 50
_LIST_ITEM = re.compile(r"\s*([*-]|\d+\.|\S+ --)\s")
_PREFORMATTED = re.compile(r"\s*(>>>|\.\.\.|[-|+*#=~%$@])|.*::=")


def read_python_docs(library: Path | None = None) -> Iterator[Document]:
    """Yield a document per module of the standard library, then one per help topic.

    A module's text is its docstrings in source order (its own, its classes', its
    functions'), separated by blank lines; sentences that were wrapped at the margin are
    joined again. Modules come in order of path without test folders, topics in order of
    name; the text is empty where a module has no docstring. `library` defaults to the
    running Python's, so the corpus belongs to that version.

    Raises `ClozeError` if this Python comes without its library's source.
    """
    library = library or Path(sysconfig.get_path("stdlib"))
    topics = library / _TOPICS
    if not topics.is_file():
        raise ClozeError(
            f"{topics}: no such file; this Python comes without its library's source: "
            "run Cloze with a full installation of Python"
        )
    for path in sorted(library.rglob("*.py")):
        name = path.relative_to(library)
        if _NOT_DOCUMENTATION.isdisjoint(name.parts):
            docstrings = map(join_wrapped_lines, _docstrings(_parse(path)))
            yield Document(name.as_posix(), _module_name(name), "\n\n".join(docstrings))
    for topic, text in sorted(_topic_texts(topics).items()):
        yield Document(_TOPICS, topic, join_wrapped_lines(text.strip()))


def join_wrapped_lines(text: str) -> str:
    """Return `text` with one line a paragraph where lines were broken at the margin only.

    A line goes on from the one above if that one reaches at least 50 columns, both start
    in the same column (or this one hangs below a list item), and neither looks like code,
    a table, a grammar rule or a new list item.
    """
    joined: list[str] = []
    above = ""
    for line in text.split("\n"):
        if joined and _goes_on(above, line):
            joined[-1] += " " + line.strip()
        else:
            joined.append(line.rstrip())
        above = line.rstrip()
    return "\n".join(joined)


def _goes_on(above: str, line: str) -> bool:
    hanging = _column(line) - _column(above)
    is_item = _LIST_ITEM.match(above) is not None
    return (
        len(above) >= _WRAPPED_LINE_CHARACTERS
        and bool(line.strip())
        and (0 < hanging <= 8 if is_item else hanging == 0)
        and (is_item or not _PREFORMATTED.match(above))
        and not _PREFORMATTED.match(line)
        and not _LIST_ITEM.match(line)
    )


def _column(line: str) -> int:
    return len(line) - len(line.lstrip())


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _parse(path: Path) -> ast.Module:
    try:
        # tokenize.open honours the coding line that a few old modules have.
        with tokenize.open(path) as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            return ast.parse(stream.read())
    except (SyntaxError, ValueError) as error:
        raise ClozeError(f"{path}: cannot be parsed ({error}); reinstall this Python") from error


def _docstrings(node: ast.AST) -> Iterator[str]:
    """Yield the docstrings in and below `node` in source order."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, documented) and (docstring := ast.get_docstring(node)):
        yield docstring
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _docstrings(child)


def _topic_texts(path: Path) -> dict[str, str]:
    for node in _parse(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "topics":
            return dict(ast.literal_eval(node.value))
    raise ClozeError(f"{path}: assigns no dictionary to 'topics'; reinstall this Python")
