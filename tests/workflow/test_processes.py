"""Trainings in several processes, by resources of the workflow's own command."""

import os
import re
from pathlib import Path

import pytest

from cloze.files import read_json
from tests.sinfo import write_sinfo
from tests.workflow.project import Project
from tests.workflow.tiny_sample import TINY, shorten

MODEL = "results/sample/uncased-4k/sentences-128/tiny"
PRETRAIN = re.compile(r"^Shell command: (.*) scripts/pretrain\.py", re.MULTILINE)
TORCHRUN = "python -m torch.distributed.run --nproc-per-node {} --shutdown-timeout 100"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("processes"))


def launcher(project: Project, *arguments: str) -> str:
    found = PRETRAIN.search(project.snakemake("-n", f"{MODEL}/metrics.json", *arguments))
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("processes=2", f"{TORCHRUN.format(2)} --standalone --"),
        pytest.param("gpu=4", f"{TORCHRUN.format(4)} --standalone --", marks=pytest.mark.slow),
        pytest.param("processes=1", "python", marks=pytest.mark.slow),
    ],
)
def test_resources_start_several_processes(project: Project, resource: str, expected: str) -> None:
    assert launcher(project, "--set-resources", f"pretrain:{resource}") == expected


SINFO = """\
small*|4|16000|30:00|gpu:2
large|64|256000|infinite|(null)
"""


@pytest.fixture
def cluster(tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command `sinfo` that tells of a cluster, and Snakemake that finds it."""
    write_sinfo(tmp_path, SINFO)
    path = f"{tmp_path}{os.pathsep}{project.environment['PATH']}"
    monkeypatch.setitem(project.environment, "PATH", path)


def resources(output: str) -> dict[str, dict[str, str]]:
    """Return the resources that a dry run prints of each rule, its threads among them."""
    found: dict[str, dict[str, str]] = {}
    for rule, rest in re.findall(r"^rule (\w[\w-]*):\n((?: {4}.*\n)*)", output, re.MULTILINE):
        values = re.findall(r"(\w+)=([^,\n]+)", rest.partition("    resources: ")[2])
        threads = re.findall(r"^ {4}threads: (\d+)", rest, re.MULTILINE)
        found[rule] = {**dict(values), "threads": threads[0] if threads else "1"}
    return found


@pytest.mark.usefixtures("cluster")
def test_jobs_ask_for_no_more_than_a_node_has(project: Project) -> None:
    plan = ("-n", "--executor", "dryrun", "--jobs", "4", "--cores", "64")
    asked = resources(project.snakemake(*plan))
    assert {rule for rule, values in asked.items() if "gpu" in values} == {
        "pretrain", "finetune", "evaluate",
    }  # fmt: skip
    assert asked["pretrain"]["threads"] == "4"
    assert asked["pretrain"]["runtime"] == "30"
    elsewhere = ("--set-resources", "pretrain:slurm_partition=large")
    asked = resources(project.snakemake(*plan, *elsewhere))
    assert asked["pretrain"]["threads"] == "16"
    assert "gpu" not in asked["pretrain"]


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_several_nodes_start_torchrun_once_on_each(project: Project) -> None:
    """With --jobs, as a cluster is planned for."""
    found = launcher(
        project,
        "--jobs",
        "4",
        "--cores",
        "64",
        "--set-resources",
        "pretrain:nodes=2",
        "pretrain:gpu=8",
    )
    assert found.startswith("srun --nodes 2 --ntasks-per-node 1 --cpus-per-task 4 ")
    assert "--nproc-per-node 4 " in found
    assert "--nnodes 2 --rdzv-backend c10d --rdzv-id $SLURM_JOB_ID" in found
    assert found.endswith(" --")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pretrain:nodes=2",), "pretrain:nodes=2: needs a cluster"),
        (("pretrain:nodes=2", "pretrain:gpu=3"), "do not share out by nodes=2"),
    ],
)
def test_what_cannot_be_started_is_said_before_it_is(
    project: Project, arguments: tuple[str, ...], message: str
) -> None:
    jobs = () if len(arguments) == 1 else ("--jobs", "4")
    output = project.snakemake(
        "-n", *jobs, "--set-resources", *arguments, "--", f"{MODEL}/metrics.json", code=1
    )
    assert message in output


@pytest.mark.slow
def test_a_run_goes_on_and_is_finished_whatever_the_number_of_processes(tmp_path: Path) -> None:
    project = Project(tmp_path)
    shorten(project)
    fine = f"{MODEL}/sample-reviews/seed-1/metrics.json"
    arguments = ("--cores", "2", *project.overlay(TINY))
    several = ("--set-resources", "pretrain:processes=2", "finetune:processes=2")
    project.snakemake(*arguments, *several, "--", fine)
    for metrics in (f"{MODEL}/metrics.json", fine):
        assert read_json(project.folder / metrics)["metrics"]["processes"] == 2
    for given in ((), several):
        assert project.plan(*arguments, *given, "--", fine) == {}
