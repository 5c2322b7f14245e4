"""What lies under `results/` and `resources/` that no configuration asks for."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from cloze.settings.config import Config
from cloze.settings.encoders import ArchitectureSettings
from cloze.settings.fields import keys_of, script_values
from cloze.settings.finetuning import FinetuningRecipe
from cloze.settings.pretraining import (
    AdaptationSettings,
    MonitoringSettings,
    PretrainingSettings,
)
from cloze.settings.recipes import RECIPE
from cloze.settings.runs import Report, Run, imported_folder, is_from_scratch

_BESIDE_SHARDS = (
    "metrics.json",
    RECIPE,
    "corpus.html",
    "corpus.json",
    *(
        f"corpus_{figure}.svg"
        for figure in ("document_lengths", "sample_lengths", "row_fill", "token_frequencies")
    ),
)


# What `compare.py --output results/comparison.html` and its other forms write.
_COMPARISONS = ("comparison.html", "comparison.md", "comparison.csv", "comparison.txt")


@dataclass
class Wanted:
    """Paths that a configuration asks for, relative to the repository."""

    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    """Folders whose own files are wanted; what lies deeper needs an entry of its own."""
    trees: set[str] = field(default_factory=set)
    recipes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Folder of a trained model to the recipes that some configuration gives it."""

    def add(self, config: Config) -> None:
        """Add everything that `config` asks for."""
        self.files |= {"results/config.yaml", *config.files.downloads}
        self.files |= {f"results/{name}" for name in _COMPARISONS}
        for run in config.runs:
            self._add_run(config, run)
        for name, place in config.report_places.items():
            suffixes = ("_report.txt", "_report.json", "_report.html", "_figure.svg")
            self.files |= {f"results/{name}{suffix}" for suffix in suffixes}
            self.files |= {f"{place}{suffix}" for suffix in suffixes}

    def _add_run(self, config: Config, run: Run) -> None:
        for report in run.reports.values():
            self.trees.add(f"results/tasks/{report.task}")
            if report.ceiling is not None:
                folder = imported_folder(report.ceiling)
                self.folders.add(folder)
                self._add_classifiers(config, run, folder, report)
        if run.is_imported:
            self.folders.add(run.encoder_folder)
            for report in run.reports.values():
                self._add_classifiers(config, run, run.encoder_folder, report)
            return
        self.folders |= {run.tokenizer_folder, *run.phase_folders}
        corpora = [run.corpus, *config.mixture(run.corpus)]
        # Beside the trained encoder: the same without pretraining, or as it was before.
        others = []
        if run.architecture is not None:
            others = [run.scratch_folder]
        elif run.adaptation is not None:
            others, corpora = [run.adaptation.folder], [*corpora, *run.adaptation.corpora]
            self.trees |= {f"{m}/masked_lm" for m in (run.encoder_folder, run.adaptation.folder)}
        self.folders |= set(others)
        self.trees |= {f"results/{name}/documents" for name in corpora}
        evaluated = (task for name in corpora for task in config.decontaminated_tasks(name))
        self.trees |= {f"results/tasks/{task}" for task in evaluated}
        self.trees |= {run.documents_folder, *(f"{folder}/best" for folder in run.phase_folders)}
        for dataset, folder in zip((run.dataset, *run.phases), run.dataset_folders, strict=True):
            shards = (f"{name}.json" for name in config.shard_names(dataset))
            files = (*config.dataset_files(dataset), *shards, *_BESIDE_SHARDS)
            self.files |= {f"{folder}/{name}" for name in files}
        for phase, folder in enumerate(run.phase_folders, start=1):
            self.recipes.setdefault(folder, []).append(_recipe(config, run, phase))
        kept = [f"{run.encoder_folder}/at-{percent}" for percent in config.kept_at(run.encoder)]
        self.folders |= set(kept)
        for report in run.reports.values():
            for folder in (run.encoder_folder, *others, *kept):
                self._add_classifiers(config, run, folder, report)

    def _add_classifiers(self, config: Config, run: Run, model: str, report: Report) -> None:
        entry = config.settings.tasks[report.task]
        recipe = entry.finetuning_from_scratch if is_from_scratch(model) else entry.finetuning
        for seed in run.seeds:
            folder = f"{model}/{report.task}/seed-{seed}"
            self.folders.add(folder)
            self.trees |= {f"{folder}/{split}" for split in report.splits}
            values = {**script_values(recipe, FinetuningRecipe), "seed": seed}
            self.recipes.setdefault(folder, []).append(values)


def _recipe(config: Config, run: Run, phase: int) -> dict[str, Any]:
    """Return what `pretrain.py` notes of a phase of a run."""
    cls = PretrainingSettings if run.adaptation is None else AdaptationSettings
    recipe = script_values(config.pretraining(run.encoder, phase), cls)
    for key in keys_of(MonitoringSettings):
        del recipe[key.name]
    if phase > 1:
        return recipe | {"trained_length": config.trained_length(run.encoder, phase, run.dataset)}
    if run.architecture is None:
        return recipe
    shape = config.settings.architectures[run.architecture]
    return recipe | script_values(shape, ArchitectureSettings)


def find_leftovers(root: Path, wanted: Wanted) -> list[Path]:
    """Return what can go, sorted: whole folders where nothing below them is wanted.

    `root` is the repository. Downloads count as leftovers only where the log of their
    download says that they are one. Links are not followed.
    """
    found = list(_walk(root, PurePath("results"), wanted))
    for place in _walk(root, PurePath("resources"), wanted):
        files = [place] if (root / place).is_file() else _files(root, place)
        found += [file for file in files if (root / "logs" / f"{file}.log").is_file()]
    return sorted(Path(place) for place in found)


def size(path: Path) -> int:
    """Return the bytes in a file or in all files of a folder; a link counts nothing."""
    if path.is_symlink():
        return 0
    if path.is_dir():
        return sum(size(entry) for entry in path.iterdir())
    return path.stat().st_size


def _walk(root: Path, place: PurePath, wanted: Wanted) -> Iterator[PurePath]:
    if not (root / place).is_dir():
        return
    for entry in sorted((root / place).iterdir()):
        child = place / entry.name
        if str(child) in wanted.trees or str(child) in wanted.files:
            continue
        if entry.is_dir() and not entry.is_symlink():
            if entry.name == ".runs" and str(place) in wanted.recipes:
                yield from _stale_runs(root, child, wanted.recipes[str(place)])
            elif _leads_somewhere(child, wanted):
                yield from _walk(root, child, wanted)
            else:
                yield child
        elif str(place) not in wanted.folders:
            yield child


def _leads_somewhere(place: PurePath, wanted: Wanted) -> bool:
    every = (*wanted.files, *wanted.folders, *wanted.trees)
    return any(PurePath(path).is_relative_to(place) for path in every)


def _stale_runs(
    root: Path, place: PurePath, recipes: Iterable[dict[str, Any]]
) -> Iterator[PurePath]:
    """Training runs whose recipe differs from every recipe that is asked for now.

    A run's own record says which settings count: those that change no weight are not in it.
    """
    for folder in sorted((root / place).iterdir()):
        try:
            begun = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            begun = {}
        if not begun or not any(
            all(begun[key] == value for key, value in recipe.items() if key in begun)
            for recipe in recipes
        ):
            yield place / folder.name


def _files(root: Path, place: PurePath) -> list[PurePath]:
    paths = (root / place).rglob("*")
    return [PurePath(path.relative_to(root)) for path in paths if path.is_file()]
