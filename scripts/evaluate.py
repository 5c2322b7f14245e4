"""Evaluate a fine-tuned model on a whole split of its task.

Reads a model folder that `finetune.py` wrote and a task folder. Writes `predictions.parquet`
(row, text, label, prediction and what else the kind of task has) and `metrics.json`, with the
task's own measure as `score`: of classes accuracy, precision, recall and F1 by class, Matthews
correlation, confusion matrix, cross-entropy; of scores Pearson and Spearman correlations and
errors; of tagged words the F1 of entities and by their types.

Try: python scripts/evaluate.py --model CLASSIFIER_FOLDER --task TASK_FOLDER --output /tmp/eval
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from cloze.cli import capped_threads, log, make_parser, run_script
from cloze.errors import ClozeError
from cloze.metrics import Stopwatch, metrics_of_model, write_metrics
from cloze.model.device import resolve_compute
from cloze.model.hf_config import config_from_folder
from cloze.model.weights import weight_files
from cloze.objectives.task import objective_of
from cloze.objectives.texts import check_max_length
from cloze.settings.fields import add_flags
from cloze.settings.finetuning import TextSettings
from cloze.settings.machine import ComputeSettings
from cloze.tasks.evaluations import write_predictions
from cloze.tasks.task import Task, load_task
from cloze.tokens.tokenizer_folder import tokenizer_files, tokenizer_of_folder


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="fine-tuned model folder")
    parser.add_argument("--task", type=Path, required=True, help="task folder")
    parser.add_argument("--split", default="validation", help="split to evaluate")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    add_flags(parser, TextSettings)
    add_flags(parser, ComputeSettings, precision="fp32")
    return parser


def run(args: argparse.Namespace) -> None:
    """Predict every row of the split and measure."""
    stopwatch = Stopwatch()
    compute = resolve_compute(
        args.device, args.precision, "off", capped_threads(args), 0.0, fastest_fp32=False
    )
    task = load_task(args.task)
    objective = objective_of(task)
    model, names = objective.load(args.model)
    _require_same_labels(args.model, names, task)
    config = config_from_folder(args.model)
    check_max_length(args.max_length, config.max_length)
    split = task.split(args.split)
    tokenizer = tokenizer_of_folder(args.model)
    encoded = objective.encode(tokenizer, split, args, config.vocab_size)
    outputs = objective.predict(model.to(compute.torch_device), encoded, compute, None)
    outcome = objective.outcome(task, split, encoded, outputs)
    metrics: dict[str, Any] = {
        "task": task.name,
        "split": args.split,
        "finetuning": _finetuning_facts(args.model),
        **outcome.metrics,
        "truncated_texts": encoded.truncated,
    }
    if args.split != "train":
        metrics["overlap_with_train"] = task.facts.get("overlap_with_train", {}).get(args.split)
    log.info("%s %s %.4f on %d rows", args.split, task.metric, metrics["score"], len(split))
    write_predictions(args.output / "predictions.parquet", split, outcome)
    write_metrics(
        args.output / "metrics.json",
        metrics=metrics,
        args=args,
        inputs=[
            *weight_files(args.model),
            *tokenizer_files(args.model),
            task.split_path(args.split),
        ],
        script=Path(__file__),
        seconds=stopwatch.read(),
    )


def _require_same_labels(folder: Path, names: list[str], task: Task) -> None:
    if names == task.labels:
        return
    if names == [f"LABEL_{number}" for number in range(len(task.labels))]:
        raise ClozeError(
            f"{folder / 'config.json'}: does not name the model's labels; add id2label with those "
            f"of the task {task.name} ({', '.join(task.labels)}) in the order that it was trained "
            "with"
        )
    raise ClozeError(
        f"{folder / 'config.json'}: the model knows the labels {', '.join(names)}, the task "
        f"{task.name} has {', '.join(task.labels)}; fine-tune the model on this task"
    )


def _finetuning_facts(folder: Path) -> dict[str, Any]:
    """What the model's own `metrics.json` says of its training; empty if it came without one.

    With `args` and `inputs`, by which evaluations of different recipes are told apart.
    """
    content = metrics_of_model(folder)
    if not content:
        return {}
    return {**content["metrics"], **{key: content.get(key, {}) for key in ("args", "inputs")}}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
