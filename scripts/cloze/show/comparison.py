"""All results below a folder, a table for each task.

A table has a row a recipe and only the columns that differ in it, as text, Markdown or a page
that sorts itself, as CSV all in one; below stand what was left out, and the reports that there are.
"""

import csv
import io
import os
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from cloze.errors import ClozeError
from cloze.files import read_object, resource, write_text
from cloze.metrics import read_metrics
from cloze.pages import render
from cloze.show.text_layout import METRIC_NAMES, aligned, shown_value
from cloze.tasks.lineage import Lineage, is_encoder, lineage_of, staleness
from cloze.tasks.statistics import summarise

ALWAYS = ("run", "score", "std")
# What a row is measured by and its heading therefore says.
_OF_THE_GROUP = ("task", "metric")
_PRETRAINING_KEYS = (
    "validation_loss",
    "validation_accuracy",
    "masked_bits_per_byte",
    "steps",
    "tokens",
    "train_seconds",
    "num_parameters",
)
PLACES = frozenset(
    {"dataset", "tokenizer", "output", "run_dir", "model", "task", "device", "log", "threads"}
)
"""Arguments that say where a run lies and on what machine it ran, not what it is."""
# What pretraining, or else an import, says of an encoder.
_MODEL_METRICS = ("validation_loss", "masked_lm_head")
_BASELINES = "baselines.json"
_NO_TASK = "encoders that no task was evaluated with"
_STALE = "Left out, because it is stale (fine-tune and evaluate these seeds again):"
_NAMES = "One name, but not the same settings:"
_REPORTS = "Reports, each of the recipe whose folder it lies in:"

Row = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """What a table shows, and what is said below it.

    stale: a sentence for each evaluation that is left out. names: a sentence for each setting
    that is another in one folder than in another, though an entry of one name gave it. reports:
    the text of each report below its recipe's folder, to what is said of it if it is stale.
    """

    rows: list[Row]
    stale: list[str]
    names: list[str]
    reports: dict[Path, str | None]


def compare_results(root: Path) -> Comparison:
    """Return a row for each evaluated recipe, unevaluated encoder and baseline below `root`.

    Rows are sorted by path. Seeds of one folder that are of different recipes have rows of their
    own, and evaluations of what is no longer there have none (see `cloze.tasks.lineage`).
    Folders whose name starts with a dot (unfinished runs) and copies in `best` are left out.
    Raises `ClozeError` if there is nothing to compare.
    """
    found = {path: read_metrics(path) for path in _metrics_files(root)}
    encoders = {
        path.parent: record["metrics"] | {"args": record.get("args", {})}
        for path, record in found.items()
        if any(key in record.get("metrics", {}) for key in _MODEL_METRICS)
    }
    stale = {
        path: reason
        for path, record in found.items()
        if _is_evaluation(path, record) and (reason := staleness(path.parent, record))
    }
    fresh = {path: record for path, record in found.items() if path not in stale}
    rows = _evaluation_rows(root, fresh, encoders)
    evaluated = {row.get("encoder") for row in rows}
    for folder, metrics in encoders.items():
        name = _relative(folder, root)
        if name not in evaluated:
            rows.append({"run": name, **_encoder_columns(metrics)})
    for row in rows:
        row.pop("encoder", None)
    rows += _baseline_rows(root, found)
    notes = [f"{path.parent} {reason}" for path, reason in stale.items()]
    if not rows:
        problem = f"{notes[0]}" if notes else f"{root}: holds no results"
        raise ClozeError(f"{problem}; run the workflow or give another folder")
    rows.sort(key=lambda row: row["run"])
    return Comparison(rows, notes, _ambiguous_names(root), _reports(root))


def sort_rows(comparison: Comparison, column: str | None) -> Comparison:
    """Return it with the rows by one column, numbers from high to low, those without it last.

    None: by score. Raises `ClozeError` for a column that no table shows, as nothing would be seen
    of its order.
    """
    rows = comparison.rows
    shown = list(dict.fromkeys(c for group in grouped(rows) for c in group.columns))
    if column is not None and column not in shown:
        known = column in all_columns(rows)
        problem = "is the same in all rows of each table" if known else "no such column"
        raise ClozeError(f"--sort {column}: {problem}; there are: {', '.join(shown)}")
    column = column or "score"
    present = [row for row in rows if row.get(column) is not None]
    numbers = all(isinstance(row[column], int | float) for row in present)
    present.sort(key=lambda row: row[column] if numbers else str(row[column]), reverse=numbers)
    absent = [row for row in rows if row.get(column) is None]
    return replace(comparison, rows=present + absent)


def all_columns(rows: Sequence[Row]) -> list[str]:
    """Return every column in the order in which the rows name them."""
    return list(dict.fromkeys(column for row in rows for column in row))


