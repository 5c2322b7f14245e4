"""The reader of the schema against JSON Schema itself, on what both accept and refuse."""

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cloze.errors import ClozeError
from cloze.settings.resolved import SCHEMA, load_config
from cloze.settings.schema import SchemaReader

ROOT = Path(__file__).parents[2]
DOCUMENT = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
UNDERSTOOD = {
    *("$defs", "$ref", "$schema", "additionalProperties", "anyOf", "const", "default"),
    *("description", "enum", "exclusiveMinimum", "items", "maximum", "minimum", "minItems"),
    *("not", "oneOf", "pattern", "properties", "propertyNames", "required", "title", "type"),
    "uniqueItems",
}


def keywords(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from keywords(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            yield key
            if key in ("properties", "$defs"):
                for child in value.values():
                    yield from keywords(child)
            elif key != "default":
                yield from keywords(value)


def test_the_schema_uses_only_what_its_reader_understands() -> None:
    assert set(keywords(DOCUMENT)) <= UNDERSTOOD


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


def test_it_refuses_and_accepts_what_json_schema_does() -> None:
    reader = SchemaReader(DOCUMENT)
    complete = load_config([ROOT / "config.yaml"]).values
    validator = jsonschema.Draft202012Validator(DOCUMENT)
    # What is accepted must hold once it is coerced; what is refused must be refused there too.
    news = [-1, 0.5, 10**6, "zzz", {"zzz": 1}, [], False]
    rng = random.Random(0)
    refused = 0
    for path in rng.sample([path for path in places(complete) if path], 150):
        changed = put(complete, path, rng.choice(news))
        try:
            completed = reader.complete(changed)
        except ClozeError:
            assert not validator.is_valid(changed), path
            refused += 1
        else:
            validator.validate(completed)
    assert refused > 50


def test_a_reference_may_be_extended_beside_it() -> None:
    schema = {
        "type": "object",
        "properties": {"size": {"$ref": "#/$defs/count", "default": 3}},
        "$defs": {"count": {"type": "integer", "minimum": 1}},
    }
    assert SchemaReader(schema).complete({}) == {"size": 3}
    with pytest.raises(ClozeError, match="config: size: 0 is too small"):
        SchemaReader(schema).complete({"size": 0})
