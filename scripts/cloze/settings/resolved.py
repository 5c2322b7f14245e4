"""`config.yaml`: read, completed by the schema, checked, and resolved to runs.

The workflow and `clean.py` read the configuration; the steps never do. Nothing heavy is
imported, because every dry run passes here.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from cloze.errors import ClozeError
from cloze.files import require_file
from cloze.settings.averages import resolve_averages
from cloze.settings.corpora import check_mixtures, require_one_kind
from cloze.settings.encoders import check_lengths, check_objectives, require_own_or_imported
from cloze.settings.files import TASK_SPLITS, InputFiles
from cloze.settings.parts import CorpusPart, corpus_parts
from cloze.settings.runs import Report, Run
from cloze.settings.schema import Schema, SchemaReader, require_known

SCHEMA = Path(__file__).parents[3] / "workflow" / "schemas" / "config.schema.yaml"
_PICKS = {
    "corpus": "corpora",
    "tokenizer": "tokenizers",
    "dataset": "datasets",
    "encoder": "encoders",
}
_SHARD_SUFFIXES = {"msgpack": "msgpack.gz", "parquet": "parquet"}
# Keys of a corpus that only matter once its parts are put together.
_NOT_OF_PARTS = {"validation_fraction", "test_fraction", "keep_duplicates"}
# Keys that name inputs, other sections or the script itself; every other key is a flag.
NO_FLAGS = {
    "corpora": {"files", "decontaminate"},
    "tokenizers": {"vocab"},
    "datasets": {"method"},
    "architectures": set[str](),
    "encoders": {"architecture", "pretrained", "files"},
    "tasks": {*TASK_SPLITS, "splits", "finetuning", "finetuning_from_scratch"},
}
# Keys of an encoder that change no weight: when to look at it, and what to keep on the way.
MONITORING = {"eval_steps", "keep_at"}


class Config:
    """A completed and checked configuration."""

    def __init__(self, raw: Mapping[str, Any], schema_path: Path = SCHEMA) -> None:
        """Complete and check `raw`; raises `ClozeError` with one sentence about the first problem.

        `raw` is what the YAML files and `--config` say together.
        """
        require_one_kind(raw.get("corpora"))
        require_own_or_imported(raw.get("encoders"))
        self._reader = SchemaReader(yaml.safe_load(schema_path.read_text(encoding="utf-8")))
        self.values: dict[str, Any] = self._reader.complete(_with_inherited(raw))
        for name, encoder in self.own_encoders().items():
            self._require(encoder["architecture"], "architectures", f"encoders.{name}.architecture")
        check_lengths(self.own_encoders())
        check_mixtures(self.values["corpora"])
        for name in self.names("corpora"):
            for task in self.decontaminated_tasks(name):
                self._require(task, "tasks", f"corpora.{name}.decontaminate")
        self.files = InputFiles(self.values)
        self.runs = self._runs()
        self.averages = resolve_averages(
            self.values["averages"], self.runs[0], self.runs, self.reports
        )
        """Average to the reports of each of its tasks."""

    @property
    def mirror(self) -> str | None:
        """The folder or server that stands in for every remote source."""
        return self.values.get("mirror")

    @property
    def reports(self) -> dict[str, tuple[Run, Report]]:
        """Report name to the run and to what it tells of it."""
        return {name: (run, report) for run in self.runs for name, report in run.reports.items()}

    def own_encoders(self) -> dict[str, dict[str, Any]]:
        """Return the encoders that are pretrained here."""
        encoders = self.values["encoders"].items()
        return {name: encoder for name, encoder in encoders if "architecture" in encoder}

    def kept_at(self, encoder: str) -> list[int]:
        """Return the percentages of its pretraining at which an encoder's weights are kept."""
        return sorted(self.values["encoders"][encoder].get("keep_at", ()))

    def names(self, table: str) -> list[str]:
        """Return the names in a table, `corpora` for example."""
        return list(self.values[table])

    def section(self, table: str, name: str) -> dict[str, Any]:
        """Return one entry of a table, completed with defaults."""
        return dict(self.values[table][name])

    def flags(self, table: str, name: str) -> list[str]:
        """Return the flags that one entry of a table stands for, those of monitoring apart."""
        section = self.values[table][name]
        schema = self._reader.branch(self._reader.section(table), section)
        return render_flags(schema, section, NO_FLAGS[table] | MONITORING)

    def monitoring_flags(self, encoder: str) -> list[str]:
        """Return the flags of `pretrain.py` that change no weight."""
        section = self.values["encoders"][encoder]
        schema = self._reader.branch(self._reader.section("encoders"), section)
        return render_flags(schema, section, schema["properties"].keys() - MONITORING)

    def part_flags(self, corpus: str) -> list[str]:
        """Return the flags of `extract_part.py`, its files apart."""
        section = self.values["corpora"][corpus]
        schema = self._reader.branch(self._reader.section("corpora"), section)
        return render_flags(schema, section, NO_FLAGS["corpora"] | _NOT_OF_PARTS)

    def mixture(self, corpus: str) -> dict[str, float]:
        """Return the corpora that a mixture is made of with their weights; empty if it is none."""
        return dict(self.values["corpora"][corpus].get("mixture", {}))

    def decontaminated_tasks(self, corpus: str) -> list[str]:
        """Return the tasks whose evaluation sentences are removed from a corpus."""
        return list(self.values["corpora"][corpus].get("decontaminate", ()))

    def evaluation_splits(self, task: str) -> list[str]:
        """Return the splits that models of a task can be evaluated on, `validation` first."""
        named = ("test",) if "test" in self.files.tasks[task] else ()
        return ["validation", *named, *self.values["tasks"][task].get("splits", ())]

    def parts(self, corpus: str) -> dict[str, CorpusPart]:
        """Return what of a corpus is extracted by jobs of their own; see `corpus_parts`.

        It looks at local folders and sizes, so a change on the disk may change it.
        """
        section = self.values["corpora"][corpus]
        files = self.files.corpora[corpus]
        return corpus_parts(files, section["format"], section["members"], self.files.downloads)

    def finetuning_flags(self, task: str, *, from_scratch: bool) -> list[str]:
        """Return the flags of `finetune.py` for a task, `--seed` apart."""
        schema = self._reader.section("tasks", "finetuning")
        return render_flags(schema, self._finetuning(task, from_scratch), skip=())

    def evaluation_flags(self, task: str, *, from_scratch: bool) -> list[str]:
        """Return the flags of `evaluate.py`, which cuts texts where fine-tuning did."""
        schema = self._reader.section("tasks", "finetuning")
        others = schema["properties"].keys() - {"max_length", "truncation"}
        return render_flags(schema, self._finetuning(task, from_scratch), skip=others)

    def _finetuning(self, task: str, from_scratch: bool) -> Mapping[str, Any]:
        key = "finetuning_from_scratch" if from_scratch else "finetuning"
        section: Mapping[str, Any] = self.values["tasks"][task][key]
        return section

    def as_yaml(self) -> str:
        """Return the completed configuration as YAML, keys in the order of the schema."""
        return yaml.safe_dump(self.values, sort_keys=False, allow_unicode=True)

    def dataset_method(self, dataset: str) -> str:
        """Return the script, without `.py`, that makes a data set's shards."""
        return str(self.values["datasets"][dataset]["method"])

    def dataset_extension(self, dataset: str) -> str:
        """Return how the names of a data set's shards end."""
        return _SHARD_SUFFIXES[self.values["datasets"][dataset]["format"]]

    def shard_names(self, dataset: str) -> list[str]:
        """Return the names of a data set's shards, without extension: training, validation."""
        count = self.values["datasets"][dataset]["num_shards"]
        train = [f"train-{number:05d}-of-{count:05d}" for number in range(count)]
        return [*train, "validation-00000-of-00001"]

    def dataset_files(self, dataset: str) -> list[str]:
        """Return the names of the files of a data set that a trainer reads."""
        extension = self.dataset_extension(dataset)
        return ["manifest.json", *(f"{name}.{extension}" for name in self.shard_names(dataset))]

    def _runs(self) -> list[Run]:
        picks = {key: self.values[key] for key in (*_PICKS, "seeds", "reports")}
        runs = [self._run(picks, "", "")]
        for position, changes in enumerate(self.values["runs"]):
            where = f"runs[{position}]"
            name = changes.get("name") or "-".join(
                str(changes[key]) for key in _PICKS if key in changes
            )
            if not name:
                raise ClozeError(f"config: {where}.name: missing; it ends the report's file name")
            runs.append(self._run({**picks, **changes}, f"{where}.", f"-{name}"))
        reports = [report for run in runs for report in run.reports]
        for report in reports:
            if reports.count(report) > 1:
                raise ClozeError(
                    f"config: runs: two runs write results/{report}_report.txt; "
                    "give one of them another name"
                )
        return runs

    def _run(self, picks: Mapping[str, Any], where: str, suffix: str) -> Run:
        for key, table in _PICKS.items():
            self._require(picks[key], table, f"{where}{key}")
        encoder, dataset = (self.section(_PICKS[key], picks[key]) for key in ("encoder", "dataset"))
        if "architecture" in encoder:
            architecture = self.section("architectures", encoder["architecture"])
            check_objectives(picks["encoder"], encoder, architecture, picks["dataset"], dataset)
        return Run(
            **{key: picks[key] for key in _PICKS},
            architecture=encoder.get("architecture"),
            seeds=tuple(picks["seeds"]),
            reports={
                f"{name}{suffix}": self._report(section, f"{where}reports.{name}")
                for name, section in picks["reports"].items()
            },
            suffix=suffix,
        )

    def _report(self, section: Mapping[str, Any], path: str) -> Report:
        """A report of one split tells of it alone, any other of validation and test."""
        task, ceiling = section["task"], section.get("ceiling")
        self._require(task, "tasks", f"{path}.task")
        if ceiling is not None:
            imported = self.values["encoders"].keys() - self.own_encoders().keys()
            require_known(ceiling, imported, "encoders with pretrained", f"{path}.ceiling")
        there = self.evaluation_splits(task)
        if "split" not in section:
            return Report(task, ceiling, tuple(s for s in ("validation", "test") if s in there))
        require_known(section["split"], there, f"the splits of tasks.{task}", f"{path}.split")
        return Report(task, ceiling, (section["split"],))

    def _require(self, name: str, table: str, path: str) -> None:
        require_known(name, self.values[table], table, path)


