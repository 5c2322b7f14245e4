"""What the command lines of the two methods share: flags, and running a method."""

import argparse
from pathlib import Path

from cloze.cli import add_threads, capped_threads, positive_int
from cloze.metrics import Stopwatch, write_metrics
from cloze.tokens.collect import DATASET_SPLITS, ShardName
from cloze.tokens.dataset import DataSetRecipe, build_data_set, build_one_shard
from cloze.tokens.samples import Method
from cloze.tokens.shards import EXTENSIONS


def add_dataset_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a data set that do not depend on the method."""
    parser.add_argument(
        "--documents",
        type=Path,
        required=True,
        help="folder with train.parquet and validation.parquet",
    )
    parser.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer.json")
    parser.add_argument("--output", type=Path, required=True, help="folder for the data set")
    parser.add_argument(
        "--max-length",
        type=positive_int,
        default=128,
        help="tokens in a sample at most, [CLS] and [SEP] included; at least 8",
    )
    parser.add_argument(
        "--row-length",
        type=positive_int,
        help="tokens in a row of samples at most; unset: --max-length. Longer rows waste less "
        "padding where samples differ in length, and cost memory and attention",
    )
    parser.add_argument(
        "--num-shards", type=positive_int, default=1, help="files that train is divided into"
    )
    parser.add_argument(
        "--format", choices=sorted(EXTENSIONS), default="msgpack", help="format of the shards"
    )
    parser.add_argument(
        "--shard",
        type=shard_name,
        metavar="NAME",
        help="make this shard alone, such as train-00003-of-00008; collect_shards.py then makes "
        "the manifest of all",
    )
    add_threads(parser)


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
