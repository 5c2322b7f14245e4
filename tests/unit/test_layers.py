"""Imports of the library point one way: a package knows nothing of those above it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cloze

LIBRARY = Path(cloze.__file__).parent
# From the top down. What lies beside them is shared by all.
LAYERS = (
    *("show", "use", "train", "objectives", "tasks", "model", "tokens", "corpus"),
    *("settings", "fetch", "sample"),
)


def imported_packages(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "cloze" and len(parts) > 1:
                yield parts[1]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_package_imports_nothing_from_above(layer):
    above = set(LAYERS[: LAYERS.index(layer)])
    for path in sorted((LIBRARY / layer).rglob("*.py")):
        assert not above & set(imported_packages(path)), path


def test_every_package_has_its_layer():
    packages = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    assert packages == set(LAYERS)
