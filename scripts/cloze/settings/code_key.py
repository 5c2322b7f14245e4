"""The code part of a stage's key: a digest per module that a script imports.

A digest covers a module's tokens without comments, docstrings and layout, so an
edited comment changes nothing while an edited expression names its module. Tokens,
not syntax trees: the dump of a tree differs between Python versions.

Reading the tokens of all modules takes seconds, in every plan: what was found in a file of these
bytes is kept in the user's cache folder.
"""

import ast
import functools
import hashlib
import io
import json
import os
import re
import token
import tokenize
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cloze.errors import ClozeError
from cloze.files import write_text

# What these scripts only show decides no weight, so `cloze/show/` is no part of their keys.
_TRAINING = frozenset({"pretrain.py", "finetune.py"})
_TEMPLATE = re.compile(r"\{%-?\s*(?:extends|import|include)\s+\"([^\"]+)\"")
_LAYOUT = {token.ENCODING, token.COMMENT, token.NL, token.ENDMARKER}
_FSTRING_START = getattr(token, "FSTRING_START", None)
_FSTRING_END = getattr(token, "FSTRING_END", None)
# Some hundred are of one checkout.
_MOST_KEPT = 4_000


class _File(NamedTuple):
    """What counts of a file: its digest, and what it names: modules, and files below cloze/."""

    digest: str
    modules: list[str]
    resources: list[str]


def code_key(script: Path, modules: Iterable[str] = ()) -> list[str]:
    """Return `path@digest` of every module in the import closure of `script`, sorted.

    Paths are relative to the folder of the script and digests are 8 hexadecimal
    digits. `modules`, by their dotted names, are those that it imports by name at run time.
    Data files that a module names with `cloze.files.resource("…")` belong to the closure too,
    with the templates that they name in turn. The closure of a script that trains ends at
    `cloze/show/`.
    """
    root, kept = script.parent, _kept()
    before = len(kept)
    found = sorted(
        f"{path.relative_to(root).as_posix()}@{_read(path, path.stat().st_mtime_ns).digest}"
        for path in _closure(script, modules)
    )
    if len(kept) > before:
        _keep(kept)
    return found


@functools.cache
def _cache_file() -> Path:
    """Return where files that were read are kept; another version of this module has its own."""
    folder = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    return Path(folder) / "cloze" / f"code-{version}.json"


@functools.cache
def _kept() -> dict[str, _File]:
    """Return files that were read before by the SHA-256 of their bytes."""
    try:
        content = json.loads(_cache_file().read_text(encoding="utf-8"))
        return {key: _File(*value) for key, value in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(kept: dict[str, _File]) -> None:
    latest = dict(list(kept.items())[-_MOST_KEPT:])
    try:
        write_text(_cache_file(), json.dumps(latest))
    except (OSError, ClozeError):
        # A folder that cannot be written costs the time that it would have saved, no more.
        return


def digest_source(source: str) -> str:
    """Return 8 hexadecimal digits that depend on the meaning-bearing tokens of `source`."""
    return _digest_tokens(source, ast.parse(source))


def _digest_tokens(source: str, tree: ast.Module) -> str:
    docstrings = _docstring_starts(source, tree)
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


def _docstring_starts(source: str, tree: ast.Module) -> set[tuple[int, int]]:
    """Positions of docstrings as (line, column in characters)."""
    lines = source.splitlines()
    starts = set()
    for node in ast.walk(tree):
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
def _read(path: Path, mtime_ns: int) -> _File:
    data, kept = path.read_bytes(), _kept()
    # Templates and modules may hold the same bytes, and are read in different ways.
    key = f"{path.suffix} {hashlib.sha256(data).hexdigest()}"
    if key not in kept:
        kept[key] = _module(data.decode()) if path.suffix == ".py" else _data_file(data)
    return kept[key]


def _data_file(data: bytes) -> _File:
    named = _TEMPLATE.findall(data.decode(errors="replace"))
    return _File(hashlib.sha256(data).hexdigest()[:8], [], named)


def _module(source: str) -> _File:
    tree = ast.parse(source)
    modules, resources = list[str](), list[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            modules.append(node.module)
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", None) == "resource"
            and isinstance(node.args[0], ast.Constant)
        ):
            resources.append(str(node.args[0].value))
    return _File(_digest_tokens(source, tree), modules, resources)


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
    read = _read(path, mtime_ns)
    imported = [file for name in read.modules for file in _module_files(root, name)]
    return (*imported, *(root / "cloze" / name for name in read.resources))


@functools.cache
def _module_files(root: Path, name: str) -> tuple[Path, ...]:
    """The files that importing `name` runs, packages included, if they lie under `root`."""
    parts = name.split(".")
    packages = [root.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts) + 1)]
    candidates = [*packages, root.joinpath(*parts).with_suffix(".py")]
    return tuple(path for path in candidates if path.is_file())
