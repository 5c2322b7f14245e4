"""The sample on a SLURM of two nodes, by the shipped profile, and what may happen to its jobs.

Whatever happens to a training, it ends with the weights of one process that nothing happened to.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cloze.files import read_json, sha256_file
from tests.cluster.loopback import Loopback
from tests.workflow.project import Project
from tests.workflow.tiny_sample import TINY, shorten

pytestmark = pytest.mark.slow

PROFILE = ("--workflow-profile", "profiles/slurm")
MODEL = "results/sample/uncased-4k/sentences-128/tiny"
WEIGHTS = f"{MODEL}/model.safetensors"
REPORT = "results/sst2_report.txt"
# A checkpoint after every second, so that one lies there soon.
OFTEN = ("--set-resources", "pretrain:checkpoint_seconds=1")
STEPS = 1000
CONFIG = ("--configfile", "overlay.yaml")


class ClusterProject(Project):
    """A copy of the project whose Snakemake submits to a cluster."""

    def __init__(self, folder: Path, cluster: Loopback) -> None:
        super().__init__(folder)
        self.environment |= cluster.environment

    def train(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the training of the encoder as jobs of the cluster."""
        return self.start(*PROFILE, *arguments, "--", WEIGHTS)

    def run_directory(self) -> Path:
        """Return the one folder of a training in progress."""
        (folder,) = (self.folder / MODEL / ".runs").iterdir()
        return folder

    def wait_for_checkpoint(self, process: subprocess.Popen[str], seconds: float = 600) -> None:
        """Wait until the training has begun and has saved something."""
        deadline = time.monotonic() + seconds
        while not list((self.folder / MODEL / ".runs").glob("*/checkpoint-*")):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def logs(self) -> list[str]:
        """Return what every training here has logged, in all its attempts."""
        found = (self.folder / MODEL / ".runs").glob("*/log.txt")
        return [path.read_text(encoding="utf-8") for path in found]

    def resumed_from(self) -> list[int]:
        """Return the steps at which the finished training had gone on."""
        return read_json(self.folder / MODEL / "metrics.json")["metrics"]["resumed_from"]


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a Snakemake that is to succeed; returns what it printed."""
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The shortened sample with its data set and, of an encoder in one process, the weights."""
    project = Project(tmp_path_factory.mktemp("prepared"))
    shorten(project)
    encoder = {**TINY["encoders"]["tiny"], "max_steps": STEPS, "eval_steps": STEPS}
    overlay = project.overlay({**TINY, "encoders": {"tiny": encoder}})
    project.snakemake("--cores", "2", *overlay, "--", WEIGHTS)
    return project


@pytest.fixture
def project(prepared: Project, cluster: Loopback, tmp_path: Path) -> Iterator[ClusterProject]:
    """A copy of it without the encoder."""
    copy = ClusterProject(tmp_path, cluster)
    shutil.copytree(prepared.folder, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / MODEL)
    yield copy
    cluster.run("scancel", "--user", "root")
    cluster.wait(lambda: not cluster.run("squeue", "-h"))


def test_the_sample_on_two_nodes_equals_that_on_this_machine(
    prepared: Project, cluster: Loopback, tmp_path: Path
) -> None:
    project = ClusterProject(tmp_path, cluster)
    shutil.copytree(prepared.folder, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "results")
    arguments = (*PROFILE, *CONFIG)
    output = project.snakemake(*arguments)
    assert "has been submitted with SLURM jobid" in output
    assert (tmp_path / REPORT).is_file()
    assert sha256_file(tmp_path / WEIGHTS) == sha256_file(prepared.folder / WEIGHTS)
    assert "Nothing to be done" in project.snakemake(*arguments)
    # All shards of the data set were one job of the cluster.
    assert len(re.findall(r"log: \S*/group_shards\S*\.log", output)) == 1


def test_one_two_and_two_nodes_learn_the_same(project: ClusterProject) -> None:
    encoder = {**TINY["encoders"]["tiny"], "max_steps": 50}
    overlay = project.overlay({**TINY, "encoders": {"tiny": encoder}})
    here, target = ("--cores", "2"), f"{MODEL}/metrics.json"
    losses = []
    for where, resource in ((here, "processes=1"), (here, "processes=2"), (PROFILE, "nodes=2")):
        shutil.rmtree(project.folder / MODEL, ignore_errors=True)
        several = ("--set-resources", "pretrain:precision=fp32", f"pretrain:{resource}")
        project.snakemake(*where, *overlay, *several, "--", target)
        lines = (project.folder / MODEL / "metrics.jsonl").read_text().splitlines()
        losses.append([record["loss"] for record in map(json.loads, lines) if "loss" in record])
        metrics = read_json(project.folder / target)["metrics"]
        assert metrics["processes"] == (1 if resource == "processes=1" else 2)
        # The key does not know the number of processes.
        assert project.plan(*here, *overlay, "--", target) == {}
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert losses[2] == pytest.approx(losses[0], abs=1e-5)


