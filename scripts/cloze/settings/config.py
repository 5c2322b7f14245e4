"""`config.yaml`: read, completed, checked, and resolved to runs.

The workflow and the scripts about a whole configuration read it; the steps never do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from cloze.errors import ClozeError
from cloze.files import require_file
from cloze.settings.checking import check
from cloze.settings.corpora import PartSettings
from cloze.settings.encoders import ImportSettings
from cloze.settings.entries import EncoderEntry, ImportedEntry, MixtureEntry, PhaseEntry
from cloze.settings.fields import keys_of, render_flags
from cloze.settings.files import InputFiles
from cloze.settings.finetuning import FinetuningRecipe, TextSettings
from cloze.settings.parts import CorpusPart, corpus_parts
from cloze.settings.pretraining import (
    AdaptationSettings,
    MonitoringSettings,
    PretrainingLength,
    PretrainingSettings,
)
from cloze.settings.relations import check_entries, check_kinds
from cloze.settings.runs import (
    Adaptation,
    Report,
    Run,
    adaptation_of,
    resolve_averages,
    resolve_runs,
)

_SHARD_SUFFIXES = {"msgpack": "msgpack.gz", "parquet": "parquet"}


class Config:
    """A completed and checked configuration."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        """Complete and check `raw`; raises `ClozeError` with one sentence about the first problem.

        `raw` is what the YAML files and `--config` say together.
        """
        check_kinds(raw)
        self.settings = check(_with_inherited(raw))
        """Every entry as the class that declares its keys."""
        check_entries(self.settings)
        self.values: dict[str, Any] = plain(self.settings)
        """The same as plain values, without the keys that have none."""
        self.runs = resolve_runs(self.settings)
        self.averages = resolve_averages(self.settings.averages, self.runs)
        """Name to average, of every run that has its reports."""
        self.files = InputFiles(self.values)

    @property
    def adapted_tokenizers(self) -> dict[str, Adaptation]:
        """The tokenizers that come with encoders which are adapted, by their names."""
        found = (self.adaptation(encoder) for encoder in self.settings.encoders)
        return {each.tokenizer: each for each in found if each is not None}

    def adaptation(self, encoder: str) -> Adaptation | None:
        """Return what an encoder goes on from, whatever it learns; None if it is not adapted."""
        return adaptation_of(self.settings, encoder, self.settings.corpus)

    @property
    def mirror(self) -> str | None:
        """The folder or server that stands in for every remote source."""
        return self.settings.mirror

    @property
    def reports(self) -> dict[str, tuple[Run, Report]]:
        """Report name to the run and to what it tells of it."""
        return {name: (run, report) for run in self.runs for name, report in run.reports.items()}

    @property
    def report_places(self) -> dict[str, str]:
        """Report or average to where it lies in its run's folder, up to `_report.txt` and so on."""
        reports = {name: run.report_place(name) for name, (run, _) in self.reports.items()}
        return reports | {name: average.place for name, average in self.averages.items()}

    @property
    def trained_encoders(self) -> list[str]:
        """The encoders that are pretrained or adapted here."""
        return [name for name in self.settings.encoders if self._phases(name)]

    @property
    def later_phases(self) -> range:
        """The numbers of phases after the first that some encoder has."""
        counts = (len(self._phases(name)) for name in self.settings.encoders)
        return range(2, 1 + max(counts, default=0))

    def pretraining(self, encoder: str, phase: int = 1) -> PretrainingSettings:
        """Return the recipe of an encoder's pretraining, or of a later phase of it.

        Raises `ClozeError` if it has no such phase.
        """
        phases = self._phases(encoder)
        if phase > len(phases):
            raise ClozeError(
                f"config: encoders.{encoder}.phases: names {len(phases) - 1}, after the first "
                f"one, and phase {phase} is asked for; add it there"
            )
        return phases[phase - 1]

    def phase_dataset(self, encoder: str, phase: int, dataset: str) -> str:
        """Return the data set of a phase; `dataset` is that of the first."""
        recipe = self.pretraining(encoder, phase)
        return recipe.dataset if isinstance(recipe, PhaseEntry) else dataset

    def kept_at(self, encoder: str) -> list[int]:
        """Return the percentages of its last phase at which an encoder's weights are kept."""
        phases = self._phases(encoder)
        return sorted(phases[-1].keep_at) if phases else []

    def _phases(self, encoder: str) -> list[PretrainingSettings]:
        """Return the recipe of each phase of an encoder; one taken as it is has none."""
        entry = self.settings.encoders[encoder]
        if isinstance(entry, ImportedEntry):
            return []
        return [entry, *(entry.phases if isinstance(entry, EncoderEntry) else ())]

    def names(self, table: str) -> list[str]:
        """Return the names in a table, `corpora` for example."""
        return list(self.values[table])

    def section(self, table: str, name: str) -> dict[str, Any]:
        """Return one entry of a table, completed with defaults."""
        return dict(self.values[table][name])

    def flags(self, table: str, name: str) -> list[str]:
        """Return the flags that one entry of a table stands for, those of monitoring apart."""
        return render_flags(getattr(self.settings, table)[name], without=MonitoringSettings)

    def pretraining_flags(self, encoder: str, phase: int, dataset: str) -> list[str]:
        """Return the flags of `pretrain.py` that decide the weights; rules add a run's folders.

        dataset: what the first phase trains on.
        """
        settings, adaptation = self.pretraining(encoder, phase), self.adaptation(encoder)
        if adaptation is not None:
            recipe = render_flags(settings, AdaptationSettings, without=MonitoringSettings)
            return ["--adapt", adaptation.folder, *recipe]
        recipe = render_flags(settings, without=MonitoringSettings)
        if phase == 1:
            architecture = self.section("encoders", encoder)["architecture"]
            return self.flags("architectures", architecture) + recipe
        return ["--trained-length", str(self.trained_length(encoder, phase, dataset)), *recipe]

    def trained_length(self, encoder: str, phase: int, dataset: str) -> int:
        """Return the longest texts, in tokens, that an encoder has seen before a later phase.

        That of `init_from` counts as trained on all its positions.
        """
        seen = [self.phase_dataset(encoder, before, dataset) for before in range(1, phase)]
        lengths = [self.settings.datasets[name].max_length for name in seen]
        entry = self.section("encoders", encoder)
        if "init_from" in entry:
            shape = self.settings.architectures[entry["architecture"]]
            lengths.append(shape.max_position_embeddings)
        return max(lengths)

    def import_flags(self, encoder: str) -> list[str]:
        """Return the flags of `import_encoder.py` for an encoder, taken as it is or adapted."""
        entry = self.settings.encoders[encoder]
        flags = render_flags(entry, ImportSettings) if isinstance(entry, ImportedEntry) else []
        return ["--pretrained", self.files.imported[encoder], *flags]

    def monitoring_flags(self, encoder: str, phase: int = 1) -> list[str]:
        """Return the flags of `pretrain.py` that change no weight."""
        return render_flags(self.pretraining(encoder, phase), MonitoringSettings)

    def part_flags(self, corpus: str) -> list[str]:
        """Return the flags of `extract_part.py`, its files apart."""
        return render_flags(self.settings.corpora[corpus], PartSettings)

    def mixture(self, corpus: str) -> dict[str, float]:
        """Return the corpora that a mixture is made of with their weights; empty if it is none."""
        entry = self.settings.corpora[corpus]
        return dict(entry.mixture) if isinstance(entry, MixtureEntry) else {}

    def decontaminated_tasks(self, corpus: str) -> list[str]:
        """Return the tasks whose evaluation sentences are removed from a corpus."""
        entry = self.settings.corpora[corpus]
        return [] if isinstance(entry, MixtureEntry) else list(entry.decontaminate)

    def parts(self, corpus: str) -> dict[str, CorpusPart]:
        """Return what of a corpus is extracted by jobs of their own; see `corpus_parts`.

        It looks at local folders and sizes, so a change on the disk may change it.
        """
        section = self.values["corpora"][corpus]
        files = self.files.corpora[corpus]
        return corpus_parts(files, section["format"], section["members"], self.files.downloads)

    def finetuning_flags(self, task: str, *, from_scratch: bool) -> list[str]:
        """Return the flags of `finetune.py` for a task, `--seed` apart."""
        return render_flags(self._finetuning(task, from_scratch))

    def evaluation_flags(self, task: str, *, from_scratch: bool) -> list[str]:
        """Return the flags of `evaluate.py`, which cuts texts where fine-tuning did."""
        return render_flags(self._finetuning(task, from_scratch), TextSettings)

    def _finetuning(self, task: str, from_scratch: bool) -> FinetuningRecipe:
        entry = self.settings.tasks[task]
        return entry.finetuning_from_scratch if from_scratch else entry.finetuning

    def as_yaml(self) -> str:
        """Return the completed configuration as YAML, keys in the order of their classes."""
        return yaml.safe_dump(self.values, sort_keys=False, allow_unicode=True)

    def dataset_method(self, dataset: str) -> str:
        """Return the script, without `.py`, that makes a data set's shards."""
        return self.settings.datasets[dataset].method

    def dataset_extension(self, dataset: str) -> str:
        """Return how the names of a data set's shards end."""
        return _SHARD_SUFFIXES[self.settings.datasets[dataset].format]

    def shard_names(self, dataset: str) -> list[str]:
        """Return the names of a data set's shards, without extension: training, validation."""
        count = self.settings.datasets[dataset].num_shards
        train = [f"train-{number:05d}-of-{count:05d}" for number in range(count)]
        return [*train, "validation-00000-of-00001"]

    def dataset_files(self, dataset: str) -> list[str]:
        """Return the names of the files of a data set that a trainer reads."""
        extension = self.dataset_extension(dataset)
        return ["manifest.json", *(f"{name}.{extension}" for name in self.shard_names(dataset))]