@dataclass(frozen=True)
class Group:
    """The rows of one task by one measure, with the columns that tell them apart."""

    heading: str
    columns: list[str]
    rows: list[Row]

    def fitting(self, width: int | None, sorted_by: str | None) -> "Group":
        """Return it with the columns that fit into `width` characters: the first ones, mostly.

        run, score and the column sorted by stay in any case; None is any width.
        """
        kept = list(self.columns)
        needed = {"run", "score", sorted_by}
        for column in reversed(self.columns):
            lines = aligned(kept, _cells(self.rows, kept))
            if width is None or max(map(len, lines)) <= width:
                break
            if column not in needed:
                kept.remove(column)
        return replace(self, columns=kept)


def grouped(rows: Sequence[Row]) -> list[Group]:
    """Return the rows of each task and measure, by name, then what no task was evaluated with."""
    groups: dict[tuple[bool, str, str], list[Row]] = {}
    for row in rows:
        task, metric = row.get("task", ""), row.get("metric", "")
        groups.setdefault((not task, task, metric), []).append(row)
    return [
        Group(
            f"{task}: {METRIC_NAMES.get(metric, metric)}" if task else _NO_TASK,
            [column for column in differing_columns(found) if column not in _OF_THE_GROUP],
            found,
        )
        for (_, task, metric), found in sorted(groups.items())
    ]


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


def _is_evaluation(path: Path, record: dict[str, Any]) -> bool:
    keys = record.get("metrics", {}).keys()
    return path.name != _BASELINES and {"score", "split", "task"} <= keys


def _evaluation_rows(
    root: Path, found: dict[Path, Any], encoders: dict[Path, dict[str, Any]]
) -> list[Row]:
    """A row for the seeds of a folder that were made alike, of each split."""
    groups: dict[tuple[Path, str], list[tuple[Lineage, list[dict[str, Any]]]]] = {}
    for path, record in found.items():
        if not _is_evaluation(path, record):
            continue
        metrics, lineage = record["metrics"], lineage_of(record)
        recipes = groups.setdefault((_recipe_folder(path.parent, root), metrics["split"]), [])
        alike = next((seeds for made, seeds in recipes if made == lineage), None)
        if alike is None:
            recipes.append((lineage, [metrics]))
        else:
            alike.append(metrics)
    rows = []
    for (folder, split), recipes in groups.items():
        nearest = next((parent for parent in folder.parents if parent in encoders), None)
        for lineage, seeds in recipes:
            row = _evaluation_row(root, folder, split, seeds)
            # What was kept on the way through pretraining lies below the finished encoder.
            if nearest is not None and is_encoder(nearest, lineage.encoder):
                row |= {"encoder": _relative(nearest, root), **_encoder_columns(encoders[nearest])}
            rows.append(row)
    return rows


def _ambiguous_names(root: Path) -> list[str]:
    """A sentence for each setting that differs between the recipes of folders of one name."""
    values: dict[str, dict[str, Path]] = {}
    for path in sorted(root.rglob("recipe.yaml")):
        for setting, value in _settings(path):
            # One place for each value is enough to see what there is.
            values.setdefault(setting, {}).setdefault(shown_value(value), path.parent)
    return [
        f"{setting} is {', '.join(f'{value} in {place}' for value, place in places.items())}"
        for setting, places in values.items()
        if len(places) > 1
    ]


