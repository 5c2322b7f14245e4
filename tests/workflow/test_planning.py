"""Snakemake's face: speed, style, messages, threads, presets, runs and values from outside."""

import hashlib
import os
import re
import resource
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from cloze.fetch.sources import HubSource, parse_source
from cloze.machine import available_cores
from cloze.settings.config import load_config
from tests.workflow.project import ROOT, Project

CORES = available_cores()
CHAIN = {
    "extract_documents": 1,
    "train_tokenizer": 1,
    "pretrain": 1,
    "show_pretraining": 1,
    "init_encoder": 1,
    "describe_corpus": 1,
    "find_contamination": 1,
    "prepare_task": 1,
    "baselines": 1,
    # Three seeds, with and without pretraining.
    **dict.fromkeys(("finetune", "evaluate"), 6),
    "report": 1,
    "copy_report": 1,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("planning"))


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_dry_run_costs_at_most_thrice_one_of_an_empty_workflow(
    project: Project, tmp_path: Path
) -> None:
    """Which is 3 s of a usual machine; seconds would measure a slow or busy one instead."""
    (tmp_path / "Snakefile").write_text("rule all:\n    output: 'made'\n    shell: 'touch made'\n")
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1"]
    empty, ours = [], []
    for _ in range(3):
        start = processor_seconds()
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        between = processor_seconds()
        plan = project.plan()
        empty.append(between - start)
        ours.append(processor_seconds() - between)
    assert min(ours) < 3 * min(empty)
    assert plan == {**CHAIN, "segment_text_sentences-128": 3, "collect_sentences-128": 1}


def test_the_snakefile_is_a_table_of_contents() -> None:
    assert len((ROOT / "Snakefile").read_text().splitlines()) < 60


