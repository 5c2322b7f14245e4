"""What the command lines of the two methods share: flags, and running a method."""

import argparse
from pathlib import Path

from cloze.cli import capped_threads
from cloze.metrics import Stopwatch, write_metrics
from cloze.settings.datasets import DataSetSettings
from cloze.settings.fields import add_flags
from cloze.settings.machine import ThreadSettings
from cloze.tokens.collect import DATASET_SPLITS, ShardName
from cloze.tokens.dataset import DataSetRecipe, build_data_set, build_one_shard
from cloze.tokens.samples import Method


def add_dataset_flags(parser: argparse.ArgumentParser, settings: type[DataSetSettings]) -> None:
    """Add the flags of both methods and the settings of one."""
    parser.add_argument(
        "--documents",
        type=Path,
        required=True,
        help="folder with train.parquet and validation.parquet",
    )
    parser.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer.json")
    parser.add_argument("--output", type=Path, required=True, help="folder for the data set")
    add_flags(parser, settings)
    parser.add_argument(
        "--shard",
        type=shard_name,
        metavar="NAME",
        help="make this shard alone, such as train-00003-of-00008; collect_shards.py then makes "
        "the manifest of all",
    )
    add_flags(parser, ThreadSettings)


def shard_name(text: str) -> ShardName:
    """argparse type: the name of a shard."""
    try:
        return ShardName.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run_method(
    args: argparse.Namespace, method: Method, script: Path, next_sentence: bool = False
) -> None:
    """Build what the flags describe: one shard, or the data set and its `metrics.json`."""
    stopwatch = Stopwatch()
    recipe = DataSetRecipe(
        tokenizer=args.tokenizer,
        method=method,
        max_length=args.max_length,
        row_length=args.row_length or args.max_length,
        num_shards=args.num_shards,
        format=args.format,
        next_sentence=next_sentence,
    )
    if args.shard is not None:
        build_one_shard(args.documents, args.output, recipe, args.shard)
        return
    metrics = build_data_set(args.documents, args.output, recipe, capped_threads(args))
    write_metrics(
        args.output / "metrics.json",
        metrics=metrics,
        args=args,
        inputs=[
            args.tokenizer,
            *(args.documents / f"{split}.parquet" for split in DATASET_SPLITS),
        ],
        script=script,
        seconds=stopwatch.read(),
    )