def _settings(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield `encoders.tiny.max_steps` and its value, for each setting of a recipe's entries."""
    try:
        recipe = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise ClozeError(f"{path}: not valid YAML ({error}); remove it") from error
    tables = {key: value for key, value in recipe.items() if isinstance(value, dict)}
    for table, entries in tables.items():
        for name, entry in entries.items():
            for key, value in entry.items():
                nested = value if key.startswith("finetuning") else {"": value}
                for part, setting in nested.items():
                    yield ".".join(filter(None, (table, name, key, part))), setting


def _reports(root: Path) -> dict[Path, str | None]:
    """Each report in a folder below `root`, and of a stale one why; those beside are copies."""
    return {
        path.with_suffix(".txt"): _staleness_of_report(path.parent, read_object(path))
        for path in sorted(root.rglob("*_report.json"))
        if path.parent != root
    }


def _staleness_of_report(folder: Path, report: dict[str, Any]) -> str | None:
    """Why a report in `MODEL/{task}`, or an average in `MODEL`, is none of what lies there."""
    model = folder if "average" in report else folder.parent
    encoder = report.get("encoder") or report.get("finetuning", {}).get("encoder")
    if not is_encoder(model, encoder or {}):
        return "stale: of another encoder than lies there now"
    for seed, score in report.get("score", {}).get("per_seed", {}).items():
        path = folder / f"seed-{seed}" / report["split"] / "metrics.json"
        if path.is_file() and read_metrics(path)["metrics"]["score"] != score:
            return f"stale: of another evaluation of seed {seed} than lies there now"
    return None


def _recipe_folder(evaluation: Path, root: Path) -> Path:
    """The folder that holds an evaluation's seeds: `…/task` of `…/task/seed-1/validation`."""
    for folder in evaluation.parents:
        if folder == root:
            break
        if folder.name.startswith("seed-"):
            return folder.parent
    return evaluation


def _evaluation_row(root: Path, folder: Path, split: str, seeds: list[dict[str, Any]]) -> Row:
    score = summarise([metrics["score"] for metrics in seeds])
    first = seeds[0]
    finetuning = first.get("finetuning", {})
    recipe = {f"finetuning.{k}": v for k, v in finetuning.get("recipe", {}).items() if k != "seed"}
    return {
        "run": _relative(folder, root),
        "task": first["task"],
        "split": split,
        "metric": first["metric"],
        "seeds": len(seeds),
        "score": score.mean,
        "std": score.std,
        "finetuning_seconds": finetuning.get("train_seconds"),
        **recipe,
    }


def _encoder_columns(metrics: dict[str, Any]) -> Row:
    arguments = {
        key: value
        for key, value in metrics["args"].items()
        if key not in PLACES and not isinstance(value, list | dict)
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


def write_table(comparison: Comparison, path: Path) -> None:
    """Write the rows in the form that the file's name asks for.

    Raises `ClozeError` if that is none of .html, .md, .csv and .txt.
    """
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise ClozeError(
            f"--output {path}: no such form; end the name in one of {', '.join(_FORMATS)}"
        )
    write_text(path, form(comparison, path.parent))


def render_tables(comparison: Comparison, width: int | None, sorted_by: str | None = None) -> str:
    """Return aligned text with the columns that differ and fit, and what is said below."""
    lines: list[str] = []
    for group in grouped(comparison.rows):
        shown = group.fitting(width, sorted_by)
        lines += [group.heading, "", *aligned(shown.columns, _cells(group.rows, shown.columns)), ""]
        if hidden := [column for column in group.columns if column not in shown.columns]:
            lines += [*textwrap.wrap(f"--all shows {', '.join(hidden)} too", width or 80), ""]
    for heading, items in _below(comparison):
        lines += [heading, *(f"  {item}" for item in items), ""]
    return "\n".join(lines[:-1]) + "\n"


def _as_text(comparison: Comparison, place: Path) -> str:
    return render_tables(comparison, None)


def _below(comparison: Comparison) -> Iterator[tuple[str, list[str]]]:
    """Yield heading and items of what stands below the table."""
    if comparison.stale:
        yield _STALE, comparison.stale
    if comparison.names:
        yield _NAMES, comparison.names
    if comparison.reports:
        yield _REPORTS, [_said_of(path, stale) for path, stale in comparison.reports.items()]


def _said_of(report: Path, stale: str | None) -> str:
    return str(report) if stale is None else f"{report} ({stale})"


def _cells(rows: Sequence[Row], columns: Sequence[str]) -> list[list[str]]:
    return [[shown_value(row.get(column)) for column in columns] for row in rows]


def _as_markdown(comparison: Comparison, place: Path) -> str:
    text = ""
    for group in grouped(comparison.rows):
        columns = group.columns
        lines = [columns, ["---", *("---:" for _ in columns[1:])], *_cells(group.rows, columns)]
        text += f"\n{_markdown_cell(group.heading)}\n\n"
        text += "".join(f"| {' | '.join(map(_markdown_cell, line))} |\n" for line in lines)
    for heading, items in _below(comparison):
        text += f"\n{heading}\n\n" + "".join(f"- {_markdown_cell(item)}\n" for item in items)
    return text.removeprefix("\n")


def _markdown_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;")


def _as_csv(comparison: Comparison, place: Path) -> str:
    """Numbers whole, not as they are shown, and nothing below: this is for a program."""
    stream = io.StringIO()
    columns = differing_columns(comparison.rows)
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(comparison.rows)
    return stream.getvalue()


def _as_html(comparison: Comparison, place: Path) -> str:
    """A page in the folder `place`, from which it links to the reports."""
    return render(
        resource("show/comparison_page.html"),
        groups=[_group_of_page(group) for group in grouped(comparison.rows)],
        below=[(_STALE, comparison.stale), (_NAMES, comparison.names)],
        reports_heading=_REPORTS,
        reports=[
            (Path(os.path.relpath(path, place)).as_posix(), _said_of(path, stale))
            for path, stale in comparison.reports.items()
        ],
    )


def _group_of_page(group: Group) -> dict[str, Any]:
    """The score first: a phone shows a table's first columns."""
    columns = sorted(group.columns, key=lambda name: (name not in ("score", "std"), name != "run"))
    cells = [
        [(shown_value(value), _sort_key(value)) for value in map(row.get, columns)]
        for row in group.rows
    ]
    return {"heading": group.heading, "columns": columns, "rows": cells}


def _sort_key(value: Any) -> str | None:
    """Return a number as the page's script reads it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return repr(value) if is_number else None


_FORMATS: dict[str, Callable[[Comparison, Path], str]] = {
    ".html": _as_html,
    ".md": _as_markdown,
    ".csv": _as_csv,
    ".txt": _as_text,
}