def load_config(files: Iterable[Path], settings: Mapping[str, Any] = {}) -> Config:
    """Read YAML files and `settings`, each laid over what is before, as Snakemake does.

    Reports of the first file are left out where anything laid over it names reports.
    """
    first, *others = map(_read, files)
    given: dict[str, Any] = {}
    for values in (*others, settings):
        given = _overlay(given, values)
    return Config(with_reports_of(given, _overlay(first, given)))


def with_reports_of(given: Mapping[str, Any], merged: Mapping[str, Any]) -> dict[str, Any]:
    """Return `merged` with the reports and averages of `given` alone, where it names reports.

    `given` is what was laid over `config.yaml`: who asks for a report does not ask for those of the
    sample too.
    """
    if "reports" not in given:
        return dict(merged)
    return {**merged, "reports": given["reports"], "averages": given.get("averages", {})}


def _read(file: Path) -> dict[str, Any]:
    try:
        return yaml.safe_load(require_file(file).read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ClozeError(f"{file}: not valid YAML ({error}); correct it") from error


def _overlay(below: Any, above: Any) -> Any:
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    merged = dict(below)
    for key, value in above.items():
        merged[key] = _overlay(merged[key], value) if key in merged else value
    return merged


def _with_inherited(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return `raw` with recipes that say what differs from another laid over that one.

    Those are each task's `finetuning_from_scratch` and each of an encoder's `phases`.
    """
    changes = {"tasks": _with_recipe_from_scratch, "encoders": _with_recipes_of_phases}
    return dict(raw) | {
        table: {
            name: change(entry) if isinstance(entry, Mapping) else entry
            for name, entry in raw[table].items()
        }
        for table, change in changes.items()
        if isinstance(raw.get(table), Mapping)
    }


def _with_recipe_from_scratch(task: Mapping[str, Any]) -> dict[str, Any]:
    above = task.get("finetuning_from_scratch") or {}
    return {**task, "finetuning_from_scratch": _overlay(task.get("finetuning") or {}, above)}


def _with_recipes_of_phases(encoder: Mapping[str, Any]) -> dict[str, Any]:
    """How long a phase lasts and how it is watched, and what `init_from` began, is its own."""
    phases = encoder.get("phases")
    if not isinstance(phases, list):
        return dict(encoder)
    own = {"reset_heads", *(key.name for key in keys_of(MonitoringSettings))}
    own |= {key.name for key in keys_of(PretrainingLength)}
    inherited = {key.name for key in keys_of(PretrainingSettings)} - own
    recipe = {key: value for key, value in encoder.items() if key in inherited}
    laid = [{**recipe, **phase} if isinstance(phase, Mapping) else phase for phase in phases]
    # At the end: a mistake in what they inherit is the encoder's.
    return {**{key: value for key, value in encoder.items() if key != "phases"}, "phases": laid}


def plain(value: Any) -> Any:
    """Return settings as plain values, without the keys that have none."""
    if is_dataclass(value):
        given = {found.name: getattr(value, found.name) for found in fields(value)}
        return {name: plain(item) for name, item in given.items() if item is not None}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value
