"""What an evaluation was made of, and whether that is what lies there now.

The seeds of a folder are one recipe only if they were fine-tuned from the same encoder, on the same
rows, with the same settings. An evaluation is stale where its classifier, the encoder or the task
has become another since: its numbers are right of something that is gone.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cloze.errors import ClozeError
from cloze.files import sha256_file
from cloze.settings.finetuning import FinetuningRecipe, TextSettings

# What fine-tuning reads of an encoder; without pretraining there are no weights.
_ENCODER_FILES = ("config.json", "model.safetensors", "tokenizer.json")
_RECIPE = ("from_scratch", *(found.name for found in fields(FinetuningRecipe)))
_MEASURED = ("metric", *(found.name for found in fields(TextSettings)))


@dataclass(frozen=True)
class Lineage:
    """What decides an evaluation's numbers besides the seed; empty where it was not recorded.

    encoder: file name to SHA-256 of the encoder that was fine-tuned. task: `train` and the
    evaluated split to SHA-256. finetuning: its settings as they were given. evaluation: what it
    read of a text, and its measure.
    """

    encoder: Mapping[str, str]
    task: Mapping[str, str]
    finetuning: Mapping[str, Any]
    evaluation: Mapping[str, Any]

    def difference(self, other: "Lineage") -> str | None:
        """Return how `other` was made otherwise, as what follows 'was made with', or None."""
        for name in _differing(self.encoder, other.encoder):
            return f"another {name} of the encoder"
        for name in _differing(self.task, other.task):
            return f"other {name} rows of the task"
        for name in _differing(self.finetuning, other.finetuning):
            return f"other settings of the fine-tuning ({name})"
        for name in _differing(self.evaluation, other.evaluation):
            return f"other settings of the evaluation ({name})"
        return None


def lineage_of(evaluation: Mapping[str, Any]) -> Lineage:
    """Return what an evaluation's `metrics.json` says that it was made of."""
    metrics = evaluation["metrics"]
    finetuning = metrics.get("finetuning", {})
    split = metrics.get("split", "")
    trained_on, read = _by_name(finetuning), _by_name(evaluation)
    rows = {"train": trained_on.get("train.parquet"), split: read.get(f"{split}.parquet")}
    return Lineage(
        encoder={name: trained_on[name] for name in _ENCODER_FILES if name in trained_on},
        task={name: digest for name, digest in rows.items() if digest is not None},
        finetuning=_of(finetuning.get("args", {}), _RECIPE),
        evaluation=_of({**evaluation.get("args", {}), **metrics}, _MEASURED),
    )


def staleness(folder: Path, evaluation: Mapping[str, Any]) -> str | None:
    """Return why an evaluation is stale, as what follows its folder's name; None if it is not.

    folder: `MODEL/{task}/seed-{n}/{split}`, as the workflow lays it out; of one elsewhere, and of
    files that are no longer there, nothing is known. evaluation: its `metrics.json`.
    """
    seed = folder.parent
    if not seed.name.startswith("seed-"):
        return None
    lineage, model = lineage_of(evaluation), seed.parent.parent
    if _is_other(seed / "model.safetensors", _by_name(evaluation).get("model.safetensors")):
        return f"is of other weights than {seed} holds now"
    for name, digest in lineage.encoder.items():
        if _is_other(model / name, digest):
            return f"was fine-tuned from another {name} than {model} holds now"
    task = _task_folder(seed)
    for name, digest in lineage.task.items():
        if task is not None and _is_other(task / f"{name}.parquet", digest):
            return f"is of other {name} rows than {task} holds now"
    return None


def require_one_recipe(evaluations: Mapping[Path, Mapping[str, Any]]) -> None:
    """Raise `ClozeError` unless these evaluations may be averaged.

    evaluations: folder to its `metrics.json`. Neither may one be stale nor two of them be made
    from different weights, rows or settings.
    """
    first: tuple[Path, Lineage] | None = None
    for folder, evaluation in evaluations.items():
        if (reason := staleness(folder, evaluation)) is not None:
            raise ClozeError(f"{folder}: {reason}; fine-tune and evaluate this seed again")
        found = lineage_of(evaluation)
        first = first or (folder, found)
        if (difference := first[1].difference(found)) is not None:
            raise ClozeError(
                f"{folder}: was made with {difference} than {first[0]}, and seeds of different "
                "recipes have no mean; fine-tune and evaluate both seeds again"
            )


def is_encoder(folder: Path, encoder: Mapping[str, str]) -> bool:
    """Tell whether a model folder holds this encoder, as far as its files are there."""
    return not any(_is_other(folder / name, digest) for name, digest in encoder.items())


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    return (name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))


def _by_name(record: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of each input by the file's name; no stage reads two files of one name."""
    return {Path(path).name: digest for path, digest in record.get("inputs", {}).items()}


def _of(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _task_folder(seed: Path) -> Path | None:
    """`tasks/{task}` of the results that `…/{task}/seed-{n}` belongs to, if it is there."""
    places = (folder / "tasks" / seed.parent.name for folder in seed.parents)
    return next((place for place in places if place.is_dir()), None)


def _is_other(path: Path, digest: str | None) -> bool:
    """Tell whether a file is there and has another hash; one that was not recorded has none."""
    if digest is None or not path.is_file():
        return False
    state = path.stat()
    return _sha256(path, state.st_mtime_ns, state.st_size) != digest


@functools.cache
def _sha256(path: Path, mtime_ns: int, size: int) -> str:
    """Hash a file once: the seeds of a task share their encoder."""
    return sha256_file(path)
