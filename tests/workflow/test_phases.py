"""Phases of pretraining in the workflow: what a change makes run again, and a whole run."""

import copy
import json
import re
from typing import Any

import pytest

from tests.workflow.project import Project
from tests.workflow.tiny_sample import TINY, shorten

ENCODER = "results/sample/uncased-4k/sentences-128/tiny"
LONG = {"method": "split_tokens", "max_length": 192}
PHASE = {"dataset": "tokens-192", "max_steps": 20}
FINETUNED = {"finetune": 1, "evaluate": 1, "report": 1, "copy_report": 1}


def phased(*phases: dict[str, Any], **encoder: Any) -> dict[str, Any]:
    """A configuration with these phases after the first, of one seed."""
    value: dict[str, Any] = copy.deepcopy(TINY)
    value["encoders"]["tiny"] |= {"phases": list(phases), **encoder}
    return {**value, "seeds": [1], "datasets": {"tokens-192": LONG}}


def trained(output: str) -> list[str]:
    """The model folders that jobs of `pretrain` of a plan write."""
    jobs = re.findall(
        r"^rule pretrain:\n(?:    .*\n)*?    output: (\S+)/config\.json,", output, re.M
    )
    return sorted(jobs)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("phases"))
    project.pretend(*project.overlay(phased(PHASE)))
    return project


def test_a_changed_phase_plans_none_before_it(made: Project) -> None:
    arguments = made.overlay(phased({**PHASE, "max_steps": 30}))
    plan = made.plan(*arguments)
    assert plan == {"pretrain": 1, "show_pretraining": 1, **FINETUNED}
    assert trained(made.snakemake("-n", *arguments)) == [f"{ENCODER}/phase-2"]


def test_a_changed_first_phase_plans_all(made: Project) -> None:
    output = made.snakemake("-n", *made.overlay(phased(PHASE, learning_rate=2e-3)))
    assert trained(output) == [ENCODER, f"{ENCODER}/phase-2"]


def test_one_more_phase_trains_only_that(made: Project) -> None:
    output = made.snakemake("-n", *made.overlay(phased(PHASE, PHASE)))
    assert trained(output) == [f"{ENCODER}/phase-3"]


def test_without_phases_the_encoder_is_there_already(made: Project) -> None:
    assert made.plan(*made.overlay(phased())) == FINETUNED


@pytest.mark.slow
def test_what_changes_no_weight_of_a_phase_is_nothing_to_do(made: Project) -> None:
    assert made.plan(*made.overlay(phased({**PHASE, "eval_steps": 5}))) == {}
    kept = made.plan(*made.overlay(phased({**PHASE, "keep_at": [50]})))
    assert kept == {"checkpoint": 1, **FINETUNED}
    edited = phased(PHASE)
    edited["datasets"]["tokens-192"] = {**LONG, "max_length": 256}
    output = made.snakemake("-n", *made.overlay(edited))
    assert trained(output) == [f"{ENCODER}/phase-2"]


@pytest.mark.slow
def test_two_phases_become_a_report(tmp_path: Any) -> None:
    project = Project(tmp_path)
    shorten(project)
    arguments = project.overlay(phased(PHASE))
    project.snakemake("--cores", "2", *arguments)
    second = project.folder / ENCODER / "phase-2"
    config = json.loads((second / "config.json").read_text("utf-8"))
    assert config["max_position_embeddings"] == 192
    assert config["global_rope_theta"] > 10_000
    report = json.loads((project.folder / "results" / "sst2_report.json").read_text("utf-8"))
    assert report["model"] == f"{ENCODER}/phase-2"
    assert [phase["dataset"] for phase in report["phases"]] == ["sentences-128"]
    assert report["pretraining"]["dataset"] == "tokens-192"
    assert report["pretraining"]["loss_by_position"][-1]["last"] == 191
    text = (project.folder / "results" / "sst2_report.txt").read_text("utf-8")
    for shown in (
        "LONG TEXTS",
        "position, phase 2",
        "position, phase 1",
        "last phase, on tokens-192",
    ):
        assert shown in text
    page = (project.folder / "results" / "sst2_report.html").read_text("utf-8")
    assert "Loss by position" in page
    # The first phase knows nothing of the second.
    assert "phases" not in (project.folder / ENCODER / "recipe.yaml").read_text("utf-8")
    assert project.plan(*arguments) == {}
