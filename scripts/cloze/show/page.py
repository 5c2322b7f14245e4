"""A report as one HTML file: nothing is loaded from elsewhere, every text is only text."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cloze.files import resource
from cloze.show.html_parts import escape, fill, join, table, tile
from cloze.show.report_figures import (
    checkpoints_figure,
    loss_figure,
    scatter_figure,
    seeds_figure,
)
from cloze.show.text import (
    BASELINE_NAMES,
    baseline_notes,
    baseline_rows,
    class_table,
    interval_notes,
    mistake_heading,
    other_splits,
    seed_table,
)
from cloze.show.text_layout import METRIC_NAMES, mean_count, percent, points, unit, with_deviation
from cloze.show.text_recipe import data_pairs, overlap_pairs, recipe_pairs
from cloze.show.themed_svg import for_a_page


@dataclass(frozen=True)
class PretrainingFiles:
    """What a model folder holds for the page: the run's stream, and its page of masked words."""

    records: list[dict[str, Any]] = field(default_factory=list)
    masked_examples: str = ""


def read_pretraining(folder: Path | None) -> PretrainingFiles:
    """Read what `pretrain.py` published; an imported encoder has neither."""
    if folder is None:
        return PretrainingFiles()
    stream, page = folder / "metrics.jsonl", folder / "masked_examples.html"
    lines = stream.read_text(encoding="utf-8").splitlines() if stream.is_file() else []
    return PretrainingFiles(
        [json.loads(line) for line in lines],
        page.read_text(encoding="utf-8") if page.is_file() else "",
    )


def render_page(report: Mapping[str, Any], pretraining: PretrainingFiles) -> str:
    """Return the page for what `cloze.show.build.build_report` returned."""
    task = report["task"]
    parts = {
        "name": escape(report["name"]),
        "title": escape(f"{report['name']}: {task['name']}"),
        "origin": escape(task["origin"] or "Origin not declared."),
        "tiles": join(tile(*shown) for shown in _tiles(report)),
        "baselines": _beside(report) + _baseline_notes(report),
        "other_splits": join(map(_other_split, other_splits(report))),
        "seeds": _figure("Score by seed", seeds_figure(report)) + table(*seed_table(report)),
        "checkpoints": _checkpoints(report),
        "detail": _scatter(report) if task["is_regression"] else _classes(report),
        "pretraining": _pretraining(report, pretraining),
        "mistakes_about": _mistakes_about(report),
        "mistakes": _mistakes(report),
        "recipe": _pairs(recipe_pairs(report)),
        "data": _pairs(data_pairs(report)),
        "intervals": escape(interval_notes(report)),
        "provenance": join(map(_stage, report["provenance"])),
    }
    return fill(resource("show/report_page.html"), parts)


