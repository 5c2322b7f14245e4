import io
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cloze.cli import PROGRESS_VARIABLE, make_parser, progress, progress_file, run_script
from cloze.show.run_display import RunDisplay
from cloze.show.run_figures import describe_report
from cloze.show.run_jobs import Job, TimeLeft

MODEL = "sample/uncased-4k/sentences-128/tiny"
SCRATCH = "sample/uncased-4k/scratch/modernbert-tiny"


def job_info(jobid: int, rule: str, reason: str = "", **wildcards: str) -> dict[str, Any]:
    return {
        "event": "job_info", "jobid": jobid, "rule_name": rule, "wildcards": wildcards,
        "output": [], "log": [f"logs/{rule}.log"], "reason": reason,
    }  # fmt: skip


def finetune(jobid: int, model: str = MODEL, seed: int = 1, reason: str = "") -> dict[str, Any]:
    return job_info(jobid, "finetune", reason, model=model, task="sample-reviews", seed=str(seed))


def shown(*records: dict[str, Any], is_plan: bool = False, ends: bool = False) -> list[str]:
    """The lines that a display prints of these records."""
    stream = io.StringIO()
    display = RunDisplay(stream, 2, is_plan, lambda: ["the score"])
    for values in records:
        display.handle(logging.makeLogRecord({"levelno": logging.INFO, **values}))
    if ends:
        display.end()
    return stream.getvalue().splitlines()


def run_info(**stats: int) -> dict[str, Any]:
    return {"event": "run_info", "stats": {**stats, "total": sum(stats.values())}}


def finished(jobid: int) -> dict[str, Any]:
    return {"event": "job_finished", "job_id": jobid}


def test_a_finished_job_is_one_line_with_stage_subject_and_seconds() -> None:
    lines = shown(run_info(finetune=2), finetune(7, SCRATCH, seed=2), finished(7))
    assert lines[0].startswith("2 jobs;")
    about = "modernbert-tiny without pretraining, sample-reviews, seed 2"
    assert " ".join(lines[1].split()) == f"1/2 finetune {about} 0 s"


def test_a_first_phase_is_told_by_its_encoder_alone() -> None:
    first = job_info(1, "pretrain", encoder="tiny", phase="")
    second = job_info(2, "pretrain", encoder="tiny", phase="/phase-2")
    lines = shown(run_info(pretrain=2), first, second, finished(1), finished(2))
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "1/2 pretrain tiny 0 s",
        "2/2 pretrain tiny, phase-2 0 s",
    ]


