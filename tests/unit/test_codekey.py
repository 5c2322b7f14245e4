"""The code part of a key: what changes a digest, and which files a script's closure holds."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloze.settings import code_key as kept_module
from cloze.settings.code_key import code_key, digest_source
from cloze.settings.tasks import FINETUNING_OBJECTIVES, module_of

SCRIPTS = Path(__file__).parents[2] / "scripts"
SOURCE = '''"""Says what the module does."""

import math


def area(radius: float) -> float:
    """Return the area."""
    if radius < 0:
        raise ValueError(f"radius {radius!r} is negative")
    return math.pi * radius**2
'''


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""Says what the module does."""', '"""Says something else, and more of it."""'),
        ('"""Says what the module does."""\n', ""),
        ('    """Return the area."""\n', ""),
        ('    """Return the area."""', '    """Return\n    the area.\n    """'),
        ("import math\n", "import math  # for pi\n"),
        ("    if radius", "    # a comment\n\n    if radius"),
        ("math.pi * radius**2", "math.pi*radius ** 2"),
        ("math.pi * radius**2\n", "math.pi * radius**2\n\n\n# the end\n"),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(before: str, after: str) -> None:
    edited = SOURCE.replace(before, after, 1)
    assert edited != SOURCE
    assert digest_source(edited) == digest_source(SOURCE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("radius**2", "radius**3"),
        ("radius < 0", "radius <= 0"),
        ("is negative", "is below zero"),
        ("{radius!r}", "{radius}"),
        ("    return math.pi", "        return math.pi"),
        ("import math", "import  cmath as math"),
        ("    if radius", '    "a string that is no docstring"\n    if radius'),
    ],
)
def test_anything_that_python_reads_counts(before: str, after: str) -> None:
    edited = SOURCE.replace(before, after, 1)
    assert edited != SOURCE
    assert digest_source(edited) != digest_source(SOURCE)


def test_a_docstring_after_letters_of_several_bytes_is_found() -> None:
    one_line = 'class Ä: "Über"; größe = 1\n'
    assert digest_source(one_line) == digest_source(one_line.replace("Über", "Unter"))
    assert digest_source(one_line) != digest_source(one_line.replace("= 1", "= 2"))


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    library = tmp_path / "cloze"
    library.mkdir()
    files = {
        "step.py": "import sys\nimport numpy\nfrom cloze.a import f\n",
        "other.py": "from cloze import d\n",
        "cloze/__init__.py": "",
        "cloze/a.py": "def f():\n    from cloze.b import g\n    return g()\n",
        "cloze/b.py": "import cloze.a\nfrom cloze.files import resource\nresource('page.html')\n",
        "cloze/c.py": "",
        "cloze/d.py": "",
        "cloze/files.py": "def resource(name): ...\n",
        "cloze/page.html": '{% extends "base.html" %}<p>{%- include "style.css" -%}',
        "cloze/base.html": '{% import "parts.html" as parts %}',
        "cloze/parts.html": "",
        "cloze/style.css": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def modules(key: list[str]) -> list[str]:
    return [entry.partition("@")[0] for entry in key]


def test_a_closure_holds_what_is_reached_by_imports_and_resources(scripts: Path) -> None:
    assert modules(code_key(scripts / "step.py")) == [
        "cloze/__init__.py",
        "cloze/a.py",
        "cloze/b.py",
        "cloze/base.html",
        "cloze/files.py",
        "cloze/page.html",
        "cloze/parts.html",
        "cloze/style.css",
        "step.py",
    ]
    assert modules(code_key(scripts / "other.py")) == [
        "cloze/__init__.py",
        "cloze/d.py",
        "other.py",
    ]


@pytest.mark.parametrize("name", ["cloze/b.py", "cloze/page.html", "cloze/style.css"])
def test_an_edit_changes_only_its_own_entry(scripts: Path, name: str) -> None:
    before, unrelated = code_key(scripts / "step.py"), code_key(scripts / "other.py")
    with open(scripts / name, "a") as stream:
        stream.write("changed = 1\n")
    after = code_key(scripts / "step.py")
    changed = [entry for entry in before if entry not in after]
    assert modules(changed) == [name]
    assert code_key(scripts / "other.py") == unrelated


def objectives(script: str, *more: str) -> set[str]:
    reached = modules(code_key(SCRIPTS / script, more))
    return {Path(name).stem for name in reached if name.startswith("cloze/objectives/")}


def test_pretraining_is_keyed_by_its_objectives_alone() -> None:
    assert {"mlm", "next_sentence"} <= objectives("pretrain.py")
    assert not {"sequence", "classification", "regression"} & objectives("pretrain.py")


@pytest.mark.parametrize(
    ("name", "other"), [("classification", "regression"), ("regression", "classification")]
)
def test_fine_tuning_is_keyed_by_the_objective_of_its_task(name: str, other: str) -> None:
    found = objectives("finetune.py", module_of(FINETUNING_OBJECTIVES[name]))
    assert {"sequence", name} <= found
    assert not {other, "mlm", "next_sentence"} & found


@pytest.mark.parametrize("script", ["pretrain.py", "finetune.py"])
def test_what_is_only_shown_is_no_part_of_a_training_key(script: str) -> None:
    reached = modules(code_key(SCRIPTS / script))
    assert not [name for name in reached if name.startswith("cloze/show/")]
    assert any(name.startswith("cloze/train/") for name in reached)


def test_what_shows_has_what_it_shows_with_in_its_key() -> None:
    report = modules(code_key(SCRIPTS / "report.py"))
    assert {"cloze/show/report_page.html", "cloze/show/page.css", "cloze/show/parts.html"} <= {
        *report
    }
    shown = modules(code_key(SCRIPTS / "show_pretraining.py"))
    assert {"cloze/show/doctor.py", "cloze/show/masked_examples.html"} <= {*shown}


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_no_script_depends_on_the_workflow(script: str) -> None:
    reached = code_key(SCRIPTS / script)
    sources = [
        (SCRIPTS / name).read_text("utf-8") for name in modules(reached) if name.endswith(".py")
    ]
    assert not any("import snakemake" in source for source in sources)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, which this process has not looked at yet."""

    def forget() -> None:
        for function in (kept_module._cache_file, kept_module._kept, kept_module._read):
            function.cache_clear()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache" / "cloze"
    forget()


def test_what_was_read_before_is_not_read_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = code_key(SCRIPTS / "report.py")
    (file,) = cache.iterdir()
    kept_module._kept.cache_clear()
    kept_module._read.cache_clear()
    monkeypatch.setattr(kept_module, "_module", None)
    assert code_key(SCRIPTS / "report.py") == expected
    assert file.stat().st_size > 1000


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 1}', '{"a": []}'])
def test_a_cache_that_cannot_be_read_or_written_costs_time_alone(cache: Path, content: str) -> None:
    expected = code_key(SCRIPTS / "download.py")
    (file,) = cache.iterdir()
    file.write_text(content)
    kept_module._kept.cache_clear()
    kept_module._read.cache_clear()
    assert code_key(SCRIPTS / "download.py") == expected
    shutil.rmtree(cache)
    cache.write_text("a file where the folder should be")
    kept_module._kept.cache_clear()
    kept_module._read.cache_clear()
    assert code_key(SCRIPTS / "download.py") == expected
