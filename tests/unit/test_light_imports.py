"""Scripts load no large library that they have no use for: it takes seconds of every start."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.parametrize(
    ("script", "heavy"),
    [
        ("compare", ("torch", "sklearn", "matplotlib")),
        ("report", ("torch", "sklearn")),
        ("prepare_task", ("torch", "sklearn", "scipy")),
        ("find_contamination", ("torch", "sklearn", "scipy")),
        ("predict", ("torch._dynamo", "sklearn", "scipy", "matplotlib")),
        ("serve", ("torch._dynamo", "sklearn", "scipy", "matplotlib")),
        ("pretrain", ("torch._dynamo", "sklearn", "matplotlib", "jinja2", "tabulate")),
        ("evaluate", ("torch._dynamo", "matplotlib", "jinja2", "tabulate")),
    ],
)
def test_a_script_starts_without(script: str, heavy: tuple[str, ...]) -> None:
    program = f"import sys, {script}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=SCRIPTS, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