def _tiles(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    score = report["score"]
    metric, seeds = score["metric"], len(score["per_seed"])
    over = "one seed" if seeds == 1 else f"mean of {seeds} seeds, ± their deviation"
    yield escape(METRIC_NAMES[metric]), escape(with_deviation(score)), over
    if score["ci95"] is not None:
        bounds = " to ".join(percent(bound) for bound in score["ci95"])
        yield "interval over seeds", f"{bounds}{unit(metric)}", "95 %, of the mean"
    if metric == "accuracy":
        bounds = " to ".join(percent(bound) for bound in report["accuracy"]["wilson_ci95"])
        yield "interval over rows", f"{bounds} %", "95 %, Wilson"
    if report["paired_difference"]:
        gain = points(report["paired_difference"])
        yield "gain from pretraining", gain, "points, with 95 % interval"
    yield "evaluated", f"{report['examples']:,}", f"{escape(report['split'])} rows"


def _other_split(report: Mapping[str, Any]) -> str:
    tiles = join(tile(*shown) for shown in _tiles(report))
    heading = f"<h2>On the {escape(report['split'])} split</h2>"
    overlaps = _pairs(list(overlap_pairs(report)))
    return f'{heading}<dl class="headline">{tiles}</dl>{_beside(report)}{overlaps}'


def _baseline_notes(report: Mapping[str, Any]) -> str:
    return join(f'<p class="about">{escape(note)}</p>' for note in baseline_notes(report))


def _beside(report: Mapping[str, Any]) -> str:
    rows = baseline_rows(report)
    scores = [_mean(report["score"])]
    beside = report["baselines"]
    scores += [_mean(beside[key]["score"]) for key in BASELINE_NAMES if key in beside]
    bars = [
        f'<li class="{"other" if place else "ours"}"><span>{escape(name)}</span>'
        f"{_bar(score)}<b>{escape(shown)}</b></li>"
        for place, ((name, shown, _), score) in enumerate(zip(rows, scores, strict=True))
    ]
    differences = [(name, difference) for name, _, difference in rows if difference]
    return (
        f'<ul class="rows">{join(bars)}</ul>'
        f"{table(('better than', 'by points, with 95 % interval'), differences)}"
    )


def _mean(score: Any) -> float:
    return float(score["mean"] if isinstance(score, Mapping) else score)


def _bar(share: float) -> str:
    return f'<span class="bar"><i style="width:{100 * min(1.0, max(0.0, share)):.1f}%"></i></span>'


def _figure(title: str, svg: str) -> str:
    return f'<div class="figures"><figure>{for_a_page(svg, escape(title))}</figure></div>'


def _checkpoints(report: Mapping[str, Any]) -> str:
    if not report["checkpoints"]:
        return ""
    rows = [
        (f"{point['percent']} %", with_deviation(point["score"])) for point in report["checkpoints"]
    ]
    figure = _figure("Score by share of the pretraining budget", checkpoints_figure(report))
    return f"<h2>As pretraining went on</h2>{figure}{table(('share of the budget', 'score'), rows)}"


def _classes(report: Mapping[str, Any]) -> str:
    scores = report["classification_report"]["per_class"]
    bars = [
        f"<li><span>{escape(label)}</span>{_bar(part['f1'])}<b>F1 {percent(part['f1'])}</b></li>"
        for label, part in scores.items()
    ]
    return (
        f'<h2>By class</h2><ul class="rows">{join(bars)}</ul>{table(*class_table(report))}'
        f'<h2>Confusion matrix</h2><p class="about">Rows are true labels, columns predictions; '
        f"counts are means over the seeds, shares those of the row.</p>{_confusion(report)}"
    )


def _confusion(report: Mapping[str, Any]) -> str:
    labels = report["task"]["labels"]
    head = "".join(f"<th>{escape(label)}</th>" for label in labels)
    rows = []
    for label, counts in zip(labels, report["confusion_matrix"], strict=True):
        total = sum(counts) or 1
        cells = "".join(
            f'<td style="--share:{count / total:.3f}">{mean_count(count)}'
            f"<small>{100 * count / total:.0f} %</small></td>"
            for count in counts
        )
        rows.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
    inner = f"<tr><th></th>{head}</tr>{join(rows)}"
    return f'<div class="table"><table class="heat">{inner}</table></div>'


def _scatter(report: Mapping[str, Any]) -> str:
    measured = [
        (name.replace("_", " "), f"{value:.4f}") for name, value in report["measures"].items()
    ]
    figure = _figure("Predicted by true score", scatter_figure(report["scatter"]))
    numbers = table(("measure", "mean over seeds"), measured)
    return f"<h2>Predicted and true scores</h2>{figure}{numbers}"


def _pretraining(report: Mapping[str, Any], files: PretrainingFiles) -> str:
    facts, shown = report["pretraining"] or {}, ""
    if any("loss" in record for record in files.records):
        svg = loss_figure(files.records, facts.get("unigram_entropy"))
        shown += _figure("Loss by step", svg)
    if files.masked_examples:
        page = escape(files.masked_examples)
        shown += (
            "<h3>Words it was asked to guess</h3>"
            f'<iframe sandbox title="Masked examples" srcdoc="{page}"></iframe>'
        )
    return shown or "<p>Nothing is known here of how this encoder was pretrained.</p>"


def _mistakes_about(report: Mapping[str, Any]) -> str:
    if report["task"]["is_regression"]:
        return "The furthest from the true score, predictions averaged over the seeds."
    return "Wrong with the most confidence, probabilities averaged over the seeds."


def _mistakes(report: Mapping[str, Any]) -> str:
    seeds = len(report["score"]["per_seed"])
    return join(_mistake(mistake, seeds) for mistake in report["mistakes"]) or "<p>None.</p>"


def _mistake(mistake: Mapping[str, Any], seeds: int) -> str:
    texts = [mistake["text"], *([mistake["text_pair"]] if "text_pair" in mistake else [])]
    quotes = join(f"<blockquote>{escape(text)}</blockquote>" for text in texts)
    return (
        f'<article class="wrong"><p>{escape(mistake_heading(mistake, seeds))} '
        f"<small>row {mistake['row']:,}</small></p>{quotes}</article>"
    )


def _pairs(found: list[tuple[str, str]]) -> str:
    entries = join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in found)
    return f'<dl class="pairs">{entries}</dl>'


def _stage(stage: Mapping[str, Any]) -> str:
    facts = {key: value for key, value in stage.items() if key != "stage"}
    text = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=100)
    seconds = stage.get("seconds", {}).get("wall")
    took = "" if seconds is None else f" <small>{seconds:,.0f} s</small>"
    summary = f"<summary>{escape(stage['stage'])}{took}</summary>"
    return f"<details>{summary}<pre>{escape(text)}</pre></details>"
