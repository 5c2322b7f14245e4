"""What a configuration asks for: runs, their reports, averages, and the folders of results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloze.errors import ClozeError
from cloze.settings.checking import require_known
from cloze.settings.entries import (
    AdaptedEntry,
    Configuration,
    EncoderEntry,
    ImportedEntry,
    MixtureEntry,
    PhaseEntry,
    ReportEntry,
)
from cloze.settings.relations import check_pretraining

PICKS = {
    "corpus": "corpora",
    "tokenizer": "tokenizers",
    "dataset": "datasets",
    "encoder": "encoders",
}
"""What a run picks, and from which table."""


@dataclass(frozen=True)
class Report:
    """What a report tells of: a task, perhaps beside an encoder from elsewhere.

    `splits`: those it tells of, first the one of its headline.
    """

    task: str
    ceiling: str | None = None
    splits: tuple[str, ...] = ("validation",)


@dataclass(frozen=True)
class Adaptation:
    """What an encoder goes on from.

    base: the encoder from elsewhere. new_pieces: how many its vocabulary is extended by. corpora:
    those whose held-out text is compared before and after.
    """

    base: str
    new_pieces: int
    corpora: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Where the encoder lies as it was before."""
        return imported_folder(self.base)

    @property
    def tokenizer(self) -> str:
        """The name of its tokenizer, which no table has: encoders of one base share it."""
        return f"{self.base}+{self.new_pieces}"


@dataclass(frozen=True)
class Run:
    """One name picked from each table; `reports` maps a report's file name to what it tells of.

    An encoder from elsewhere has no `architecture` of ours, and needs none of corpus,
    tokenizer and data set. One that is adapted has none either, and a `tokenizer` of its own.
    """

    corpus: str
    tokenizer: str
    dataset: str
    encoder: str
    architecture: str | None
    seeds: tuple[int, ...]
    reports: Mapping[str, Report]
    suffix: str = ""
    """How the names of its reports end."""
    phases: tuple[str, ...] = ()
    """The data set of each phase of pretraining after the first."""
    adaptation: Adaptation | None = None

    @property
    def is_imported(self) -> bool:
        """Does the encoder come from elsewhere?"""
        return self.architecture is None and self.adaptation is None

    @property
    def documents_folder(self) -> str:
        """Where the corpus's documents lie."""
        return f"results/{self.corpus}/documents"

    @property
    def tokenizer_folder(self) -> str:
        """Where the tokenizer lies."""
        return f"results/{self.corpus}/{self.tokenizer}"

    @property
    def dataset_folders(self) -> list[str]:
        """Where the shards of each phase of pretraining lie; an import has none."""
        if self.is_imported:
            return []
        return [f"{self.tokenizer_folder}/{name}" for name in (self.dataset, *self.phases)]

    @property
    def phase_folders(self) -> list[str]:
        """Where the encoder lies as each phase of its pretraining left it."""
        first = f"{self.tokenizer_folder}/{self.dataset}/{self.encoder}"
        return [first, *(f"{first}/phase-{number + 2}" for number in range(len(self.phases)))]

    @property
    def encoder_folder(self) -> str:
        """Where the pretrained encoder lies, with a folder for each task below it."""
        return imported_folder(self.encoder) if self.is_imported else self.phase_folders[-1]

    def report_place(self, report: str) -> str:
        """Return where one of its reports lies, up to `_report.txt` and so on."""
        return f"{self.encoder_folder}/{self.reports[report].task}/{report}"

    @property
    def scratch_folder(self) -> str:
        """Where the encoder without pretraining lies; many recipes share it."""
        return f"{self.tokenizer_folder}/scratch/{self.architecture}"


def imported_folder(encoder: str) -> str:
    """Return where an encoder from elsewhere lies."""
    return f"results/imported/{encoder}"


def is_from_scratch(model: str) -> bool:
    """Tell whether a model folder holds an encoder without pretraining.

    No name in a table of the configuration can be `scratch`.
    """
    return "/scratch/" in model


def resolve_runs(settings: Configuration) -> list[Run]:
    """Return every run, the one that is no variant first.

    Raises `ClozeError` for a pick that is in no table, for an encoder that cannot learn what it
    should, and for two runs that write one report.
    """
    picks = {key: getattr(settings, key) for key in (*PICKS, "seeds", "reports")}
    runs = [_resolve_run(settings, picks, "", "")]
    for position, entry in enumerate(settings.runs):
        where = f"runs[{position}]"
        changes = {key: getattr(entry, key) for key in picks if getattr(entry, key) is not None}
        name = entry.name or "-".join(changes[key] for key in PICKS if key in changes)
        if not name:
            raise ClozeError(f"config: {where}.name: missing; it ends the report's file name")
        runs.append(_resolve_run(settings, {**picks, **changes}, f"{where}.", f"-{name}"))
    reports = [report for run in runs for report in run.reports]
    for report in reports:
        if reports.count(report) > 1:
            raise ClozeError(
                f"config: runs: two runs write results/{report}_report.txt; "
                "give one of them another name"
            )
    return runs


