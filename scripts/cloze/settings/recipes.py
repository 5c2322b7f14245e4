"""`recipe.yaml` in a folder of results: the picks and the settings that made what lies there.

A folder is named by picks. What a pick stands for may change, in `config.yaml` or for one run on
the command line, so the folder says that too, in the form of `config.yaml`. What decides no file,
such as how often training was looked at, is left out.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from cloze.files import write_text
from cloze.settings.config import Config
from cloze.settings.fields import keys_of
from cloze.settings.pretraining import MonitoringSettings
from cloze.settings.runs import Run, imported_folder, is_from_scratch

RECIPE = "recipe.yaml"
# What of an encoder's entry says where it is from and how it is read.
_ORIGIN = ("pretrained", "files", "unpickle", "adapt")
_HEADER = "# What made the files of this folder, in the form of config.yaml.\n"

Recipe = dict[str, Any]


def recipes(config: Config) -> dict[str, Recipe]:
    """Return the file by which each folder of results is finished, to the recipe of the folder."""
    found: dict[str, Recipe] = {}
    for run in config.runs:
        found |= _of_run(config, run)
    return found


def write_recipes(made: Mapping[str, Recipe]) -> None:
    """Write the recipe beside each file that is there; one that says the same stays untouched.

    made: as `recipes` returns it, of what is known to have been made by these settings.
    """
    for file, recipe in made.items():
        path = Path(file).with_name(RECIPE)
        text = _HEADER + yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
        if Path(file).is_file() and not (path.is_file() and path.read_text("utf-8") == text):
            write_text(path, text)


def forget_recipes(files: Iterable[str]) -> None:
    """Remove the recipe beside each of these files, which are about to be made anew."""
    for file in files:
        Path(file).with_name(RECIPE).unlink(missing_ok=True)


def _of_run(config: Config, run: Run) -> Iterator[tuple[str, Recipe]]:
    """Yield the file by which each folder of a run is finished, and the folder's recipe."""
    models = dict(_models(config, run))
    for report in run.reports.values():
        task = {"tasks": {report.task: _without_finetuning(config, report.task)}}
        yield f"results/tasks/{report.task}/task.json", task
        ceiling = [] if report.ceiling is None else [_imported(config, report.ceiling)]
        yield from ceiling
        for model in (*models.items(), *ceiling):
            yield from _seeds(config, run, report.task, model)
    yield from models.items()
    if not run.is_imported:
        yield from _before_models(config, run)


def _models(config: Config, run: Run) -> Iterator[tuple[str, Recipe]]:
    if run.is_imported:
        yield _imported(config, run.encoder)
        return
    before = dict(_before_models(config, run))
    tokenizer = before[f"{run.tokenizer_folder}/tokenizer.json"]
    shape = Recipe()
    if run.architecture is not None:
        shape = _entry(config, "architectures", run.architecture)
        yield f"{run.scratch_folder}/config.json", _joined(tokenizer, shape)
    if run.adaptation is not None:
        yield _imported(config, run.adaptation.base)
    picks, datasets = {"dataset": run.dataset, "encoder": run.encoder}, Recipe()
    for phase, name in enumerate((run.dataset, *run.phases), start=1):
        datasets = _joined(datasets, _entry(config, "datasets", name))
        encoder = _encoder(config, run.encoder, phase)
        recipe = _joined(tokenizer, picks, datasets, shape, encoder)
        yield f"{run.phase_folders[phase - 1]}/model.safetensors", recipe
    for percent in config.kept_at(run.encoder):
        yield f"{run.encoder_folder}/at-{percent}/model.safetensors", recipe


def _before_models(config: Config, run: Run) -> Iterator[tuple[str, Recipe]]:
    """Documents, those of a mixture's parts first, tokenizer and the data set of each phase."""
    parts: Recipe = {}
    for name in (*config.mixture(run.corpus), run.corpus):
        part = _entry(config, "corpora", name)
        parts = _joined(parts, part)
        own = parts if name == run.corpus else part
        yield f"results/{name}/documents/metrics.json", _joined({"corpus": name}, own)
    corpus = _joined({"corpus": run.corpus}, parts)
    tokenizer = _joined(corpus, _tokenizer(config, run))
    yield f"{run.tokenizer_folder}/tokenizer.json", tokenizer
    for name, folder in zip((run.dataset, *run.phases), run.dataset_folders, strict=True):
        dataset = _joined(tokenizer, {"dataset": name}, _entry(config, "datasets", name))
        yield f"{folder}/manifest.json", dataset


def _tokenizer(config: Config, run: Run) -> Recipe:
    """Return the tokenizer's entry, or that of the encoder that brings it, and what it gains."""
    if run.adaptation is None:
        return {"tokenizer": run.tokenizer, **_entry(config, "tokenizers", run.tokenizer)}
    adapt = config.section("encoders", run.encoder)["adapt"]
    gained = {"adapt": adapt, "extend_vocabulary": run.adaptation.new_pieces}
    _, base = _imported(config, run.adaptation.base)
    return {"encoders": {**base["encoders"], run.encoder: gained}}


def _imported(config: Config, encoder: str) -> tuple[str, Recipe]:
    section = config.section("encoders", encoder)
    origin = {key: section[key] for key in _ORIGIN if key in section}
    recipe = {"encoder": encoder, "encoders": {encoder: origin}}
    return f"{imported_folder(encoder)}/model.safetensors", recipe


def _seeds(
    config: Config, run: Run, task: str, model: tuple[str, Recipe]
) -> Iterator[tuple[str, Recipe]]:
    file, recipe = model
    arm = "finetuning_from_scratch" if is_from_scratch(file) else "finetuning"
    settings = {arm: config.section("tasks", task)[arm]}
    entry = {"tasks": {task: {**_without_finetuning(config, task), **settings}}}
    for seed in run.seeds:
        folder = Path(file).parent / task / f"seed-{seed}"
        yield f"{folder}/model.safetensors", _joined(recipe, {"seeds": [seed]}, entry)


def _entry(config: Config, table: str, name: str) -> Recipe:
    return {table: {name: config.section(table, name)}}


def _encoder(config: Config, name: str, phases: int = 1) -> Recipe:
    """Return an encoder's recipe with so many phases, the first among them."""
    section = _unwatched(config.section("encoders", name))
    later = [_unwatched(phase) for phase in section.pop("phases", [])[: phases - 1]]
    return {"encoders": {name: section | ({"phases": later} if later else {})}}


def _unwatched(section: Recipe) -> Recipe:
    watched = {"general_corpus", *(key.name for key in keys_of(MonitoringSettings))}
    return {key: value for key, value in section.items() if key not in watched}


def _without_finetuning(config: Config, task: str) -> Recipe:
    section = config.section("tasks", task)
    return {key: value for key, value in section.items() if not key.startswith("finetuning")}


def _joined(*recipes: Recipe) -> Recipe:
    """Return all of them as one, its picks before its tables."""
    joined: Recipe = {}
    for recipe in recipes:
        for key, value in recipe.items():
            joined[key] = {**joined.get(key, {}), **value} if isinstance(value, dict) else value
    return dict(sorted(joined.items(), key=lambda item: isinstance(item[1], dict)))
