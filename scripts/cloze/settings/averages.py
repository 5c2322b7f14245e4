"""Averages over reports: which reports each of them is made of."""

from collections.abc import Collection, Iterable, Mapping

from cloze.errors import ClozeError
from cloze.settings.runs import Run
from cloze.settings.schema import require_known


def resolve_averages(
    averages: Mapping[str, Iterable[str]], base: Run, runs: Iterable[Run], reports: Collection[str]
) -> dict[str, list[list[str]]]:
    """Return average to the reports of each of its tasks, for every run that has them all.

    `averages` maps a name to entries such as `sst2` or `mnli+mnli-mismatched`, names of
    reports of `base`, the run that is no variant. Raises `ClozeError` for an unknown report
    and for a name that a report has.
    """
    found: dict[str, list[list[str]]] = {}
    for name, entries in averages.items():
        tasks = [entry.split("+") for entry in entries]
        for report in (report for task in tasks for report in task):
            require_known(report, base.reports, "reports", f"averages.{name}")
        for run in runs:
            if run.reports.keys() >= {f"{r}{run.suffix}" for task in tasks for r in task}:
                found[f"{name}{run.suffix}"] = [
                    [f"{report}{run.suffix}" for report in task] for task in tasks
                ]
    for name in found:
        if name in reports:
            raise ClozeError(
                f"config: averages.{name}: a report has this name too; give one of them another"
            )
    return found
