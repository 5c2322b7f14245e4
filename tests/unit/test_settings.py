"""Settings as flags: the flags of every entry give its values back, and bounds hold."""

import argparse
import importlib
from pathlib import Path
from typing import Any

import pytest

from cloze.corpus.reading import PYTHON_DOCS, READERS
from cloze.settings.code_key import code_key
from cloze.settings.config import Config
from cloze.settings.corpora import CORPUS_FORMATS, CorpusSettings, PartSettings
from cloze.settings.datasets import SHARD_FORMATS, SegmentTextSettings, SplitTokensSettings
from cloze.settings.encoders import ArchitectureSettings, ImportSettings
from cloze.settings.fields import add_flags, from_args, keys_of, render_flags
from cloze.settings.finetuning import FinetuningRecipe, FinetuningSettings, TextSettings
from cloze.settings.machine import MachineSettings
from cloze.settings.pretraining import PretrainingSettings
from cloze.settings.tasks import FINETUNING_OBJECTIVES, METRICS, TASK_KINDS, TaskSettings
from cloze.settings.tokenizers import TokenizerSettings
from cloze.show.kind_reports import KIND_REPORTS
from cloze.tasks.kind import kind_of
from cloze.tokens.shards import EXTENSIONS
from tests.configurations import config

SCRIPTS = Path(__file__).parents[2] / "scripts"
NUMBERS = {"hidden_size": 512, "hold_out_fraction": 0.25, "learning_rate": 0.00012345678901234}
# The scripts that read config.yaml or tell of it; they need what the workflow needs.
OF_THE_WORKFLOW = {"plan.py", "clean.py", "make_schema.py", "new.py"}


def parsed(script: str, flags: list[str], *required: str) -> argparse.Namespace:
    parser: argparse.ArgumentParser = importlib.import_module(script).build_parser()
    return parser.parse_args([*(f"--{name}=x" for name in required), *flags])


def other_value(key: Any) -> Any:
    """A value that is not the default."""
    if key.type is bool:
        return not key.default
    if key.bounds.choices:
        return next(choice for choice in key.bounds.choices if choice != key.default)
    if key.name == "budget":
        return "1.5h"
    value = NUMBERS.get(key.name, 9 if key.number and key.number.kind is int else 0.5)
    if key.number is None:
        value = "words"
    return [value] if key.is_list else value


