"""Measure baselines without an encoder, those that suit the kind of task.

Reads a task folder. Writes one JSON file in the shape of `metrics.json`, with the score and
the predictions of each baseline on every split but the training split. Of classes: the majority
class, and TF-IDF with a logistic regression, whose C is chosen on a part of the training split
that shares no row, no part of a row and no group with the rest. Of scores: their mean, and a ridge
regression under the same names.

Try: python scripts/baselines.py --task TASK_FOLDER --output /tmp/baselines.json
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from cloze.cli import log, make_parser, non_negative_int, run_script
from cloze.metrics import Stopwatch, write_metrics
from cloze.tasks.kind import Baseline
from cloze.tasks.task import load_task


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--task", type=Path, required=True, help="task folder")
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, help="draws the hold-out on which C is chosen"
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    return parser


def run(args: argparse.Namespace) -> None:
    """Fit both baselines once and score them on every evaluation split."""
    stopwatch = Stopwatch()
    task = load_task(args.task)
    train = task.split("train")
    splits = {name: task.split(name) for name in task.evaluation_splits}
    baselines = task.kind.baselines(task, train, splits, args.seed)
    scores = {
        split: {name: _facts(baseline, split) for name, baseline in baselines.items()}
        for split in splits
    }
    for split, measured in scores.items():
        for name, score in measured.items():
            log.info("%s: %s %s %.4f", name, split, task.metric, score["score"])
    write_metrics(
        args.output,
        metrics={"task": task.name, "splits": scores},
        args=args,
        inputs=[task.split_path(split) for split in task.splits],
        script=Path(__file__),
        seconds=stopwatch.read(),
    )


def _facts(baseline: Baseline, split: str) -> dict[str, Any]:
    """Return the single numbers that were measured, and what differences are computed from."""
    outcome = baseline.outcomes[split]
    if outcome.statistics is None:
        rows = {"predictions": outcome.columns["prediction"].to_pylist()}
    else:
        rows = {"statistics": outcome.statistics.tolist()}
    measured = {
        key: value
        for key, value in outcome.metrics.items()
        if isinstance(value, int | float | str) and key not in ("examples", "correct")
    }
    return {**measured, **baseline.facts, **rows}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