def _resolve_run(settings: Configuration, picks: Mapping[str, Any], where: str, suffix: str) -> Run:
    for key, table in PICKS.items():
        require_known(picks[key], getattr(settings, table), table, f"{where}{key}")
    encoder = settings.encoders[picks["encoder"]]
    check_pretraining(settings, picks["encoder"], picks["dataset"])
    architecture: str | None = None
    phases: list[PhaseEntry] = []
    if isinstance(encoder, EncoderEntry):
        architecture, phases = encoder.architecture, encoder.phases
    adaptation = adaptation_of(settings, picks["encoder"], picks["corpus"])
    if adaptation is not None:
        picks = {**picks, "tokenizer": adaptation.tokenizer}
    return Run(
        **{key: picks[key] for key in PICKS},
        architecture=architecture,
        phases=tuple(phase.dataset for phase in phases),
        seeds=tuple(picks["seeds"]),
        reports={
            f"{name}{suffix}": _resolve_report(settings, report, f"{where}reports.{name}")
            for name, report in picks["reports"].items()
        },
        suffix=suffix,
        adaptation=adaptation,
    )


def adaptation_of(settings: Configuration, encoder: str, corpus: str) -> Adaptation | None:
    """Return what an encoder goes on from, to learn a corpus; None if it is not adapted."""
    entry = settings.encoders[encoder]
    if not isinstance(entry, AdaptedEntry):
        return None
    base = entry.adapt if entry.adapt in settings.encoders else encoder
    learned = settings.corpora[corpus]
    corpora = list(learned.mixture) if isinstance(learned, MixtureEntry) else [corpus]
    if entry.general_corpus is not None:
        corpora.append(entry.general_corpus)
    return Adaptation(base, entry.extend_vocabulary, tuple(dict.fromkeys(corpora)))


def _resolve_report(settings: Configuration, report: ReportEntry, path: str) -> Report:
    """A report of one split tells of it alone, any other of validation and test."""
    require_known(report.task, settings.tasks, "tasks", f"{path}.task")
    if report.ceiling is not None:
        imported = [n for n, entry in settings.encoders.items() if isinstance(entry, ImportedEntry)]
        require_known(report.ceiling, imported, "encoders with pretrained", f"{path}.ceiling")
    there = settings.tasks[report.task].evaluation_splits
    if report.split is None:
        splits = tuple(split for split in ("validation", "test") if split in there)
        return Report(report.task, report.ceiling, splits)
    require_known(report.split, there, f"the splits of tasks.{report.task}", f"{path}.split")
    return Report(report.task, report.ceiling, (report.split,))


@dataclass(frozen=True)
class Average:
    """An average over reports of one run: names of the reports of each of its tasks."""

    name: str
    run: Run
    tasks: Sequence[Sequence[str]]

    @property
    def place(self) -> str:
        """Where it lies, up to `_report.txt` and so on."""
        return f"{self.run.encoder_folder}/{self.name}"


def resolve_averages(
    averages: Mapping[str, Sequence[str]], runs: Sequence[Run]
) -> dict[str, Average]:
    """Return name to average, one for every run that has all its reports.

    `averages` maps a name to entries such as `sst2` or `mnli+mnli-mismatched`, names of
    reports of the first run, which is no variant. Raises `ClozeError` for an unknown report
    and for a name that a report has.
    """
    found: dict[str, Average] = {}
    for name, entries in averages.items():
        tasks = [entry.split("+") for entry in entries]
        for report in (report for task in tasks for report in task):
            require_known(report, runs[0].reports, "reports", f"averages.{name}")
        for run in runs:
            if run.reports.keys() >= {f"{r}{run.suffix}" for task in tasks for r in task}:
                own = [[f"{report}{run.suffix}" for report in task] for task in tasks]
                found[f"{name}{run.suffix}"] = Average(f"{name}{run.suffix}", run, own)
    for name in found:
        if any(name in run.reports for run in runs):
            raise ClozeError(
                f"config: averages.{name}: a report has this name too; give one of them another"
            )
    return found