def test_the_line_ends_with_the_headline_figure(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.json"
    metrics.write_text(json.dumps({"metrics": {"metric": "accuracy", "score": 0.9125}}))
    info = job_info(1, "evaluate", model=MODEL, task="sample-reviews", seed="1", split="validation")
    lines = shown(run_info(evaluate=1), {**info, "output": [str(metrics)]}, finished(1))
    assert lines[1].endswith("0 s  accuracy 0.9125")


def test_what_snakemake_says_of_itself_is_left_out_and_anything_else_is_not() -> None:
    said = ("Building DAG of jobs...", "Provided cores: 2", "Complete log(s): a", "Disk is full")
    assert shown(*({"msg": text} for text in said)) == ["Disk is full"]


def test_a_run_ends_with_the_score() -> None:
    lines = shown(run_info(finetune=1), finetune(1), finished(1), ends=True)
    assert lines[-2:] == ["", "the score"]


def test_where_nothing_is_to_be_done_the_score_is_told_again() -> None:
    lines = shown({"msg": "Nothing to be done (all requested files are present and up to date)."})
    assert lines[-1] == "the score"


def test_a_failed_job_is_named_with_its_log_and_the_rest_counted() -> None:
    failed = {**finetune(3), "event": "job_error"}
    lines = shown(run_info(finetune=3), finetune(2), finetune(3), finished(2), failed, ends=True)
    assert lines[2] == " failed  finetune tiny, sample-reviews, seed 1; its log: logs/finetune.log"
    assert lines[-1].startswith("1 job failed, 2 of 3 are left")


def test_an_interrupted_run_says_that_the_same_command_goes_on() -> None:
    interrupted = {"msg": "Terminating processes on user request, this might take some time."}
    failed = {**finetune(2), "event": "job_error"}
    started = (run_info(finetune=2), finetune(1), finished(1), finetune(2))
    lines = shown(*started, interrupted, failed, ends=True)
    assert len(lines) == 4
    assert lines[-1] == "Stopped with 1 of 2 jobs left; the same command goes on where they were"


def test_a_plan_is_a_line_a_stage_with_its_reason() -> None:
    changed = "Params have changed since last execution: before: <a; B> now: <c>"
    follows = "Input files updated by another job: results/a"
    jobs = (
        job_info(1, "collect_short", "Missing output files: a, b; " + follows, corpus="sample"),
        *(finetune(seed, seed=seed, reason=follows) for seed in (2, 3)),
        job_info(4, "pretrain", changed, corpus="sample", encoder="tiny"),
    )
    lines = shown(run_info(), *jobs, run_info(), is_plan=True)
    assert lines[0] == "4 jobs would run:"
    assert [line.split(None, 2) for line in lines[2:5]] == [
        ["1", "collect", "short                           not made yet"],
        ["2", "finetune", "tiny, sample-reviews            follows from the above"],
        ["1", "pretrain", "tiny                            its settings or its code have changed"],
    ]
    assert "Nothing was made" in lines[-1]


class TestTimeLeft:
    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        return tmp_path / "pretrain.log"

    def running(self, rule: str, log: Path, seconds: float, text: str) -> Job:
        progress_file(log).write_text(text)
        job = Job(rule, {}, [], str(log))
        job.started -= seconds
        return job

    def test_nothing_is_said_before_pretraining_shows_its_speed(self, log: Path) -> None:
        left = TimeLeft(cores=2)
        left.plan(Counter(pretrain=1, finetune=2))
        assert left.describe([]) == ""
        assert left.describe([self.running("pretrain", log, 5, "tokenise: 50.0")]) == ""

    def test_it_adds_up_what_runs_and_what_waits(self, log: Path) -> None:
        left = TimeLeft(cores=2)
        left.plan(Counter(pretrain=1, finetune=3))
        job = self.running("pretrain", log, 30, "train: 50.0")
        assert left.describe([job]) == "at least 40 s left in all"
        left.note("finetune", 20)
        assert left.describe([job]) == "about 50 s left in all"


def test_a_script_writes_how_far_it_is_beside_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROGRESS_VARIABLE, "1")
    log, seen = tmp_path / "logs" / "count.log", []

    def run(args: object) -> None:
        for number in progress(range(4), total=4, description="count", miniters=1):
            seen.append((number, Job("count", {}, [], str(log)).share_done()))

    monkeypatch.setattr("cloze.cli.PROGRESS_SECONDS", 0)
    assert run_script(make_parser("Counts."), run, ["--log", str(log)]) == 0
    assert seen == [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75)]


def test_a_bar_within_the_training_does_not_tell_how_far_it_is(tmp_path: Path) -> None:
    log = tmp_path / "finetune.log"
    job = Job("finetune", {}, [], str(log))
    said = []
    for text in ("tokenise: 50.0", "train: 25.0", "predict: 90.0", "", "\x1b[A"):
        progress_file(log).write_text(text)
        said.append(job.share_done())
    assert said == [0, 0.25, 0.25, 0.25, 0.25]


def test_a_report_is_told_in_a_line_and_where_it_lies(tmp_path: Path) -> None:
    score = {"metric": "accuracy", "mean": 0.912, "std": 0.004}
    gain = {"difference": 0.2, "ci95": [0.18, 0.22]}
    report = {"name": "sst2", "score": score, "paired_difference": gain}
    (tmp_path / "sst2_report.json").write_text(json.dumps(report))
    path = tmp_path / "sst2_report"
    assert [*describe_report(path)] == [
        "sst2: accuracy 91.20 % ± 0.40; pretraining +20.00 [+18.00, +22.00] points",
        f"  report: {path}.txt",
    ]
    assert [*describe_report(tmp_path / "other_report")] == []