def test_a_cancelled_job_is_submitted_again_and_goes_on(
    project: ClusterProject, prepared: Project, cluster: Loopback
) -> None:
    process = project.train(*CONFIG, *OFTEN)
    project.wait_for_checkpoint(process)
    cluster.run("scancel", "--user", "root")
    output = finish(process)
    assert "Trying to restart job" in output
    assert project.resumed_from() != []
    assert sha256_file(project.folder / WEIGHTS) == sha256_file(prepared.folder / WEIGHTS)
    # Neither attempt overwrote what the other had to say.
    (log,) = project.logs()
    assert "stopped by a signal after step" in log
    assert "resuming after step" in log


def test_a_killed_worker_is_started_again_and_goes_on(
    project: ClusterProject, prepared: Project
) -> None:
    process = project.train(*CONFIG, *OFTEN)
    project.wait_for_checkpoint(process)
    os.kill(read_json(project.run_directory() / "lock")["process"], signal.SIGKILL)
    finish(process)
    assert project.resumed_from() != []
    assert sha256_file(project.folder / WEIGHTS) == sha256_file(prepared.folder / WEIGHTS)


def test_after_a_killed_snakemake_the_same_command_waits_for_its_job(
    project: ClusterProject, prepared: Project
) -> None:
    process = project.train(*CONFIG, *OFTEN)
    project.wait_for_checkpoint(process)
    process.kill()
    process.communicate()
    project.snakemake("--unlock", *CONFIG)
    finish(project.train(*CONFIG, *OFTEN))
    assert sha256_file(project.folder / WEIGHTS) == sha256_file(prepared.folder / WEIGHTS)


def test_a_job_of_a_lost_node_goes_on_on_the_other(
    project: ClusterProject, prepared: Project, cluster: Loopback
) -> None:
    process = project.train(*CONFIG, *OFTEN)
    project.wait_for_checkpoint(process)
    (node,) = cluster.run("squeue", "-h", "-o", "%N").split()
    trainer = psutil.Process(read_json(project.run_directory() / "lock")["process"])
    cluster.kill_node(node)
    # The power of that node takes its processes with it.
    trainer.kill()
    try:
        cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=power")
        finish(process)
    finally:
        cluster.start_node(node)
        cluster.run("scontrol", "update", f"nodename={node}", "state=resume")
    assert project.resumed_from() != []
    assert sha256_file(project.folder / WEIGHTS) == sha256_file(prepared.folder / WEIGHTS)


def test_a_drained_node_gets_no_jobs(
    project: ClusterProject, prepared: Project, cluster: Loopback
) -> None:
    cluster.run("scontrol", "update", "nodename=node1", "state=drain", "reason=test")
    try:
        process = project.train(*CONFIG, *OFTEN)
        project.wait_for_checkpoint(process)
        assert cluster.run("squeue", "-h", "-o", "%N").split() == ["node2"]
        finish(process)
    finally:
        cluster.run("scontrol", "update", "nodename=node1", "state=resume")
    assert sha256_file(project.folder / WEIGHTS) == sha256_file(prepared.folder / WEIGHTS)


def test_a_preempted_training_saves_and_goes_on(
    project: ClusterProject, prepared: Project, cluster: Loopback
) -> None:
    process = project.train(*CONFIG, *OFTEN)
    project.wait_for_checkpoint(process)
    cluster.run(
        "sbatch", "-p", "urgent", "-N", "2", "-c", "2", "-o", "/dev/null", "--wrap", "sleep 5"
    )
    finish(process)
    assert project.resumed_from() != []
    assert sha256_file(project.folder / WEIGHTS) == sha256_file(prepared.folder / WEIGHTS)


def test_a_time_limit_saves_and_the_next_job_goes_on(
    project: ClusterProject, cluster: Loopback
) -> None:
    """The rule asks for longer than `short` allows, which would wait for ever, and gets that."""
    encoder = {**TINY["encoders"]["tiny"], "max_steps": 10**6, "eval_steps": 10**6}
    overlay = project.overlay({**TINY, "encoders": {"tiny": encoder}})
    short = ("--default-resources", "slurm_partition=short", "slurm_extra='--signal=TERM@60'")
    process = project.train(*overlay, *short)
    went_on = re.compile(r"stopped by a signal after step(.|\n)*resuming after")
    try:
        deadline = time.monotonic() + 1800
        while not any(map(went_on.search, project.logs())):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(1)
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    assert "runtime=3," in output
