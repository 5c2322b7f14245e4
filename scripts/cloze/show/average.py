"""The average over the reports of several tasks, as a benchmark such as GLUE has it."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from cloze.errors import ClozeError
from cloze.show.report_text import subject_lines
from cloze.show.text_layout import METRIC_NAMES, paragraph, percent, table
from cloze.tasks.statistics import summarise

# What is averaged, with its name in the text and the place of its score in a report.
_ARMS = {
    "this_encoder": "this encoder",
    "no_pretraining": "no pretraining",
    "tfidf_logistic_regression": "TF-IDF",
    "majority": "majority",
}

Report = Mapping[str, Any]


def average_reports(name: str, tasks: Sequence[Sequence[Report]]) -> dict[str, Any]:
    """Return each task's scores and their averages.

    tasks: the reports (as `build_report` returns) of each task; several of one task, such as
    MNLI's matched and mismatched rows, count as their mean (Wang et al. 2019, §2). An arm that
    some report lacks has no average. Scores lie between 0 and 1; the interval is Student's t
    over the averages of each seed. Raises `ClozeError` if the reports have other seeds or are of
    different encoders.
    """
    seeds = list(tasks[0][0]["score"]["per_seed"])
    encoder = _encoder(tasks[0][0])
    for report in (report for task in tasks for report in task):
        if _encoder(report) != encoder:
            raise ClozeError(
                f"{report['name']}: is of another encoder than {tasks[0][0]['name']}; average "
                "reports of one encoder, such as those below its folder"
            )
        if list(report["score"]["per_seed"]) != seeds:
            raise ClozeError(
                f"{report['name']}: has the seeds {', '.join(report['score']['per_seed'])}, "
                f"{tasks[0][0]['name']} has {', '.join(seeds)}; an average needs the same of all"
            )
    rows = [
        {
            "name": "+".join(report["name"] for report in task),
            "metric": task[0]["score"]["metric"],
            "scores": {arm: _summary([task], arm) for arm in _ARMS if _has(task, arm)},
        }
        for task in tasks
    ]
    first = tasks[0][0]
    return {
        "name": name,
        "model": first.get("model"),
        "recipe": {key: pick for key, pick in first.get("recipe", {}).items() if key != "task"},
        "encoder": encoder,
        "tasks": rows,
        "average": {
            arm: _summary(tasks, arm) for arm in _ARMS if all(_has(task, arm) for task in tasks)
        },
    }


def _encoder(report: Report) -> Any:
    """The hashes of what was fine-tuned; reports that were kept from earlier versions have none."""
    return report.get("finetuning", {}).get("encoder")


def _score(report: Report, arm: str) -> Any:
    if arm == "this_encoder":
        return report["score"]
    return report["baselines"].get(arm, {}).get("score")


def _has(task: Sequence[Report], arm: str) -> bool:
    return all(_score(report, arm) is not None for report in task)


def _by_seed(tasks: Sequence[Sequence[Report]], arm: str) -> dict[str, float]:
    """Return seed to the mean over tasks; a baseline without seeds has one entry, named `all`."""
    scores = [[_score(report, arm) for report in task] for task in tasks]
    first = scores[0][0]
    if not isinstance(first, Mapping):
        return {"all": fmean(fmean(task) for task in scores)}
    return {
        seed: fmean(fmean(score["per_seed"][seed] for score in task) for task in scores)
        for seed in first["per_seed"]
    }


def _summary(tasks: Sequence[Sequence[Report]], arm: str) -> dict[str, Any]:
    by_seed = _by_seed(tasks, arm)
    summary = summarise(list(by_seed.values()))
    interval = None if summary.ci95 is None else list(summary.ci95)
    return {"mean": summary.mean, "std": summary.std, "ci95": interval, "per_seed": by_seed}


def render_average(average: Mapping[str, Any]) -> str:
    """Return the text of what `average_reports` returned, scores times 100."""
    arms = list(average["average"])
    header = ("", *(_ARMS[arm] for arm in arms), "measure")
    rows = [
        (
            task["name"],
            *(_shown(task["scores"].get(arm)) for arm in arms),
            METRIC_NAMES[task["metric"]],
        )
        for task in average["tasks"]
    ]
    rows.append(("average", *(_shown(average["average"][arm]) for arm in arms), ""))
    title = f"{average['name']}: average of {len(average['tasks'])} tasks"
    bounds = average["average"]["this_encoder"]["ci95"]
    note = (
        "One seed only: no deviation and no interval."
        if bounds is None
        else f"95 % interval of the average over seeds: {percent(bounds[0])} to "
        f"{percent(bounds[1])}. It knows of the seeds, not of the choice of rows; each task's "
        "own report has intervals over its rows."
    )
    lines = [title, "=" * len(title), *subject_lines(average), "", *table(header, rows), ""]
    lines += paragraph(note)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _shown(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "-"
    spread = "" if score["std"] is None else f" ± {percent(score['std'])}"
    return f"{percent(score['mean'])}{spread}"