@pytest.fixture
def keys_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an entry have every key, also those that exclude each other."""
    monkeypatch.setattr("cloze.settings.config.check_entries", lambda settings: None)


def full(cls: type, *without: str) -> dict[str, Any]:
    return {key.name: other_value(key) for key in keys_of(cls) if key.name not in without}


@pytest.mark.parametrize(
    ("table", "entry", "without", "script", "cls", "required"),
    [
        ("corpora", {"files": ["a"]}, (), "extract_documents", CorpusSettings, ("input",)),
        ("tokenizers", {}, (), "train_tokenizer", TokenizerSettings, ("documents",)),
        (
            "datasets",
            {"method": "segment_text"},
            (),
            "segment_text",
            SegmentTextSettings,
            ("documents", "tokenizer"),
        ),
        (
            "datasets",
            {"method": "split_tokens"},
            (),
            "split_tokens",
            SplitTokensSettings,
            ("documents", "tokenizer"),
        ),
        ("architectures", {}, (), "init_encoder", ArchitectureSettings, ("tokenizer",)),
        (
            "encoders",
            {"architecture": "tiny"},
            ("max_tokens", "budget"),
            "pretrain",
            PretrainingSettings,
            ("dataset", "tokenizer", "run-dir"),
        ),
        (
            "encoders",
            {"architecture": "tiny"},
            ("max_tokens", "max_steps"),
            "pretrain",
            PretrainingSettings,
            ("dataset", "tokenizer", "run-dir"),
        ),
        ("encoders", {"pretrained": "x"}, (), "import_encoder", ImportSettings, ("pretrained",)),
        ("tasks", {"train": "x"}, (), "prepare_task", TaskSettings, ("train",)),
    ],
)
def test_an_entry_as_flags_gives_its_values(
    table: str,
    entry: dict[str, Any],
    without: tuple[str, ...],
    script: str,
    cls: type,
    required: tuple[str, ...],
    keys_go_together: None,
) -> None:
    given = full(cls, *without)
    found = config(**{f"{table}__other": {**entry, **given}})
    flags = found.flags(table, "other")
    if cls is PretrainingSettings:
        # Apart, because they are no part of the stage's key.
        flags += found.monitoring_flags("other")
    settings = from_args(cls, parsed(script, flags, "output", *required))
    seconds = {"budget": 5400.0} if "budget" in given else {}
    unset = dict.fromkeys(without)
    assert vars(settings) == {**given, **seconds, **unset}


def test_a_part_is_extracted_by_a_corpuss_settings(keys_go_together: None) -> None:
    entry = {"files": ["a"], **full(CorpusSettings)}
    flags = config(corpora__mine=entry).part_flags("mine")
    settings = from_args(PartSettings, parsed("extract_part", flags, "input", "output"))
    assert vars(settings) == full(PartSettings)


@pytest.mark.parametrize("without", [("max_steps", "budget"), ("max_steps", "num_train_epochs")])
def test_a_fine_tuning_as_flags_gives_its_values(without: tuple[str, ...]) -> None:
    given = full(FinetuningRecipe, *without)
    found = config(tasks__mood__finetuning=given)
    flags = found.finetuning_flags("mood", from_scratch=True)
    args = parsed("finetune", flags, "model", "task", "output")
    seconds = {"budget": 5400.0} if "budget" in given else {}
    settings = from_args(FinetuningSettings, args)
    assert vars(settings) == {**given, **seconds, **dict.fromkeys(without), "seed": 0}
    flags = found.evaluation_flags("mood", from_scratch=True)
    args = parsed("evaluate", flags, "model", "task", "output")
    assert vars(from_args(TextSettings, args)) == full(TextSettings)


def test_defaults_as_flags_are_defaults() -> None:
    for cls in (ArchitectureSettings, FinetuningSettings, MachineSettings, TokenizerSettings):
        parser = argparse.ArgumentParser()
        add_flags(parser, cls)
        assert from_args(cls, parser.parse_args([])) == cls()
        assert from_args(cls, parser.parse_args(render_flags(cls()))) == cls()


@pytest.mark.parametrize(
    ("cls", "flag", "value", "message"),
    [
        (ArchitectureSettings, "--hidden-size", "0", "'0' is not a whole number of 1 or more"),
        (ArchitectureSettings, "--hidden-size", "1.5", "'1.5' is not a whole number of 1 or"),
        (ArchitectureSettings, "--layer-norm-eps", "0", "'0' is not a number above 0"),
        (ArchitectureSettings, "--rope-theta", "inf", "'inf' is not a number above 0"),
        (ArchitectureSettings, "--layout", "gpt", "invalid choice: 'gpt'"),
        (FinetuningSettings, "--dropout", "1.1", "'1.1' is not a number from 0 to 1"),
        (FinetuningSettings, "--dropout", "nan", "'nan' is not a number from 0 to 1"),
        (FinetuningSettings, "--layerwise-lr-decay", "0", "is not a number above 0 and at most 1"),
        (FinetuningSettings, "--budget", "soon", "'soon' is no time such as 90s, 20m or 1.5h"),
        (PretrainingSettings, "--keep-at", "100", "'100' is not a whole number from 1 to 99"),
    ],
)
def test_a_flag_out_of_bounds_is_refused(
    cls: type, flag: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, cls)
    with pytest.raises(SystemExit):
        parser.parse_args([flag, value])
    assert message in capsys.readouterr().err


def test_a_default_of_a_script_is_its_own() -> None:
    args = parsed("evaluate", [], "model", "task", "output")
    assert args.precision == "fp32"


def test_choices_are_what_the_library_knows() -> None:
    assert {*READERS, PYTHON_DOCS} == set(CORPUS_FORMATS)
    assert set(EXTENSIONS) == set(SHARD_FORMATS)
    assert {metric for name in TASK_KINDS for metric in kind_of(name).metrics} == set(METRICS)
    assert TASK_KINDS.keys() == FINETUNING_OBJECTIVES.keys() == KIND_REPORTS.keys()


@pytest.mark.parametrize(
    "script", sorted(path.name for path in SCRIPTS.glob("*.py")), ids=lambda name: name[:-3]
)
def test_only_the_workflows_side_needs_pydantic(script: str) -> None:
    modules = [entry.split("@")[0] for entry in code_key(SCRIPTS / script)]
    assert ("cloze/settings/checking.py" in modules) == (script in OF_THE_WORKFLOW)
    for module in modules:
        text = (SCRIPTS / module).read_text(encoding="utf-8")
        assert module == "cloze/settings/checking.py" or "import pydantic" not in text
        assert module == "cloze/settings/checking.py" or "from pydantic" not in text


def test_a_configuration_is_its_classes() -> None:
    found = Config({**config().values, "mirror": "/data"})
    assert isinstance(found.settings.encoders["small"], PretrainingSettings)
    assert isinstance(found.settings.architectures["tiny"], ArchitectureSettings)
    assert found.settings.mirror == found.values["mirror"] == "/data"
