"""Plans with encoders from elsewhere, checkpoints on the way, and averages."""

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
    parts = ("import_encoder", "prepare_task", "baselines", "report")
    jobs = {"finetune_imported": 3, "evaluate_imported": 3}
    assert project.plan(*flags) == dict.fromkeys(parts, 1) | jobs
    project.pretend(*flags)
    assert project.plan(*flags) == {}
    (project.folder / "theirs" / "model.safetensors").write_text("other weights")
    assert project.plan(*flags) == {"import_encoder": 1, **jobs, "report": 1}


def test_one_line_fine_tunes_an_encoder_of_the_hub_on_imdb(project: Project) -> None:
    revision = "86b5e0934494bd15c9632b12f734a8a67f723594"
    source = f"hf://google-bert/bert-base-uncased@{revision}"
    encoders = "encoders={bert-base-uncased: {pretrained: '" + source + "'}}"
    preset = "workflow/presets/tasks/imdb.yaml"
    picks = ("--config", "encoder=bert-base-uncased", encoders)
    found = project.plan("results/imdb_report.txt", "--configfile", preset, *picks)
    assert found["finetune_imported"] == found["evaluate_imported"] == 3
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
    assert found["finetune_imported"] == found["finetune"] == 3


def test_checkpoints_on_the_way_are_fine_tuned_too(project: Project) -> None:
    flags = project.overlay({"encoders": {"tiny": {"keep_at": [25, 50]}}, "seeds": [1]})
    shutil.rmtree(project.folder / "results", ignore_errors=True)
    found = project.plan(*flags)
    more = dict.fromkeys(("checkpoint", "finetune_checkpoint", "evaluate_checkpoint"), 2)
    assert {name: found[name] for name in more} == more
    assert found.keys() - CHAIN.keys() - more.keys() == {
        "segment_text_sentences-128",
        "collect_sentences-128",
    }


def test_the_average_of_glue_is_planned_whole(project: Project) -> None:
    preset = project.folder / "workflow" / "presets" / "tasks" / "glue.yaml"
    tasks = yaml.safe_load(preset.read_text())["tasks"]
    for task in tasks.values():
        for split in ("train", "validation"):
            path = project.folder / Path(task[split])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    assert set(GLUE) <= tasks.keys()
    found = project.plan("results/glue_report.txt", "--configfile", str(preset))
    assert found["average_report"] == 1
    assert found["report"] == len(GLUE) + 2
    assert found["finetune"] == 3 * found["report"]
