"""The whole pipeline on a tiny sample: made once, left alone, disturbed, killed, resumed."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloze.files import read_json, sha256_file
from cloze.show.comparison import compare_results
from tests.workflow.project import Project
from tests.workflow.tiny_sample import TINY, shorten

pytestmark = pytest.mark.slow

DATASET = "results/sample/uncased-4k/sentences-128"
ENCODER = f"{DATASET}/tiny"
LOG = "logs/sample/uncased-4k/sentences-128/tiny/pretrain.log"
# A job each; two shards of training text and one of validation text; a seed's two encoders, each
# fine-tuned and evaluated.
STAGES = (
    *("extract_documents", "train_tokenizer", "collect_shards", "describe_corpus", "init_encoder"),
    *("pretrain", "show_pretraining", "prepare_task", "baselines", "find_contamination", "report"),
    "copy_report",
)
NUM_JOBS = len(STAGES) + 3 + 2 * 4
CPU = (
    "--set-resources",
    *(f"pretrain:{key}" for key in ("device=cpu", "precision=fp32", "compile=off")),
    "pretrain:checkpoint_seconds=0",
)


class Pipeline(Project):
    """A project with a tiny configuration laid over config.yaml."""

    def run(self, *arguments: str, config: dict[str, Any] | None = None) -> str:
        return self.snakemake(*self.arguments(*arguments, config=config))

    def arguments(self, *arguments: str, config: dict[str, Any] | None = None) -> tuple[str, ...]:
        return (*self.overlay(TINY if config is None else config), *CPU, *arguments)

    def weights(self) -> str:
        return sha256_file(self.folder / ENCODER / "model.safetensors")

    def metrics(self) -> dict[str, Any]:
        text = (self.folder / ENCODER / "metrics.json").read_text("utf-8")
        found: dict[str, Any] = json.loads(text)["metrics"]
        return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    pipeline = Pipeline(tmp_path_factory.mktemp("pipeline"))
    shorten(pipeline)
    pipeline.run("--cores", "8")
    return pipeline


@pytest.fixture
def pipeline(finished: Pipeline, tmp_path: Path) -> Pipeline:
    """A copy of the finished project, times included."""
    copy = Pipeline.__new__(Pipeline)
    copy.folder = tmp_path / "project"
    shutil.copytree(finished.folder, copy.folder, symlinks=True)
    return copy


def test_the_report_holds_what_is_promised(finished: Pipeline) -> None:
    report = json.loads((finished.folder / "results" / "sst2_report.json").read_text("utf-8"))
    accuracies = [
        report["accuracy"]["mean"],
        *report["accuracy"]["per_seed"].values(),
        report["baselines"]["majority"]["accuracy"],
        report["baselines"]["tfidf_logistic_regression"]["accuracy"],
        report["baselines"]["no_pretraining"]["accuracy"]["mean"],
    ]
    assert all(0 <= accuracy <= 1 for accuracy in accuracies)
    assert len(report["accuracy"]["per_seed"]) == 2
    assert report["recipe"]["corpus"] == "sample"
    text = (finished.folder / "results" / "sst2_report.txt").read_text("utf-8")
    assert "sample-reviews" in text
    assert "corpus: sample" in (finished.folder / "results" / "config.yaml").read_text("utf-8")


def test_one_fine_tuning_is_evaluated_on_every_split_that_reports_ask_for(
    pipeline: Pipeline,
) -> None:
    files = [f"resources/sample/reviews-{name}.tsv" for name in ("validation", "train")]
    splits = {"test": files[0], "splits": {"seen": files[1]}}
    asked = {**TINY, "tasks": {"sample-reviews": {**TINY["tasks"]["sample-reviews"], **splits}}}
    asked["reports"] = {
        "sst2": {"task": "sample-reviews"},
        "seen": {"task": "sample-reviews", "split": "seen"},
    }
    output = pipeline.run("--cores", "2", config=asked)
    assert output.count("rule finetune:") == 2 * len(asked["seeds"])
    assert output.count("rule evaluate:") == 3 * 2 * len(asked["seeds"])
    results = pipeline.folder / "results"
    sst2, seen = (
        json.loads((results / f"{name}_report.json").read_text("utf-8"))
        for name in ("sst2", "seen")
    )
    assert (sst2["split"], [*sst2["other_splits"]]) == ("validation", ["test"])
    # The same file under two names.
    assert sst2["other_splits"]["test"]["score"] == sst2["score"]
    assert (seen["split"], seen["other_splits"]) == ("seen", {})
    assert seen["overlap"]["with_training_split"]["equal"] == seen["examples"]
    assert "Nothing to be done" in pipeline.run("--cores", "2", config=asked)


def test_a_second_run_has_nothing_to_do(finished: Pipeline) -> None:
    assert "Nothing to be done" in finished.run("--cores", "2")


def test_every_job_left_a_log_and_a_benchmark(finished: Pipeline) -> None:
    logs = {path.relative_to(finished.folder) for path in finished.folder.glob("logs/**/*.log")}
    benchmarks = {
        path.relative_to(finished.folder)
        for path in finished.folder.glob("logs/**/*.benchmark.tsv")
    }
    assert len(logs) == len(benchmarks) == NUM_JOBS
    assert {path.with_suffix(".benchmark.tsv") for path in logs} == benchmarks


def test_the_figures_make_a_report_without_a_network(pipeline: Pipeline) -> None:
    pipeline.run("--report", "report.html")
    page = (pipeline.folder / "report.html").read_text("utf-8")
    for name in ("loss_curve.svg", "masked_examples.html", "sst2_figure.svg"):
        assert name in page


def test_a_shard_remade_leads_to_no_training_step(pipeline: Pipeline) -> None:
    shard = pipeline.folder / DATASET / "train-00001-of-00002.msgpack.gz"
    weights, train_seconds = pipeline.weights(), pipeline.metrics()["train_seconds"]
    digest = sha256_file(shard)
    shard.unlink()
    # Small shards are compared by content; the flag plans what large ones would.
    output = pipeline.run("--cores", "2", "--forcerun", "segment_text_sentences-128")
    assert "rule pretrain" in output
    assert "rule finetune" in output
    logs = [*pipeline.folder.glob("logs/sample/uncased-4k/sentences-128/**/finetune.log")]
    for log in [pipeline.folder / LOG, *logs]:
        assert "publishing it again without a step" in log.read_text("utf-8")
    assert len(logs) == 2
    assert sha256_file(shard) == digest
    assert pipeline.weights() == weights
    assert pipeline.metrics()["train_seconds"] == train_seconds


def test_a_touched_shard_leads_to_no_training_step(pipeline: Pipeline) -> None:
    train_seconds = pipeline.metrics()["train_seconds"]
    for shard in (pipeline.folder / DATASET).glob("*.msgpack.gz"):
        shard.touch()
    pipeline.run("--cores", "2")
    assert pipeline.metrics()["train_seconds"] == train_seconds


def test_a_hyper_parameter_changed_and_changed_back_trains_once(pipeline: Pipeline) -> None:
    weights, train_seconds = pipeline.weights(), pipeline.metrics()["train_seconds"]
    changed = {**TINY, "encoders": {"tiny": {**TINY["encoders"]["tiny"], "learning_rate": 2e-3}}}
    target = f"{ENCODER}/model.safetensors"
    pipeline.run("--cores", "2", target, config=changed)
    assert pipeline.weights() != weights
    assert pipeline.metrics()["resumed_from"] == []
    pipeline.run("--cores", "2", target)
    assert pipeline.weights() == weights
    assert pipeline.metrics()["train_seconds"] == train_seconds


def test_there_and_back_again_copies_only_the_report(pipeline: Pipeline) -> None:
    folder = pipeline.folder / "resources" / "sample"
    text = (folder / "corpus.txt").read_text("utf-8")
    (folder / "other.txt").write_text(text.replace("film", "movie"), "utf-8")
    other = {"corpora": {"other": {"format": "paragraphs", "files": [str(folder / "other.txt")]}}}
    pipeline.run("--cores", "2", config={**TINY, **other, "corpus": "other"})
    report = (pipeline.folder / "results" / "sst2_report.txt").read_text("utf-8")
    assert report.splitlines()[2].split() == ["model", ENCODER.replace("/sample/", "/other/")]
    kept = pipeline.folder / ENCODER / "sample-reviews" / "sst2_report.txt"
    assert kept.read_text("utf-8").splitlines()[2].split() == ["model", ENCODER]
    output = pipeline.run("--cores", "2", config={**TINY, **other})
    assert {line.split()[-1] for line in output.splitlines() if "rule " in line} == {
        "copy_report:",
        "all:",
    }
    copied = pipeline.folder / "results" / "sst2_report.txt"
    assert copied.read_bytes() == kept.read_bytes()


def test_one_seed_of_other_settings_is_not_averaged_with_those_before(pipeline: Pipeline) -> None:
    folder = pipeline.folder / ENCODER / "sample-reviews"
    before = compare_results(pipeline.folder / "results")
    assert before.stale == before.names == []
    shorter = {"tiny": {**TINY["encoders"]["tiny"], "max_steps": 20}}
    pipeline.run("--cores", "2", config={**TINY, "encoders": shorter, "seeds": [1]})
    found = compare_results(pipeline.folder / "results")
    seeds = {row["run"]: row["seeds"] for row in found.rows if "seeds" in row}
    assert seeds[folder.relative_to(pipeline.folder / "results").as_posix()] == 1
    left_out = [sentence.partition(" ")[0] for sentence in found.stale]
    assert left_out == [f"{folder}/seed-2/validation"]
    assert any(name.startswith("encoders.tiny.max_steps is ") for name in found.names)
    steps = [
        yaml.safe_load((place / "recipe.yaml").read_text("utf-8"))["encoders"]["tiny"]["max_steps"]
        for place in (pipeline.folder / ENCODER, folder / "seed-1", folder / "seed-2")
    ]
    assert steps == [20, 20, 30]


def wait_for_checkpoint(process: subprocess.Popen[str], runs: Path) -> Path:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        if found := list(runs.glob("*/checkpoint-*/state.json")):
            return found[0].parents[1]
        time.sleep(0.02)
    raise AssertionError("no checkpoint came")


def forget_training(pipeline: Pipeline) -> None:
    """Leave the stages before pretraining, and nothing of it."""
    shutil.rmtree(pipeline.folder / ENCODER)


def long_run(steps: int) -> dict[str, Any]:
    return {**TINY, "encoders": {"tiny": {**TINY["encoders"]["tiny"], "max_steps": steps}}}


def test_killed_while_training_and_started_again_it_ends_with_the_same_weights(
    pipeline: Pipeline,
) -> None:
    target, config = f"{ENCODER}/model.safetensors", long_run(100)
    forget_training(pipeline)
    pipeline.run("--cores", "2", target, config=config)
    uninterrupted = pipeline.weights()
    assert pipeline.metrics()["resumed_from"] == []

    forget_training(pipeline)
    process = pipeline.start(*pipeline.arguments("--cores", "2", target, config=config))
    run = wait_for_checkpoint(process, pipeline.folder / ENCODER / ".runs")
    os.kill(int((run / "lock").read_text()), signal.SIGKILL)
    process.communicate()
    assert process.returncode == 1
    assert not (pipeline.folder / target).exists()

    pipeline.run("--cores", "2", target, config=config)
    assert pipeline.metrics()["resumed_from"] != []
    assert pipeline.weights() == uninterrupted


def test_ctrl_c_saves_says_so_and_the_same_command_goes_on(pipeline: Pipeline) -> None:
    target, config = f"{ENCODER}/model.safetensors", long_run(400)
    forget_training(pipeline)
    arguments = pipeline.arguments("--cores", "2", target, config=config)
    process = pipeline.start_as_people_do(*arguments)
    wait_for_checkpoint(process, pipeline.folder / ENCODER / ".runs")
    # As a terminal does: to Snakemake and to what it has started.
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 1
    assert "stopped by a signal after" in output
    assert "run the same command again to go on" in output
    assert "Stopped with 1 of 1 jobs left; the same command goes on" in output
    assert "Traceback" not in output
    pipeline.run("--cores", "2", target, config=config)
    assert pipeline.metrics()["resumed_from"] != []


def test_people_see_a_line_a_job_and_last_the_score(pipeline: Pipeline) -> None:
    process = pipeline.start_as_people_do(
        *pipeline.arguments("--cores", "2", "results/sst2_report.txt", config=long_run(20))
    )
    output, _ = process.communicate()
    assert process.returncode == 0, output
    lines = [line.split() for line in output.splitlines()]
    jobs = {line[1]: line for line in lines if len(line) > 1 and "/" in line[0]}
    assert jobs["pretrain"][2:3] == ["tiny"]
    assert "validation loss" in " ".join(jobs["pretrain"])
    assert "accuracy" in jobs["evaluate"]
    *_, score, report = output.splitlines()
    assert score.startswith("sst2: accuracy ")
    assert report.strip() == (
        "report: results/sst2_report.txt, and results/sst2_report.html for a browser"
    )
    assert max(map(len, output.splitlines())) < 200
    log = max((pipeline.folder / ".snakemake/log").iterdir())
    assert "python scripts/pretrain.py --dataset" in log.read_text("utf-8")


def test_an_orphan_of_a_killed_snakemake_is_named_and_its_work_is_kept(pipeline: Pipeline) -> None:
    target, config = f"{ENCODER}/model.safetensors", long_run(400)
    forget_training(pipeline)
    arguments = pipeline.arguments("--cores", "2", target, config=config)
    process = pipeline.start(*arguments)
    run = wait_for_checkpoint(process, pipeline.folder / ENCODER / ".runs")
    orphan = read_json(run / "lock")["process"]
    try:
        process.kill()
        process.wait()
        assert "Error: Directory cannot be locked" in pipeline.snakemake(*arguments, code=1)
        pipeline.run("--unlock", config=config)
        output = pipeline.snakemake(*arguments, code=1)
        assert re.search(f"process {orphan} on .* is still training this very run", output)
        assert f"kill {orphan}" in output
    finally:
        os.kill(orphan, signal.SIGKILL)
    pipeline.run("--cores", "2", target, config=config)
    assert pipeline.metrics()["resumed_from"] != []
