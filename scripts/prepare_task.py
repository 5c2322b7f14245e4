"""Turn labelled files into a task folder: one shape, checked labels, known origin.

Reads a training file and a validation file (CSV, TSV, JSONL or parquet, also compressed),
perhaps a test file and further files to evaluate on, each under a name. Writes `train.parquet`,
`validation.parquet` and so on (columns `text`, `label`; `text_pair` and `group` where named),
`task.json` and `metrics.json`, with how much of each split stands in the training split.

With --hold-out-fraction the validation split is a part of the training file that shares no
row, and no part of a row, with what is left to train on: choose hyper-parameters there and
keep the published validation file for the report. Pairs that share either text stay on one
side; with --group-column so do rows of one author, product or tweet. Every class is on both
sides where that leaves the groups whole.

Try: python scripts/prepare_task.py --train resources/sample/reviews-train.tsv
--validation resources/sample/reviews-validation.tsv --text-column sentence --label-column label
--labels negative positive --output /tmp/task
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from cloze.cli import log, make_parser, progress, run_script
from cloze.errors import ClozeError
from cloze.files import sha256_file, write_json
from cloze.metrics import Stopwatch, write_metrics
from cloze.settings.fields import add_flags
from cloze.settings.tasks import TaskSettings, default_objective, missing_columns
from cloze.tasks.hold_out import hold_out
from cloze.tasks.kind import kind_of
from cloze.tasks.task import (
    TaskSplit,
    describe_split,
    documents_path,
    overlap_with_train,
    write_split,
)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--train", type=Path, required=True, help="file with the training rows")
    parser.add_argument("--validation", type=Path, help="file with the validation rows")
    parser.add_argument("--test", type=Path, help="file with labelled test rows")
    parser.add_argument(
        "--split",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "FILE"),
        help="a further split to evaluate on and its file with labelled rows; repeatable",
    )
    parser.add_argument("--name", help="the task's name; unset: that of the output folder")
    add_flags(parser, TaskSettings)
    parser.add_argument("--output", type=Path, required=True, help="task folder to write")
    return parser


def run(args: argparse.Namespace) -> None:
    """Read, check and write every split."""
    stopwatch = Stopwatch()
    sources = _sources(args)
    kind = kind_of(args.objective or default_objective(args.regression))
    for key in missing_columns(args):
        raise ClozeError(f"--{key.replace('_', '-')}: missing; name the column of the files")
    rows = {
        split: list(progress(kind.read(args, path), unit=" rows", description=path.name))
        for split, path in sources.items()
    }
    names = kind.label_names(args, rows["train"])
    metric = args.metric or kind.default_metric(args, names)
    kind.check_metric(metric, names)
    splits = {split: kind.encode(sources[split], rows[split], names) for split in rows}
    held_out = {} if args.hold_out_fraction is None else _hold_out(args, splits, names)
    facts: dict[str, Any] = {
        "name": args.name or args.output.resolve().name,
        "labels": names,
        "objective": args.objective or default_objective(args.regression),
        "metric": metric,
        "origin": args.origin,
        **kind.facts(args),
        "splits": {split: describe_split(part, names, kind) for split, part in splits.items()},
        "sources": {
            split: {"file": path.name, "sha256": sha256_file(path)}
            for split, path in sources.items()
        },
        "overlap_with_train": {
            split: overlap_with_train(splits["train"], part)
            for split, part in splits.items()
            if split != "train"
        },
        **held_out,
    }
    for split, part in splits.items():
        path = args.output / f"{split}.parquet"
        write_split(path, part)
        # Whoever depends on task.json thereby depends on every split.
        facts["splits"][split]["sha256"] = sha256_file(path)
        if part.documents is not None:
            facts["splits"][split]["documents_sha256"] = sha256_file(documents_path(path))
    if "test" not in splits:
        (args.output / "test.parquet").unlink(missing_ok=True)
    write_json(args.output / "task.json", facts)
    write_metrics(
        args.output / "metrics.json",
        metrics=facts,
        args=args,
        inputs=sources.values(),
        script=Path(__file__),
        seconds=stopwatch.read(),
    )


def _sources(args: argparse.Namespace) -> dict[str, Path]:
    sources = {"train": args.train}
    if args.hold_out_fraction is None:
        if args.validation is None:
            raise ClozeError("--validation: give a validation file, or --hold-out-fraction")
        sources["validation"] = args.validation
    elif not 0 < args.hold_out_fraction < 1:
        raise ClozeError("--hold-out-fraction: must lie between 0 and 1, both excluded")
    if args.test is not None:
        sources["test"] = args.test
    for name, file in args.split:
        if name in (*sources, "validation", "test") or Path(name).name != name:
            raise ClozeError(
                f"--split {name}: give it a name of its own, which is no path and none of train, "
                "validation and test"
            )
        sources[name] = Path(file)
    return sources


def _hold_out(
    args: argparse.Namespace, splits: dict[str, TaskSplit], names: list[str]
) -> dict[str, Any]:
    """Replace the validation split by a part of the training split; returns the counts."""
    everything = splits["train"]
    parts = hold_out(everything, args.hold_out_fraction, args.hold_out_seed)
    if not parts.held_out.size or not parts.train.size:
        raise ClozeError(
            f"{args.train}: a hold-out of {args.hold_out_fraction} leaves one side empty "
            f"({parts.train.size} rows to train on, {parts.held_out.size} held out); "
            "choose another --hold-out-fraction"
        )
    splits["train"] = everything.take(parts.train)
    splits["validation"] = everything.take(parts.held_out)
    counts = {
        "fraction": args.hold_out_fraction,
        "seed": args.hold_out_seed,
        "rows_held_out": int(parts.held_out.size),
        "rows_removed_inside_held_out": int(parts.removed.size),
    }
    (log.warning if parts.one_sided else log.info)("%s", parts.describe(names))
    return {"hold_out": counts}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
