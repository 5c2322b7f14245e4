"""Turn labelled files into a task folder: one shape, checked labels, known origin.

Reads training and validation files (CSV, TSV, JSONL or parquet, also compressed; a folder stands
for its files), perhaps test files and further ones to evaluate on, each split under a name. Writes
`train.parquet`, `validation.parquet` and so on (columns `text`, `label`; `text_pair` and `group`
where named), `task.json` and `metrics.json`, with how much of each split stands in the training
split, and `bad-rows.jsonl` where --max-bad-rows let some be left out.

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
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cloze.cli import log, make_parser, progress, run_script
from cloze.errors import ClozeError
from cloze.files import matching_files, sha256_file, write_json, write_text
from cloze.metrics import Stopwatch, write_metrics
from cloze.settings.fields import add_flags
from cloze.settings.tasks import TaskSettings, conflict, default_objective, missing_columns
from cloze.tasks.hold_out import hold_out
from cloze.tasks.kind import LeftOut, RowError, TaskKind, kind_of
from cloze.tasks.labels import shown_files
from cloze.tasks.task import (
    TaskSplit,
    describe_split,
    documents_path,
    joined,
    overlap_with_train,
    write_split,
)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    for split, rows in (("train", "training"), ("validation", "validation"), ("test", "test")):
        parser.add_argument(
            f"--{split}",
            type=Path,
            nargs="+",
            required=split == "train",
            metavar="FILE",
            help=f"files or folders with the labelled {rows} rows",
        )
    parser.add_argument(
        "--split",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "FILE"),
        help="a further split to evaluate on and its files with labelled rows; repeatable",
    )
    parser.add_argument("--name", help="the task's name; unset: that of the output folder")
    add_flags(parser, TaskSettings)
    parser.add_argument("--output", type=Path, required=True, help="task folder to write")
    return parser


def run(args: argparse.Namespace) -> None:
    """Read, check and write every split."""
    stopwatch = Stopwatch()
    sources, left_out = _sources(args), LeftOut(args)
    kind = kind_of(args.objective or default_objective(args.regression))
    if found := conflict(args):
        raise ClozeError(f"--{found[0].replace('_', '-')}: {found[1]}")
    for key in missing_columns(args):
        raise ClozeError(f"--{key.replace('_', '-')}: missing; name the column of the files")
    rows = {
        path: list(progress(kind.read(args, path, left_out), unit=" rows", description=path.name))
        for path in dict.fromkeys(path for paths in sources.values() for path in paths)
    }
    names = kind.label_names(args, [row for path in sources["train"] for row in rows[path]])
    metric = args.metric or kind.default_metric(args, names)
    kind.check_metric(metric, names)
    splits = {
        split: joined([_encode(kind, path, rows[path], names, left_out) for path in paths])
        for split, paths in sources.items()
    }
    counts = _left_out(args, sources, left_out)
    held_out = {} if args.hold_out_fraction is None else _hold_out(args, splits, names)
    facts: dict[str, Any] = {
        "name": args.name or args.output.resolve().name,
        "labels": names,
        "objective": args.objective or default_objective(args.regression),
        "metric": metric,
        "origin": args.origin,
        **kind.facts(args),
        **({"left_out": counts} if counts else {}),
        "splits": {split: describe_split(part, names, kind) for split, part in splits.items()},
        "sources": {
            split: [{"file": path.name, "sha256": sha256_file(path)} for path in paths]
            for split, paths in sources.items()
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
        inputs=[path for paths in sources.values() for path in paths],
        script=Path(__file__),
        seconds=stopwatch.read(),
    )


def _sources(args: argparse.Namespace) -> dict[str, list[Path]]:
    """Return the files of each split, and have the arguments name them, folders expanded."""
    args.train = _files("--train", args.train)
    sources = {"train": args.train}
    if args.hold_out_fraction is None:
        if args.validation is None:
            raise ClozeError("--validation: give a validation file, or --hold-out-fraction")
        sources["validation"] = args.validation = _files("--validation", args.validation)
    elif not 0 < args.hold_out_fraction < 1:
        raise ClozeError("--hold-out-fraction: must lie between 0 and 1, both excluded")
    if args.test is not None:
        sources["test"] = args.test = _files("--test", args.test)
    for number, (name, *files) in enumerate(args.split):
        if name in (*sources, "validation", "test") or Path(name).name != name:
            raise ClozeError(
                f"--split {name}: give it a name of its own, which is no path and none of train, "
                "validation and test"
            )
        if not files:
            raise ClozeError(f"--split {name}: name its files after it")
        sources[name] = _files(f"--split {name}", map(Path, files))
        args.split[number] = [name, *map(str, sources[name])]
    return sources


def _files(flag: str, paths: Iterable[Path]) -> list[Path]:
    """Return files, and those of folders in order of their path, hidden ones left out."""
    found = list[Path]()
    for path in paths:
        inside = [path / name for name in matching_files(path, "*")] if path.is_dir() else [path]
        if not inside:
            raise ClozeError(f"{flag}: {path}: the folder has no files")
        found += inside
    for path in found:
        if found.count(path) > 1:
            raise ClozeError(f"{flag}: {path}: is named twice; name it once")
    return found


def _encode(
    kind: TaskKind, path: Path, rows: list[Any], names: list[str], left_out: LeftOut
) -> TaskSplit:
    """Return the rows as a split, without those that `left_out` takes note of."""
    while True:
        try:
            return kind.encode(path, rows, names)
        except RowError as error:
            left_out.add(path, error.place, error)
            rows = [row for row in rows if row.place != error.place]


def _left_out(
    args: argparse.Namespace, sources: dict[str, list[Path]], left_out: LeftOut
) -> dict[str, dict[str, int]]:
    """Write and count the rows that were left out: of each split those unlabelled, and bad ones."""
    path = args.output / "bad-rows.jsonl"
    path.unlink(missing_ok=True)
    if left_out.bad:
        lines = [json.dumps(row, ensure_ascii=False) for row in left_out.bad]
        write_text(path, "".join(f"{line}\n" for line in lines))
    counts = {
        split: {
            "unlabelled": sum(left_out.unlabelled[path] for path in paths),
            "bad": sum(row["file"] in map(str, paths) for row in left_out.bad),
        }
        for split, paths in sources.items()
    }
    for split, found in counts.items():
        if any(found.values()):
            log.warning(
                "%s: left out %d rows without a label and %d bad rows%s",
                split,
                found["unlabelled"],
                found["bad"],
                f", listed in {path}" if found["bad"] else "",
            )
    return {split: found for split, found in counts.items() if any(found.values())}


def _hold_out(
    args: argparse.Namespace, splits: dict[str, TaskSplit], names: list[str]
) -> dict[str, Any]:
    """Replace the validation split by a part of the training split; returns the counts."""
    everything = splits["train"]
    parts = hold_out(everything, args.hold_out_fraction, args.hold_out_seed)
    if not parts.held_out.size or not parts.train.size:
        raise ClozeError(
            f"{shown_files(args.train)}: a hold-out of {args.hold_out_fraction} leaves one side "
            f"empty ({parts.train.size} rows to train on, {parts.held_out.size} held out); "
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
