"""Schema, YAML and parsers say the same: names, types, bounds and defaults of every key."""

import argparse
import importlib
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cloze.cli import (
    non_negative_float,
    non_negative_int,
    percentage,
    positive_float,
    positive_int,
    probability,
)
from cloze.settings.resolved import NO_FLAGS, SCHEMA, load_config
from cloze.train.budget import duration

ROOT = Path(__file__).parents[2]
DOCUMENT = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
PRESETS = sorted((ROOT / "workflow" / "presets").glob("*.yaml"))
# Flags that no section holds: paths, what the workflow fills in, and what the machine decides.
WORKFLOW = {"help", "log", "output", "threads", "device", "precision", "compile", "wandb"}
# (section of the schema, script, flags of the script that the section does not hold)
SECTIONS = [
    (
        "corpus",
        "extract_documents",
        {"input", "train", "validation", "test", "from_parts", "decontaminate"},
    ),
    ("tokenizer", "train_tokenizer", {"documents", "vocab"}),
    ("segment_text", "segment_text", {"documents", "tokenizer", "shard"}),
    ("split_tokens", "split_tokens", {"documents", "tokenizer", "shard"}),
    ("architecture", "init_encoder", {"tokenizer"}),
    (
        ("architecture", "encoder"),
        "pretrain",
        {
            *("dataset", "tokenizer", "run_dir", "checkpoint_seconds"),
            *("gradient_accumulation_steps", "gradient_checkpointing", "publish_at"),
        },
    ),
    ("imported", "import_encoder", {"pretrained"}),
    ("task", "prepare_task", {"train", "validation", "test", "split", "name"}),
    ("finetuning", "finetune", {"model", "task", "run_dir", "from_scratch", "seed"}),
]
TABLES = {
    "corpus": "corpora",
    "tokenizer": "tokenizers",
    "segment_text": "datasets",
    "split_tokens": "datasets",
    "architecture": "architectures",
    "encoder": "encoders",
    "imported": "encoders",
    "task": "tasks",
}
BOUNDS: dict[Any, dict[str, Any]] = {
    positive_int: {"type": "integer", "minimum": 1},
    non_negative_int: {"type": "integer", "minimum": 0},
    positive_float: {"type": "number", "exclusiveMinimum": 0},
    non_negative_float: {"type": "number", "minimum": 0},
    probability: {"type": "number", "minimum": 0, "maximum": 1},
    percentage: {"type": "integer", "minimum": 1, "maximum": 99},
    duration: {"type": "string"},
    None: {"type": "string"},
    Path: {"type": "string"},
}
# Keys that are stricter than their flags: the library checks the rest.
STRICTER = {
    (script, key): bound
    for script in ("segment_text", "split_tokens")
    for key, bound in (("max_length", {"minimum": 8}), ("num_shards", {"maximum": 99999}))
}


@cache
def actions(script: str) -> dict[str, argparse.Action]:
    parser = importlib.import_module(script).build_parser()
    return {action.dest: action for action in parser._actions}


def definition(name: str) -> dict[str, Any]:
    return DOCUMENT["$defs"][name]


def properties(sections: str | tuple[str, ...]) -> dict[str, Any]:
    names = (sections,) if isinstance(sections, str) else sections
    return {
        key: {**definition(about["$ref"].split("/")[-1]), **about} if "$ref" in about else about
        for name in names
        for key, about in definition(name)["properties"].items()
        if key not in NO_FLAGS.get(TABLES.get(name, ""), set())
    }


@pytest.mark.parametrize(("sections", "script", "apart"), SECTIONS, ids=lambda value: str(value))
def test_a_section_holds_exactly_its_scripts_flags(
    sections: str | tuple[str, ...], script: str, apart: set[str]
) -> None:
    assert set(properties(sections)) == set(actions(script)) - WORKFLOW - apart


@pytest.mark.parametrize(
    ("script", "key", "about"),
    [
        pytest.param(script, key, about, id=f"{script}-{key}")
        for sections, script, _ in SECTIONS
        for key, about in properties(sections).items()
    ],
)
def test_a_key_is_its_flag(script: str, key: str, about: dict[str, Any]) -> None:
    action = actions(script)[key]
    required = any(key in definition(name).get("required", ()) for name in section_names(script))
    assert action.required == required
    assert about.get("default") == (None if action.default == [] else action.default)
    assert about["description"]
    assert (about["type"] == "array") == (action.nargs == "+")
    expected = expected_schema(action) | STRICTER.get((script, key), {})
    given = about["items"] if about["type"] == "array" else about
    for keyword in ("type", "minimum", "maximum", "exclusiveMinimum", "enum"):
        assert given.get(keyword) == expected.get(keyword), keyword


def section_names(script: str) -> tuple[str, ...]:
    (sections,) = [sections for sections, name, _ in SECTIONS if name == script]
    return (sections,) if isinstance(sections, str) else sections


def expected_schema(action: argparse.Action) -> dict[str, Any]:
    if isinstance(action.default, bool):
        return {"type": "boolean"}
    if action.choices is not None:
        return {"type": "string", "enum": list(action.choices)}
    return BOUNDS[action.type]


@pytest.mark.parametrize("preset", [None, *PRESETS], ids=lambda path: path.stem if path else "-")
def test_the_yaml_files_fit_the_schema(preset: Path | None) -> None:
    files = [ROOT / "config.yaml", *([preset] if preset else [])]
    config = load_config(files)
    jsonschema.validate(config.values, DOCUMENT)
    assert list(config.reports)


def test_the_schema_is_json_schema_and_describes_every_key() -> None:
    jsonschema.Draft202012Validator.check_schema(DOCUMENT)
    for name, about in DOCUMENT["properties"].items():
        merged = {**definition(about["$ref"].split("/")[-1]), **about} if "$ref" in about else about
        assert merged.get("description"), name


@pytest.mark.parametrize("table", sorted(NO_FLAGS))
def test_keys_that_are_no_flags_exist(table: str) -> None:
    names = [name for name, its_table in TABLES.items() if its_table == table]
    known = [set(definition(name)["properties"]) for name in names]
    # An encoder is one of two kinds with keys of their own.
    assert NO_FLAGS[table] <= (
        set.union(*known) if table == "encoders" else set.intersection(*known)
    )