DIRECTIVES = (
    *("input", "output", "log", "benchmark", "wildcard_constraints", "conda"),
    *("threads", "resources", "params", "shell"),
)
RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_rules_open_with_what_they_are_for_and_keep_one_order(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    rules = re.split(r"^ *rule\b.*:\n", text, flags=re.MULTILINE)[1:]
    assert not rules or re.search("^# Reads ", text, re.MULTILINE)
    for rule in rules:
        found = re.findall(rf"^ +({'|'.join(DIRECTIVES)}):", rule, re.MULTILINE)
        assert found == [name for name in DIRECTIVES if name in found]


def test_a_mistake_in_the_configuration_is_one_message(project: Project) -> None:
    arguments = project.overlay({"encoders": {"tiny": {"warmup_step": 10}}})
    output = project.snakemake("-n", *arguments, code=1)
    assert (
        "error: config: encoders.tiny.warmup_step: unknown key; "
        "did you mean encoders.tiny.warmup_steps?" in output.splitlines()
    )
    assert "Traceback" not in output
    assert "File " not in output


MISSING = {
    "corpora.sample.files": (
        {"corpora": {"sample": {"files": ["data/none.txt"]}}},
        "data/none.txt",
    ),
    "corpora.sample.files.train": (
        {"corpora": {"sample": {"files": {"train": [{"source": "none.txt", "sha256": "0" * 64}]}}}},
        "none.txt",
    ),
    "tokenizers.uncased-4k.vocab": (
        {"tokenizers": {"uncased-4k": {"vocab": "vocab.txt"}}},
        "vocab.txt",
    ),
    "tasks.sample-reviews.test": (
        {"tasks": {"sample-reviews": {"test": "reviews/none.tsv"}}},
        "reviews/none.tsv",
    ),
    "tasks.sample-reviews.splits.films": (
        {"tasks": {"sample-reviews": {"splits": {"films": "reviews/none.tsv"}}}},
        "reviews/none.tsv",
    ),
    "encoders.tiny.init_from": (
        {"encoders": {"tiny": {"init_from": "models/none"}}},
        "models/none/config.json",
    ),
    "encoders.theirs.pretrained": (
        {"encoder": "theirs", "encoders": {"theirs": {"pretrained": "models/none"}}},
        "models/none/config.json",
    ),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which all outputs lie, those of an encoder from elsewhere too."""
    project = Project(tmp_path_factory.mktemp("made"))
    (project.folder / "models").mkdir()
    (project.folder / "models/config.json").write_text("{}")
    theirs = {"encoders": {"theirs": {"pretrained": "models"}}, "runs": [{"encoder": "theirs"}]}
    project.pretend(*project.overlay(theirs))
    return project


QUICK = ("tasks.sample-reviews.splits.films", "encoders.theirs.pretrained")


@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=[pytest.mark.slow] * (key not in QUICK)) for key in MISSING]
)
def test_an_input_that_is_not_there_is_one_sentence_before_anything_runs(
    made: Project, key: str
) -> None:
    """Also where an output that was made from another path lies in its place."""
    values, path = MISSING[key]
    output = made.snakemake("-n", *made.overlay(values), code=1)
    sentence = (
        f"error: config: {key}: {path}: no such file or folder, and no rule makes it; "
        "correct the path or put there what it names"
    )
    assert sentence in output.splitlines()
    assert "Traceback" not in output
    assert "Exception" not in output


def test_only_the_inputs_of_what_is_asked_for_must_be_there(made: Project) -> None:
    values = {
        "corpora": {"other": {"format": "text", "files": ["none.txt"]}},
        "encoders": {"theirs": {"pretrained": "models/none"}},
        "tasks": {"sample-reviews": {"train": "none.tsv"}},
    }
    target = "results/sample/uncased-4k/sentences-128/tiny/model.safetensors"
    made.snakemake("-n", target, *made.overlay(values))


def test_values_from_the_command_line_reach_nested_keys(project: Project) -> None:
    output = project.snakemake(
        "-n", "--config", "corpora={mine: {format: text, files: [config.yaml], min_characters: 9}}",
        "corpus=mine", "encoders={tiny: {learning_rate: 2e-3}}",
    )  # fmt: skip
    assert "--min-characters 9 " in output
    assert "--input config.yaml" in output
    assert "--learning-rate 0.002" in output


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(CORES, marks=pytest.mark.slow),
        4 * CORES,
    ],
)
def test_jobs_never_claim_more_threads_than_the_machine_has(project: Project, given: int) -> None:
    output = project.snakemake("-n", "--cores", str(given))
    commands = re.findall(r"Shell command: .*?scripts/(\w+)\.py.* --threads (\d+)", output)
    busy = dict(commands)
    assert int(busy["pretrain"]) == min(given, CORES, 16)
    assert int(busy["finetune"]) == max(1, min(given, CORES // 4))
    # What Snakemake may run at once, times the threads of each job.
    claimed = re.search(r"rule finetune:.*?threads: (\d+)", output, re.DOTALL)
    at_once = given // (int(claimed[1]) if claimed else 1)
    assert at_once * int(busy["finetune"]) <= max(CORES, 1)


def test_runs_share_the_stages_they_have_in_common(project: Project) -> None:
    plan = project.plan(*project.overlay({"runs": [{"encoder": "tiny-bert", "seeds": [1]}]}))
    assert plan["pretrain"] == 2
    assert plan["finetune"] == 8
    assert plan["report"] == 2
    for rule in ("extract_documents", "train_tokenizer", "collect_sentences-128"):
        assert plan[rule] == 1


@pytest.mark.parametrize(
    ("preset", "downloads", "dataset", "shards"),
    [
        ("wikitext-2", 5, "sentences-128", 3),
        pytest.param("wikitext-103", 6, "sentences-128-x16", 17, marks=pytest.mark.slow),
        pytest.param("wikipedia", 3, "sentences-128-x32", 33, marks=pytest.mark.slow),
        pytest.param("imdb", 3, "sentences-256", 9, marks=pytest.mark.slow),
    ],
)
def test_a_preset_plans_the_whole_chain(
    project: Project, preset: str, downloads: int, dataset: str, shards: int
) -> None:
    plan = project.plan("--configfile", f"workflow/presets/{preset}.yaml")
    data = {f"segment_text_{dataset}": shards, f"collect_{dataset}": 1}
    # IMDb's reviews come in two files, which are extracted side by side.
    parts = {"extract_part": 2} if preset == "imdb" else {}
    assert plan == {**CHAIN, "download": downloads, **data, **parts}


@pytest.mark.slow
def test_wikipedia_is_a_job_for_each_file(project: Project) -> None:
    preset = ("--configfile", "workflow/presets/wikipedia.yaml")
    plan = project.plan(*preset, "--config", "corpus=wikipedia-en")
    assert plan["download"] == 41 + 2
    assert plan["extract_part"] == 41
    assert plan["extract_documents"] == 1


def test_the_sources_of_presets_are_pinned() -> None:
    mine = {"format": "text", "files": ["texts"]}  # some presets leave the corpus to the user
    for preset in (ROOT / "workflow" / "presets").glob("*.yaml"):
        config = load_config([ROOT / "config.yaml", preset], {"corpora": {"mine": mine}})
        for download in config.files.downloads.values():
            source = parse_source(download.source)
            assert isinstance(source, HubSource)
            assert source.is_pinned, f"{preset}: {source}"


def test_a_mirror_stands_in_for_the_hub_and_is_checked(project: Project, tmp_path: Path) -> None:
    text = "One document.\n\nAnother one.\n\nA third, a little longer.\n" * 5
    revision = "0123456789abcdef0123456789abcdef01234567"
    file = tmp_path / "datasets" / "owner" / "name" / revision / "texts" / "all.txt"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    source = {
        "source": f"hf://datasets/owner/name@{revision}/texts/all.txt",
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    mirrored = {"format": "paragraphs", "keep_duplicates": True, "files": [source]}
    config = {"corpora": {"mirrored": mirrored}, "mirror": str(tmp_path)}
    target = "results/mirrored/documents/train.parquet"
    project.snakemake("--cores", "1", *project.overlay(config), "--", target)
    assert (project.folder / "resources/mirrored/all.txt").read_text() == text
    # The place of the mirror is no part of the key; the hash is.
    assert project.plan(*project.overlay({**config, "mirror": "/elsewhere"}), "--", target) == {}
    source["sha256"] = "0" * 64
    arguments = (*project.overlay(config), "--", target)
    assert set(project.plan(*arguments)) == {"download", "extract_documents"}
    output = project.snakemake("--cores", "1", *arguments, code=1)
    assert "sha256" in output
    assert not (project.folder / "resources/mirrored/all.txt").exists()


def test_parts_of_a_corpus_are_jobs_and_make_what_one_job_makes(tmp_path: Path) -> None:
    project = Project(tmp_path)
    folder = project.folder / "texts"
    for number in range(6):
        (folder / "deep").mkdir(parents=True, exist_ok=True)
        (folder / "deep" / f"{number}.txt").write_text(f"This is document {number}.\n" * 40)
    extra = project.folder / "extra.txt"
    extra.write_text("Another document.\n")
    mine = {"format": "text", "files": ["texts", "extra.txt"], "validation_fraction": 0.4}
    target = "results/mine/documents/train.parquet"
    arguments = (*project.overlay({"corpora": {"mine": mine}}), "--", target)
    project.snakemake("--cores", "1", *arguments)
    documents = project.folder / "results/mine/documents"
    names = ["train.parquet", "validation.parquet", "test.parquet", "dropped.tsv.gz"]
    whole = [(documents / name).read_bytes() for name in names]

    project.edit("scripts/cloze/settings/parts.py", "16 << 20", "2000")
    assert project.plan(*arguments) == {"extract_part": 3, "extract_documents": 1}
    project.snakemake("--cores", "2", *arguments)
    assert [(documents / name).read_bytes() for name in names] == whole
    assert not list((documents / ".parts").glob("*"))

    # The parts are gone, yet nothing runs again before something changes.
    assert project.plan(*arguments) == {}
    extra.write_text("Another document indeed.\n")
    assert project.plan(*arguments) == {"extract_part": 3, "extract_documents": 1}
    extra.write_text("Another document.\n")
    assert project.plan(*arguments) == {}
    project.edit("scripts/cloze/corpus/readers.py", "title = Path", "title = 2 * Path")
    assert project.plan(*arguments) == {"extract_part": 3, "extract_documents": 1}


def test_a_mixture_is_made_of_the_documents_of_others(project: Project) -> None:
    mine = {"format": "paragraphs", "files": ["resources/sample/corpus.txt"], "members": "*.txt"}
    mixed = {"mixture": {"sample": 1, "mine": 0.5}}
    overlay = {"corpora": {"mine": mine, "mixed": mixed}, "corpus": "mixed"}
    arguments = (*project.overlay(overlay), "--", "results/mixed/documents/train.parquet")
    assert project.plan(*arguments) == {"extract_documents": 2, "mix_documents": 1}
    project.snakemake("--cores", "1", *arguments)
    assert project.plan(*arguments) == {}
    mixed["mixture"]["mine"] = 2
    project.overlay(overlay)
    assert project.plan(*arguments) == {"mix_documents": 1}


def test_decontamination_makes_the_corpus_depend_on_the_tasks_that_it_names(
    project: Project,
) -> None:
    target = ("--", "results/sample/documents/train.parquet")
    arguments = project.overlay({"corpora": {"sample": {"decontaminate": ["sample-reviews"]}}})
    assert project.plan(*arguments, *target) == {"prepare_task": 1, "extract_documents": 1}
    output = project.snakemake("-n", *arguments, *target)
    assert "--decontaminate results/tasks/sample-reviews --input" in output


def test_an_edited_or_added_file_of_a_folder_is_noticed(project: Project) -> None:
    folder = project.folder / "texts"
    for number in range(6):
        (folder / "deep").mkdir(parents=True, exist_ok=True)
        (folder / "deep" / f"{number}.txt").write_text(f"This is document {number}.\n")
    mine = {"format": "text", "files": ["texts"], "validation_fraction": 0.4}
    target = "results/mine/documents/train.parquet"
    arguments = (*project.overlay({"corpora": {"mine": mine}}), "--", target)
    project.snakemake("--cores", "1", *arguments)
    assert project.plan(*arguments) == {}
    (folder / "deep" / "3.txt").write_text("This is another document.\n")
    assert project.plan(*arguments) == {"extract_documents": 1}
    (folder / "deep" / "3.txt").write_text("This is document 3.\n")
    assert project.plan(*arguments) == {}
    (folder / "7.txt").write_text("This one is new.\n")
    assert project.plan(*arguments) == {"extract_documents": 1}


def test_inputs_that_snakemake_would_refuse_after_the_work_are_named_before(
    project: Project,
) -> None:
    folder = project.folder / "links"
    (project.folder / "elsewhere").mkdir()
    folder.mkdir()
    (project.folder / "elsewhere" / "one.txt").write_text("This is a document.\n")
    (folder / "linked").symlink_to(project.folder / "elsewhere")
    mine = {"format": "text", "files": ["links"], "validation_fraction": 0.4}
    target = "results/mine/documents/train.parquet"
    arguments = ("-n", *project.overlay({"corpora": {"mine": mine}}), "--", target)
    assert "links/linked/one.txt" in project.snakemake(*arguments)
    later = time.time() + 7200
    os.utime(project.folder / "elsewhere" / "one.txt", (later, later))
    output = project.snakemake(*arguments, code=1)
    assert "one.txt: its time stamp lies 2 hours ahead of this machine's clock" in output
    assert "touch links/linked/one.txt" in output
    assert "Traceback" not in output
    (project.folder / "elsewhere" / "one.txt").unlink()
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("This is a document.\n")
    output = project.snakemake(*arguments, code=1)
    assert "the name is not UTF-8, and Snakemake cannot write it down" in output
    assert "Traceback" not in output


def test_a_cards_memory_is_spared_by_resources(project: Project) -> None:
    saved = "pretrain:gradient_accumulation_steps=4", "pretrain:gradient_checkpointing=1"
    output = project.snakemake("-n", "--set-resources", *saved)
    assert "--gradient-accumulation-steps 4 --gradient-checkpointing" in output
    assert "--gradient-" not in project.snakemake("-n")


def test_init_from_takes_another_encoder_as_an_input(project: Project) -> None:
    folder = "results/sample/uncased-4k/sentences-128/tiny"
    adapted = {"architecture": "modernbert-tiny", "max_steps": 9, "init_from": folder}
    arguments = project.overlay({"encoder": "adapted", "encoders": {"adapted": adapted}})
    output = project.snakemake("-n", *arguments)
    assert re.search(r"^pretrain +2$", output, re.MULTILINE)
    assert f"--init-from {folder}" in output


def test_the_environment_file_agrees_with_the_package() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    environment = yaml.safe_load((ROOT / "workflow/envs/pipeline.yaml").read_text(encoding="utf-8"))
    python, _, pip = environment["dependencies"]
    assert python == f"python {package['requires-python']}"
    # The workflow reads config.yaml; no step does.
    workflow = ("snakemake", "pydantic")
    steps_need = [entry for entry in package["dependencies"] if not entry.startswith(workflow)]
    assert pip["pip"] == steps_need


@pytest.mark.parametrize("profile", sorted(path.name for path in Path(ROOT / "profiles").iterdir()))
def test_a_profile_names_only_rules_that_exist(project: Project, profile: str) -> None:
    value = yaml.safe_load((ROOT / "profiles" / profile / "config.yaml").read_text("utf-8"))
    rules = set(project.snakemake("--list-rules").split())
    for table in ("set-threads", "set-resources"):
        assert set(value.get(table, {})) <= rules
