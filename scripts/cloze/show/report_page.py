"""A report as one HTML file: nothing is loaded from elsewhere, every text is only text."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from cloze.files import read_json_lines, resource
from cloze.pages import render
from cloze.settings.pretraining import MonitoringSettings, PretrainingSettings
from cloze.show.adaptation import adaptation_notes, adaptation_table
from cloze.show.figures import (
    checkpoints_figure,
    for_a_page,
    loss_curve,
    positions_figure,
    seeds_figure,
)
from cloze.show.kind_reports import kind_report
from cloze.show.report_text import (
    POSITION_NOTE,
    REPEATED_WORD_NOTE,
    adaptation,
    baseline_names,
    baseline_notes,
    baseline_rows,
    checkpoint_table,
    data_pairs,
    headline,
    interval_notes,
    other_splits,
    overlap_pairs,
    position_tables,
    recipe_pairs,
    repeated_word_table,
    seed_table,
    subject_pairs,
)
from cloze.show.text_layout import METRIC_NAMES, percent, points, unit, with_deviation
from cloze.show.verdicts import verdicts


@dataclass(frozen=True)
class PretrainingFiles:
    """What a model folder holds for the page: the run's stream, and its page of masked words."""

    records: list[dict[str, Any]] = field(default_factory=list)
    masked_examples: str = ""


def read_pretraining(folder: Path | None) -> PretrainingFiles:
    """Read what `pretrain.py` and `show_pretraining.py` wrote; an import has neither."""
    if folder is None:
        return PretrainingFiles()
    stream, page = folder / "metrics.jsonl", folder / "masked_examples.html"
    return PretrainingFiles(
        read_json_lines(stream) if stream.is_file() else [],
        page.read_text(encoding="utf-8") if page.is_file() else "",
    )


def render_page(report: Mapping[str, Any], pretraining: PretrainingFiles) -> str:
    """Return the page for what `cloze.show.report.build_report` returned."""
    facts, adapted = report["pretraining"] or {}, adaptation(report)
    figures = {"seeds": for_a_page(seeds_figure(report), "Score by seed")}
    if report["checkpoints"]:
        title = "Score by share of the pretraining budget"
        figures["checkpoints"] = for_a_page(checkpoints_figure(report), title)
    if any("loss" in record for record in pretraining.records):
        curve = loss_curve(pretraining.records, facts.get("unigram_entropy"))
        figures["loss"] = for_a_page(curve, "Loss by step")
    if "loss_by_position" in facts:
        figure = positions_figure(facts["loss_by_position"])
        figures["positions"] = for_a_page(figure, "Loss by position")
    return render(
        resource("show/report_page.html"),
        report=report,
        facts=facts,
        subject=list(subject_pairs(report)),
        sentence=headline(report),
        headline=_scores(report),
        verdicts=verdicts(report),
        other_splits=map(_scores, other_splits(report)),
        figures=figures,
        baseline_notes=baseline_notes(report),
        seed_table=seed_table(report),
        checkpoint_table=checkpoint_table(report),
        adaptation_table=adapted and adaptation_table(adapted),
        adaptation_notes=adapted and adaptation_notes(adapted),
        details=Markup(kind_report(report["task"]).page(report)),
        masked_examples=pretraining.masked_examples,
        position_note=POSITION_NOTE,
        position_tables=position_tables(report),
        repeated_word_note=REPEATED_WORD_NOTE,
        repeated_word_table=repeated_word_table(report),
        recipe=[pair for pair in recipe_pairs(report) if pair[0] != "fine-tuning"],
        hyperparameters=_hyperparameters(report),
        command=_command(report),
        data=data_pairs(report),
        intervals=interval_notes(report),
        provenance=map(_stage, report["provenance"]),
    )


def _scores(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is shown of a split: scores, alone and beside baselines, and overlaps."""
    return {
        "split": report["split"],
        "tiles": _tiles(report),
        "bars": _bars(report),
        "differences": [(row[0], row[2]) for row in baseline_rows(report) if row[2]],
        "overlaps": list(overlap_pairs(report)),
    }


def _tiles(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    score = report["score"]
    metric, seeds = score["metric"], len(score["per_seed"])
    over = "one seed" if seeds == 1 else f"mean of {seeds} seeds, ± their deviation"
    yield METRIC_NAMES[metric], with_deviation(score), over
    if score["ci95"] is not None:
        bounds = " to ".join(percent(bound) for bound in score["ci95"])
        yield "interval over seeds", f"{bounds}{unit(metric)}", "95 %, of the mean"
    if metric == "accuracy":
        bounds = " to ".join(percent(bound) for bound in report["accuracy"]["wilson_ci95"])
        yield "interval over rows", f"{bounds} %", "95 %, Wilson"
    if report["paired_difference"]:
        yield "gain from pretraining", *_gain(report["paired_difference"])
    if (before := report["baselines"].get("unadapted")) is not None:
        yield "gain from adaptation", *_gain(before["paired_difference"])
    rows = kind_report(report["task"]).row_name
    yield "evaluated", f"{report['examples']:,}", f"{report['split']} {rows}"


def _gain(difference: Mapping[str, Any]) -> tuple[str, str]:
    # With a space that breaks no line.
    gain, interval = points(difference).split(maxsplit=1)
    return gain, f"points; 95 % {interval.replace(' ', chr(0xA0))}"


def _bars(report: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """Return name, score as text and score of the encoder and of each baseline."""
    beside = report["baselines"]
    names = baseline_names(report)
    scores = [report["score"], *(beside[key]["score"] for key in names if key in beside)]
    means = [score["mean"] if isinstance(score, Mapping) else score for score in scores]
    return [
        (name, shown, mean)
        for (name, shown, _), mean in zip(baseline_rows(report), means, strict=True)
    ]


def _hyperparameters(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the settings that decided the weights, of fine-tuning and of pretraining."""
    tuned, args = report["finetuning"]["recipe"], _args(report, "encoder")
    unseen = {field.name for field in fields(MonitoringSettings)}
    names = [field.name for field in fields(PretrainingSettings) if field.name not in unseen]
    trained = {name: args[name] for name in names if args.get(name) is not None}
    both = dict.fromkeys([*tuned, *trained])
    return [(n.replace("_", " "), _plain(tuned.get(n)), _plain(trained.get(n))) for n in both]


def _plain(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _command(report: Mapping[str, Any]) -> str | None:
    """Return what predicts with the model of the first seed, where the report says which."""
    model = _args(report, "evaluation of the first seed").get("model")
    use = kind_report(report["task"]).use
    text = '"A question?" "A text with its answer."' if use == "answer" else '"A text of your own."'
    return model and f"python scripts/predict.py {use} --model {model} {text}"


def _args(report: Mapping[str, Any], stage: str) -> Mapping[str, Any]:
    found = [part.get("args", {}) for part in report["provenance"] if part["stage"] == stage]
    return found[0] if found else {}


def _stage(stage: Mapping[str, Any]) -> dict[str, Any]:
    # Plain dictionaries: YAML knows no kind of its own, such as `Record`.
    facts = json.loads(json.dumps({key: stage[key] for key in stage if key != "stage"}))
    text = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=100)
    return {"name": stage["stage"], "seconds": stage.get("seconds", {}).get("wall"), "text": text}
