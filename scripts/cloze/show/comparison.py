"""Results compared: all below a folder as one table, and two on the same rows.

The table has a row a run and only the columns that differ, as text, Markdown, CSV or a page
that sorts itself.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cloze.errors import ClozeError
from cloze.files import read_json, resource, write_text
from cloze.pages import render
from cloze.show.text_layout import (
    METRIC_NAMES,
    aligned,
    paragraph,
    percent,
    shown_value,
    table,
    unit,
)
from cloze.tasks.evaluations import Evaluations, read_evaluations, require_comparable
from cloze.tasks.resampled_scores import (
    PERMUTATIONS,
    difference_of,
    mcnemar,
    permutation_test,
)
from cloze.tasks.statistics import summarise

ALWAYS = ("run", "score", "std")
_PRETRAINING_KEYS = (
    "validation_loss",
    "validation_accuracy",
    "masked_bits_per_byte",
    "steps",
    "tokens",
    "train_seconds",
    "num_parameters",
)
# Where a run lies and on what machine it ran is not what it is.
_PLACES = frozenset(
    {"dataset", "tokenizer", "output", "run_dir", "model", "task", "device", "log", "threads"}
)
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
        if key not in _PLACES and not isinstance(value, list | dict)
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


def write_table(rows: Sequence[Row], path: Path) -> None:
    """Write the rows in the form that the file's name asks for.

    Raises `ClozeError` if that is none of .html, .md, .csv and .txt.
    """
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise ClozeError(
            f"--output {path}: no such form; end the name in one of {', '.join(_FORMATS)}"
        )
    write_text(path, form(rows))


def render_table(rows: Sequence[Row]) -> str:
    """Return aligned text with only the columns that differ."""
    columns = differing_columns(rows)
    return "\n".join(aligned(columns, _cells(rows, columns))) + "\n"


def _cells(rows: Sequence[Row], columns: Sequence[str]) -> list[list[str]]:
    return [[shown_value(row.get(column)) for column in columns] for row in rows]


def _as_markdown(rows: Sequence[Row]) -> str:
    columns = differing_columns(rows)
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *_cells(rows, columns)]
    return "".join(f"| {' | '.join(map(_markdown_cell, line))} |\n" for line in lines)


def _markdown_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;")


def _as_csv(rows: Sequence[Row]) -> str:
    """Numbers whole, not as they are shown: this is for a program."""
    stream = io.StringIO()
    columns = differing_columns(rows)
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _as_html(rows: Sequence[Row]) -> str:
    columns = differing_columns(rows)
    cells = [[(shown_value(v), _sort_key(v)) for v in map(row.get, columns)] for row in rows]
    return render(resource("show/comparison_page.html"), columns=columns, rows=cells)


def _sort_key(value: Any) -> str | None:
    """Return a number as the page's script reads it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return repr(value) if is_number else None


_FORMATS: dict[str, Callable[[Sequence[Row]], str]] = {
    ".html": _as_html,
    ".md": _as_markdown,
    ".csv": _as_csv,
    ".txt": render_table,
}


def describe_difference(first: Path, second: Path, split: str) -> str:
    """Return a text about a split of two folders, each a result's (with its seeds) or one seed's.

    Raises `ClozeError` if one holds no evaluation, or they are of other rows or labels.
    """
    ours, theirs = _read(first, split), _read(second, split)
    require_comparable(ours, theirs, second)
    task = ours.seeds[0].metrics
    metric = task["metric"]
    if theirs.seeds[0].metrics["metric"] != metric:
        raise ClozeError(
            f"{second}: is measured by {theirs.seeds[0].metrics['metric']}, {first} by {metric}; "
            "evaluate both with the same task folder"
        )
    lines = [f"A  {first}", f"B  {second}", "", *_settings(ours, theirs), ""]
    lines += [f"{task['task']}, {task['split']}, {ours.num_examples:,} rows", ""]
    lines += table(("", METRIC_NAMES[metric], "seeds"), [_row("A", ours), _row("B", theirs)])
    lines += ["", *_tests(metric, ours, theirs)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _read(folder: Path, split: str) -> Evaluations:
    candidates = [folder, folder / split, *sorted(folder.glob(f"seed-*/{split}"))]
    found = [place for place in candidates if (place / "predictions.parquet").is_file()]
    if not found:
        raise ClozeError(
            f"{folder}: holds no evaluation on {split}; name a task's folder with its seed-* "
            "folders, such as results/CORPUS/TOKENIZER/DATASET/ENCODER/TASK, or one of these"
        )
    return read_evaluations(found)


def _row(name: str, evaluations: Evaluations) -> tuple[str, str, str]:
    score, metric = evaluations.summary("score"), evaluations.seeds[0].metrics["metric"]
    spread = "" if score.std is None else f" ± {percent(score.std)}"
    return name, f"{percent(score.mean)}{unit(metric)}{spread}", f"{len(evaluations.seeds)}"


def _settings(ours: Evaluations, theirs: Evaluations) -> Iterator[str]:
    """Yield the settings of encoder and fine-tuning that are not the same."""
    ones, others = (_recipe(evaluations) for evaluations in (ours, theirs))
    keys = [key for key in {**ones, **others} if ones.get(key) != others.get(key)]
    if not keys:
        yield "  the same settings"
        return
    rows = [(key, str(ones.get(key, "-")), str(others.get(key, "-"))) for key in keys]
    yield from table(("setting", "A", "B"), rows)


def _recipe(evaluations: Evaluations) -> dict[str, Any]:
    seed = evaluations.seeds[0]
    finetuning = seed.metrics.get("finetuning", {})
    found = {f"finetuning.{key}": value for key, value in finetuning.get("recipe", {}).items()}
    found.pop("finetuning.seed", None)
    found["from_scratch"] = finetuning.get("from_scratch")
    for parent in seed.folder.parents:
        path = parent / "metrics.json"
        content: Mapping[str, Any] = read_json(path) if path.is_file() else {}
        if "validation_loss" in content.get("metrics", {}):
            found |= {k: v for k, v in content.get("args", {}).items() if k not in _PLACES}
            found["validation_loss"] = round(content["metrics"]["validation_loss"], 4)
            break
    return found


def _tests(metric: str, ours: Evaluations, theirs: Evaluations) -> Iterator[str]:
    difference = difference_of(ours, theirs, metric)
    low, high = difference.ci95
    chance = permutation_test(ours, theirs, metric)
    rows = [
        ("A − B, points", f"{100 * difference.difference:+.2f}"),
        ("95 % interval, bootstrap over rows", f"{100 * low:+.2f} to {100 * high:+.2f}"),
        (f"permutation test, {PERMUTATIONS:,} draws", f"p = {chance:.4f}"),
    ]
    if ours.statistics is None and ours.num_labels > 1:
        test = mcnemar(ours.correct, theirs.correct)
        split = f"p = {test.p_value:.4f} ({test.first_only} rows for A, {test.second_only} for B)"
        rows.append(("McNemar's exact test", split))
    yield from table(("", ""), rows)
    yield ""
    yield from paragraph(_verdict(difference.difference, low, high))


def _verdict(difference: float, low: float, high: float) -> str:
    if low <= 0 <= high:
        return (
            "These rows show no difference between the two: the interval holds 0. More rows or a "
            "larger effect would be needed to tell them apart."
        )
    better = "A" if difference > 0 else "B"
    return (
        f"{better} is better on these rows by more than the choice of rows explains. The tests "
        "know nothing of the choice of seeds; compare the deviations above."
    )
