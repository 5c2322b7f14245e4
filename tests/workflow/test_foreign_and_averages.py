"""Plans with encoders from elsewhere, checkpoints on the way, and averages."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.workflow.project import Project
from tests.workflow.test_planning import CHAIN

FOREIGN = {"encoder": "theirs", "encoders": {"theirs": {"pretrained": "theirs"}}}
GLUE = ("cola", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("foreign"))
    folder = project.folder / "theirs"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text("{}")
    return project


def test_an_encoder_from_elsewhere_is_fine_tuned_without_pretraining(project: Project) -> None:
    flags = project.overlay(FOREIGN)
    parts = ("import_encoder", "prepare_task", "baselines", "report", "copy_report")
    jobs = {"finetune": 3, "evaluate": 3}
    assert project.plan(*flags) == dict.fromkeys(parts, 1) | jobs
    project.pretend(*flags)
    assert project.plan(*flags) == {}
    (project.folder / "theirs" / "model.safetensors").write_text("other weights")
    reports = {"report": 1, "copy_report": 1}
    assert project.plan(*flags) == {"import_encoder": 1, **jobs, **reports}


def test_one_line_fine_tunes_an_encoder_of_the_hub_on_imdb(project: Project) -> None:
    revision = "86b5e0934494bd15c9632b12f734a8a67f723594"
    source = f"hf://google-bert/bert-base-uncased@{revision}"
    encoders = "encoders={bert-base-uncased: {pretrained: '" + source + "'}}"
    preset = "workflow/presets/tasks/imdb.yaml"
    picks = ("--config", "encoder=bert-base-uncased", encoders)
    found = project.plan("results/imdb_report.txt", "--configfile", preset, *picks)
    assert found["finetune"] == found["evaluate"] == 3
    assert "pretrain" not in found
    assert found["download"] >= 3


def test_a_ceiling_is_fine_tuned_beside(project: Project) -> None:
    flags = project.overlay(
        {
            "encoders": FOREIGN["encoders"],
            "reports": {"sst2": {"task": "sample-reviews", "ceiling": "theirs"}},
        }
    )
    shutil.rmtree(project.folder / "results", ignore_errors=True)
    found = project.plan("results/sst2_report.txt", *flags)
    assert found["import_encoder"] == 1
    assert found["finetune"] == found["evaluate"] == 9


def test_checkpoints_on_the_way_are_fine_tuned_too(project: Project) -> None:
    flags = project.overlay({"encoders": {"tiny": {"keep_at": [25, 50]}}, "seeds": [1]})
    shutil.rmtree(project.folder / "results", ignore_errors=True)
    found = project.plan(*flags)
    assert found == {
        **CHAIN,
        **{"segment_text_sentences-128": 3, "collect_sentences-128": 1, "checkpoint": 2},
        **dict.fromkeys(("finetune", "evaluate"), 4),
    }


def test_the_average_of_glue_is_planned_whole(project: Project) -> None:
    preset = project.folder / "workflow" / "presets" / "tasks" / "glue.yaml"
    tasks = yaml.safe_load(preset.read_text())["tasks"]
    for task in tasks.values():
        for file in (task["train"], task["validation"], *task.get("splits", {}).values()):
            path = project.folder / Path(file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    assert set(GLUE) <= tasks.keys()
    found = project.plan("results/glue_report.txt", "--configfile", str(preset))
    assert found["average_report"] == found["copy_average"] == 1
    assert "copy_report" not in found
    assert found["report"] == len(GLUE) + 2
    # MNLI is fine-tuned once for its two reports.
    assert found["prepare_task"] == found["report"] - 1
    assert found["finetune"] == 2 * 3 * found["prepare_task"]
    assert found["evaluate"] == 2 * 3 * found["report"]


def test_a_test_split_is_evaluated_beside_validation(project: Project) -> None:
    reviews = "resources/sample/reviews-validation.tsv"
    keep = {"encoders": {"tiny": {"keep_at": [50]}}, "seeds": [1]}
    flags = project.overlay({"tasks": {"sample-reviews": {"test": reviews}}, **keep})
    shutil.rmtree(project.folder / "results", ignore_errors=True)
    output = project.snakemake("-n", *flags)
    assert output.count("python scripts/finetune.py") == 3
    model = "results/sample/uncased-4k/sentences-128/tiny"
    scratch = "results/sample/uncased-4k/scratch/modernbert-tiny"
    evaluated = (
        r"evaluate\.py --model \$\(dirname (\S+)/sample-reviews/seed-1/\S+ .* --split (\w+) "
    )
    assert set(re.findall(evaluated, output)) == {
        *((model, "validation"), (model, "test"), (f"{model}/at-50", "validation")),
        *((scratch, "validation"), (scratch, "test")),
    }
    # The headline is that of the first evaluations that the report is given.
    assert re.search(r"--evaluations \S+/validation \S+/test ", output)


def test_every_kind_of_model_is_fine_tuned_and_evaluated_by_the_same_rules(
    project: Project,
) -> None:
    keep = {"tiny": {"keep_at": [25]}, **FOREIGN["encoders"]}
    scratch = {"finetuning_from_scratch": {"max_length": 32}}
    flags = project.overlay({"encoders": keep, "tasks": {"sample-reviews": scratch}})
    models = [
        "results/sample/uncased-4k/sentences-128/tiny",
        "results/sample/uncased-4k/sentences-128/tiny/at-25",
        "results/sample/uncased-4k/scratch/modernbert-tiny",
        "results/imported/theirs",
    ]
    targets = [f"{model}/sample-reviews/seed-7/validation/metrics.json" for model in models]
    shutil.rmtree(project.folder / "results", ignore_errors=True)
    lines = project.snakemake("-n", *targets, *flags).splitlines()
    for model in models:
        of_model = f"$(dirname {model}/sample-reviews/seed-7/config.json)"
        commands = [line for line in lines if of_model in line]
        finetuned, evaluated = sorted(commands, key=lambda line: "scripts/evaluate.py" in line)
        is_scratch = "scratch" in model
        assert f"finetune.py --model {model} " in finetuned
        assert ("--from-scratch" in finetuned) == is_scratch
        for command in (finetuned, evaluated):
            assert f"--max-length {32 if is_scratch else 64} " in command


@pytest.mark.parametrize(
    "folder",
    [
        # No architecture and no encoder that is imported.
        "sample/uncased-4k/scratch/tiny",
        pytest.param("imported/tiny", marks=pytest.mark.slow),
        pytest.param("imported/theirs/at-25", marks=pytest.mark.slow),
        pytest.param("sample/uncased-4k/sentences-128/theirs", marks=pytest.mark.slow),
    ],
)
def test_what_no_rule_makes_is_no_model_folder(project: Project, folder: str) -> None:
    flags = project.overlay({"encoders": FOREIGN["encoders"]})
    target = f"results/{folder}/sample-reviews/seed-1/validation/metrics.json"
    assert "MissingRuleException" in project.snakemake("-n", target, *flags, code=1)
