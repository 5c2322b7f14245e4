"""The generated schema against the checks that it describes, and against the YAML files."""

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import make_schema
from cloze.errors import ClozeError
from cloze.settings.checking import check
from cloze.settings.config import load_config, plain
from cloze.settings.schema import schema_text

ROOT = Path(__file__).parents[2]
DOCUMENT = yaml.safe_load(schema_text())
PRESETS = sorted((ROOT / "workflow" / "presets").glob("*.yaml"))


def test_schema_and_tables_are_up_to_date(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert make_schema.main(["--check"]) == 0
    stale = tmp_path / "config.schema.yaml"
    stale.write_text("title: Cloze\n")
    monkeypatch.setattr("make_schema._SCHEMA", stale)
    assert make_schema.main(["--check"]) == 1
    assert stale.read_text() == "title: Cloze\n"


def test_the_schema_is_json_schema_and_describes_every_key() -> None:
    jsonschema.Draft202012Validator.check_schema(DOCUMENT)
    for part in (DOCUMENT, *DOCUMENT["$defs"].values()):
        assert [key for key, about in part["properties"].items() if not about["description"]] == []


@pytest.mark.parametrize("preset", [None, *PRESETS], ids=lambda path: path.stem if path else "-")
def test_the_yaml_files_fit_the_schema(preset: Path | None) -> None:
    mine = {"format": "text", "files": ["texts"]}  # some presets leave the corpus to the user
    files = [ROOT / "config.yaml", *([preset] if preset else [])]
    config = load_config(files, {"corpora": {"mine": mine}})
    jsonschema.validate(config.values, DOCUMENT)
    assert list(config.reports)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key, child in value.items():
            yield from places(child, (*path, key))
    elif isinstance(value, list):
        for position, child in enumerate(value):
            yield from places(child, (*path, position))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    changed = copy.deepcopy(value)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = new
    return changed


def test_the_checks_refuse_and_accept_what_the_schema_does() -> None:
    complete = load_config([ROOT / "config.yaml"]).values
    validator = jsonschema.Draft202012Validator(DOCUMENT)
    # What is accepted must hold once it is coerced; what is refused must be refused there too.
    news = [-1, 0.5, 10**6, "zzz", {"zzz": 1}, [], False]
    rng = random.Random(0)
    refused = 0
    for path in rng.sample([path for path in places(complete) if path], 150):
        changed = put(complete, path, rng.choice(news))
        try:
            completed = plain(check(changed))
        except ClozeError:
            assert not validator.is_valid(changed), path
            refused += 1
        else:
            validator.validate(completed)
    assert refused > 50
