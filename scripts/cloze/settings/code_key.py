"""The code part of a stage's key: a digest per module that a script imports.

A digest covers a module's tokens without comments, docstrings and layout, so an
edited comment changes nothing while an edited expression names its module. Tokens,
not syntax trees: the dump of a tree differs between Python versions.
"""

import ast
import functools
import hashlib
import io
import re
import token
import tokenize
from collections.abc import Iterable
from pathlib import Path

# What these scripts only show decides no weight, so `cloze/show/` is no part of their keys.
_TRAINING = frozenset({"pretrain.py", "finetune.py"})
_TEMPLATE = re.compile(r"\{%-?\s*(?:extends|import|include)\s+\"([^\"]+)\"")
_LAYOUT = {token.ENCODING, token.COMMENT, token.NL, token.ENDMARKER}
_FSTRING_START = getattr(token, "FSTRING_START", None)
_FSTRING_END = getattr(token, "FSTRING_END", None)


def code_key(script: Path, modules: Iterable[str] = ()) -> list[str]:
    """Return `path@digest` of every module in the import closure of `script`, sorted.

    Paths are relative to the folder of the script and digests are 8 hexadecimal
    digits. `modules`, by their dotted names, are those that it imports by name at run time.
    Data files that a module names with `cloze.files.resource("…")` belong to the closure too,
    with the templates that they name in turn. The closure of a script that trains ends at
    `cloze/show/`.
    """
    root = script.parent
    return sorted(
        f"{path.relative_to(root).as_posix()}@{_digest(path, path.stat().st_mtime_ns)}"
        for path in _closure(script, modules)
    )


def digest_source(source: str) -> str:
    """Return 8 hexadecimal digits that depend on the meaning-bearing tokens of `source`."""
    docstrings = _docstring_starts(source)
    hasher = hashlib.sha256()
    after_docstring = False
    for kind, text, start in _merged_tokens(source):
        # A docstring's own line end goes with it, so that adding one changes nothing either.
        is_docstring = start in docstrings
        skipped = kind in _LAYOUT or is_docstring or (after_docstring and kind == token.NEWLINE)
        after_docstring = is_docstring or (after_docstring and kind in _LAYOUT)
        if skipped:
            continue
        if kind in (token.NEWLINE, token.INDENT, token.DEDENT):
            text = token.tok_name[kind]
        hasher.update(text.encode() + b"\0")
    return hasher.hexdigest()[:8]


def _merged_tokens(source: str) -> list[tuple[int, str, tuple[int, int]]]:
    """Tokens of `source`, with an f-string as one token on every Python version."""
    lines = source.splitlines(keepends=True)
    merged: list[tuple[int, str, tuple[int, int]]] = []
    depth, opened = 0, (0, 0)
    for item in tokenize.generate_tokens(io.StringIO(source).readline):
        if item.type == _FSTRING_START:
            opened = item.start if depth == 0 else opened
            depth += 1
        elif item.type == _FSTRING_END:
            depth -= 1
            if depth == 0:
                merged.append((token.STRING, _slice(lines, opened, item.end), opened))
        elif depth == 0:
            merged.append((item.type, item.string, item.start))
    return merged


def _slice(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    first, last = lines[start[0] - 1][start[1] :], lines[end[0] - 1][: end[1]]
    return first + "".join(lines[start[0] : end[0] - 1]) + last


def _docstring_starts(source: str) -> set[tuple[int, int]]:
    """Positions of docstrings as (line, column in characters)."""
    lines = source.splitlines()
    starts = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.body and isinstance(node.body[0], ast.Expr):
            value = node.body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                # ast counts bytes, tokenize counts characters.
                prefix = lines[value.lineno - 1].encode()[: value.col_offset]
                starts.add((value.lineno, len(prefix.decode())))
    return starts


@functools.cache
def _digest(path: Path, mtime_ns: int) -> str:
    if path.suffix == ".py":
        return digest_source(path.read_text(encoding="utf-8"))
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def _closure(script: Path, modules: Iterable[str]) -> set[Path]:
    shown = script.parent / "cloze" / "show" if script.name in _TRAINING else None
    reached: set[Path] = set()
    pending = [script, *(file for name in modules for file in _module_files(script.parent, name))]
    while pending:
        path = pending.pop()
        if path in reached or shown in path.parents:
            continue
        reached.add(path)
        pending.extend(_neighbours(path, script.parent, path.stat().st_mtime_ns))
    return reached


@functools.cache
def _neighbours(path: Path, root: Path, mtime_ns: int) -> tuple[Path, ...]:
    """Files under `root` that one module imports or names as a resource, or a template names."""
    found: list[Path] = []
    if path.suffix != ".py":
        named = _TEMPLATE.findall(path.read_text(encoding="utf-8"))
        return tuple(root / "cloze" / name for name in named)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found += _module_files(root, alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found += _module_files(root, node.module)
            for alias in node.names:
                found += _module_files(root, f"{node.module}.{alias.name}")
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", None) == "resource"
            and isinstance(node.args[0], ast.Constant)
        ):
            found.append(root / "cloze" / str(node.args[0].value))
    return tuple(found)


def _module_files(root: Path, name: str) -> list[Path]:
    """The files that importing `name` runs, packages included, if they lie under `root`."""
    parts = name.split(".")
    packages = [root.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts) + 1)]
    candidates = [*packages, root.joinpath(*parts).with_suffix(".py")]
    return [path for path in candidates if path.is_file()]