def load_config(files: Iterable[Path]) -> Config:
    """Read YAML files, each laid over the ones before it, as `snakemake --configfile` does."""
    merged: dict[str, Any] = {}
    for file in files:
        try:
            value = yaml.safe_load(require_file(file).read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ClozeError(f"{file}: not valid YAML ({error}); correct it") from error
        merged = _overlay(merged, value or {})
    return Config(merged)


def _overlay(below: Any, above: Any) -> Any:
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    merged = dict(below)
    for key, value in above.items():
        merged[key] = _overlay(merged[key], value) if key in merged else value
    return merged


def _with_inherited(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return `raw` with each task's `finetuning_from_scratch` laid over its `finetuning`."""
    tasks = raw.get("tasks")
    if not isinstance(tasks, Mapping):
        return dict(raw)
    inherited = {
        name: {
            **task,
            "finetuning_from_scratch": _overlay(
                task.get("finetuning") or {}, task.get("finetuning_from_scratch") or {}
            ),
        }
        if isinstance(task, Mapping)
        else task
        for name, task in tasks.items()
    }
    return {**raw, "tasks": inherited}


def render_flags(schema: Schema, section: Mapping[str, Any], skip: Iterable[str]) -> list[str]:
    """Return `["--max-length", "128", …]` for the keys of a section, in the schema's order.

    A key becomes a flag with hyphens, a list follows its flag. A switch appears where it
    differs from its default, as `--key` or `--no-key`. Keys without a value are left out.
    """
    flags: list[str] = []
    for key, about in schema["properties"].items():
        # An empty text is no value: quoted for a shell among others it would vanish.
        if key in skip or section.get(key, "") == "":
            continue
        value, flag = section[key], key.replace("_", "-")
        if isinstance(value, bool):
            if value != about["default"]:
                flags.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, list):
            flags += [f"--{flag}", *map(_text, value)] if value else []
        else:
            flags += [f"--{flag}", _text(value)]
    return flags


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and value == float(f"{value:g}") else str(value)
