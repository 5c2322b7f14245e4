"""The figure that tells most of what a job of the workflow has made, in a few words."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cloze.show.text_layout import METRIC_NAMES, points, with_deviation


def figure_of(stage: str, output: Sequence[str]) -> str:
    """Return the headline of a job from the metrics among its outputs; empty where it has none."""
    name, words = _FIGURES.get(stage, ("", None))
    found = next((path for path in output if path.endswith(name)), None)
    if words is None or found is None:
        return ""
    return words(json.loads(Path(found).read_text(encoding="utf-8")).get("metrics", {}))


def describe_report(report: Path) -> Iterator[str]:
    """Yield what a finished report says and where it lies; nothing where it is not there.

    `report`: its path up to what follows the name, such as `results/sst2_report`.
    """
    json_file, page = (report.with_name(f"{report.name}{end}") for end in (".json", ".html"))
    if not json_file.is_file():
        return
    content = json.loads(json_file.read_text(encoding="utf-8"))
    score, gain = content["score"], content.get("paired_difference")
    yield (
        f"{content['name']}: {METRIC_NAMES[score['metric']]} {with_deviation(score)}"
        + (f"; pretraining {points(gain)} points" if gain else "")
    )
    yield f"  report: {report}.txt" + (f", and {page} for a browser" if page.is_file() else "")


def _documents(metrics: dict[str, Any]) -> str:
    train = metrics["splits"]["train"]
    return f"{train['documents']:,} documents, {train['words']:,} words"


def _tokens(metrics: dict[str, Any]) -> str:
    return f"{metrics['train']['rows']:,} rows, {metrics['train']['tokens']:,} tokens"


def _pretraining(metrics: dict[str, Any]) -> str:
    loss, floor = metrics["validation_loss"], metrics.get("unigram_entropy")
    beside = "" if floor is None else f"; guessing by frequency {floor:.2f}"
    return f"validation loss {loss:.2f}{beside}"


def _task(metrics: dict[str, Any]) -> str:
    return ", ".join(f"{facts['rows']:,} rows {name}" for name, facts in metrics["splits"].items())


def _score(metrics: dict[str, Any]) -> str:
    return f"{METRIC_NAMES[metrics['metric']]} {metrics['score']:.4f}"


def _baselines(metrics: dict[str, Any]) -> str:
    """Tell of the strongest baseline on the first split."""
    split = next(iter(metrics["splits"].values()))
    scored = {name: facts["score"] for name, facts in split.items() if "score" in facts}
    name = max(scored, key=lambda key: scored[key])
    return f"{name.replace('_', ' ')}: {METRIC_NAMES[split[name]['metric']]} {scored[name]:.4f}"


def _fine_tuning(metrics: dict[str, Any]) -> str:
    score = metrics["train_score"]
    steps = f"{metrics['steps']:,} steps"
    return steps if score is None else f"{steps}, {score:.4f} on its training split"


_FIGURES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "extract_documents": ("metrics.json", _documents),
    "mix_documents": ("metrics.json", _documents),
    "train_tokenizer": ("metrics.json", lambda metrics: f"{metrics['vocab_size']:,} tokens"),
    "collect": ("metrics.json", _tokens),
    "pretrain": ("metrics.json", _pretraining),
    "prepare_task": ("metrics.json", _task),
    "baselines": ("baselines.json", _baselines),
    "finetune": ("metrics.json", _fine_tuning),
    "evaluate": ("metrics.json", _score),
}
