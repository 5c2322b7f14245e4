"""All results below a folder as one table: a row a run, only the columns that differ."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cloze.errors import ClozeError
from cloze.files import read_json
from cloze.tasks.statistics import summarise

ALWAYS = ("run", "score", "std")
_PRETRAINING_KEYS = (
    "validation_loss",
    "validation_accuracy",
    "bits_per_byte",
    "steps",
    "tokens",
    "train_seconds",
    "num_parameters",
)
# Where a run lies and on what machine it ran is not what it is.
_PATH_ARGUMENTS = ("dataset", "tokenizer", "output", "run_dir", "model", "task", "device")
# What pretraining, or else an import, says of an encoder.
_MODEL_METRICS = ("validation_loss", "masked_lm_head")
_BASELINES = "baselines.json"

Row = dict[str, Any]


def collect_rows(root: Path) -> list[Row]:
    """Return a row for each evaluated recipe, unevaluated encoder and baseline below `root`.

    Rows are sorted by path. Folders whose name starts with a dot (unfinished runs) and
    copies in `best` are left out.
    Raises `ClozeError` if there is nothing to compare.
    """
    found = {path: read_json(path) for path in _metrics_files(root)}
    encoders = {
        path.parent: record["metrics"] | {"args": record.get("args", {})}
        for path, record in found.items()
        if any(key in record.get("metrics", {}) for key in _MODEL_METRICS)
    }
    rows = _evaluation_rows(root, found, encoders)
    evaluated = {row["encoder"] for row in rows}
    for folder, metrics in encoders.items():
        name = _relative(folder, root)
        if name not in evaluated:
            rows.append({"run": name, **_encoder_columns(metrics)})
    for row in rows:
        row.pop("encoder", None)
    rows += _baseline_rows(root, found)
    if not rows:
        raise ClozeError(f"{root}: holds no results; run the workflow or give another folder")
    return sorted(rows, key=lambda row: row["run"])


def sort_rows(rows: Sequence[Row], column: str) -> list[Row]:
    """Return the rows by one column, numbers from high to low, rows without a value last.

    Raises `ClozeError` if no row has that column.
    """
    columns = all_columns(rows)
    if column not in columns:
        raise ClozeError(f"--sort {column}: no such column; there are: {', '.join(columns)}")
    present = [row for row in rows if row.get(column) is not None]
    numbers = all(isinstance(row[column], int | float) for row in present)
    present.sort(key=lambda row: row[column] if numbers else str(row[column]), reverse=numbers)
    return present + [row for row in rows if row.get(column) is None]


def all_columns(rows: Sequence[Row]) -> list[str]:
    """Return every column in the order in which the rows name them."""
    return list(dict.fromkeys(column for row in rows for column in row))


def differing_columns(rows: Sequence[Row]) -> list[str]:
    """Return run, score, std and the columns whose values differ.

    A row without a value, such as a baseline without a learning rate, makes no difference.
    """
    return [
        column
        for column in all_columns(rows)
        if column in ALWAYS or len({repr(row[column]) for row in rows if column in row}) > 1
    ]


def _metrics_files(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        raise ClozeError(f"{root}: no such folder; give the folder of results")
    for path in sorted([*root.rglob("metrics.json"), *root.rglob(_BASELINES)]):
        parents = path.relative_to(root).parts[:-1]
        if not any(part == "best" or part.startswith(".") for part in parents):
            yield path


def _relative(folder: Path, root: Path) -> str:
    return folder.relative_to(root).as_posix()


def _evaluation_rows(
    root: Path, found: dict[Path, Any], encoders: dict[Path, dict[str, Any]]
) -> list[Row]:
    groups: dict[tuple[Path, str], list[dict[str, Any]]] = {}
    for path, record in found.items():
        metrics = record.get("metrics", {})
        if path.name != _BASELINES and {"score", "split", "task"} <= metrics.keys():
            key = (_recipe_folder(path.parent, root), metrics["split"])
            groups.setdefault(key, []).append(metrics)
    return [
        _evaluation_row(root, folder, split, seeds, encoders)
        for (folder, split), seeds in groups.items()
    ]


def _recipe_folder(evaluation: Path, root: Path) -> Path:
    """The folder that holds an evaluation's seeds: `…/task` of `…/task/seed-1/validation`."""
    for folder in evaluation.parents:
        if folder == root:
            break
        if folder.name.startswith("seed-"):
            return folder.parent
    return evaluation


def _evaluation_row(
    root: Path,
    folder: Path,
    split: str,
    seeds: list[dict[str, Any]],
    encoders: dict[Path, dict[str, Any]],
) -> Row:
    score = summarise([metrics["score"] for metrics in seeds])
    first = seeds[0]
    finetuning = first.get("finetuning", {})
    encoder = next((parent for parent in folder.parents if parent in encoders), None)
    recipe = {f"finetuning.{k}": v for k, v in finetuning.get("recipe", {}).items() if k != "seed"}
    return {
        "run": _relative(folder, root),
        "encoder": None if encoder is None else _relative(encoder, root),
        "task": first["task"],
        "split": split,
        "metric": first["metric"],
        "seeds": len(seeds),
        "score": score.mean,
        "std": score.std,
        "finetuning_seconds": finetuning.get("train_seconds"),
        **({} if encoder is None else _encoder_columns(encoders[encoder])),
        **recipe,
    }


def _encoder_columns(metrics: dict[str, Any]) -> Row:
    arguments = {
        key: value
        for key, value in metrics["args"].items()
        if key not in _PATH_ARGUMENTS and not isinstance(value, list | dict)
    }
    return {key: metrics[key] for key in _PRETRAINING_KEYS if key in metrics} | arguments


def _baseline_rows(root: Path, found: dict[Path, Any]) -> list[Row]:
    return [
        {
            "run": f"{_relative(path.parent, root)} ({name})",
            "task": record["metrics"]["task"],
            "split": split,
            "metric": scores["metric"],
            "score": scores["score"],
        }
        for path, record in found.items()
        if path.name == _BASELINES
        for split, measured in record["metrics"]["splits"].items()
        for name, scores in measured.items()
    ]
