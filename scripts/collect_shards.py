"""Make shards that were built one by one into a data set: write their manifest.

Reads DATASET/{train,validation}-*.json, which segment_text.py --shard or split_tokens.py
--shard wrote beside each shard; writes DATASET/manifest.json and DATASET/metrics.json.

Try: python scripts/collect_shards.py --dataset /tmp/tokens --num-shards 8
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import make_parser, positive_int, run_script
from cloze.metrics import Stopwatch, write_metrics
from cloze.tokens.dataset import collect_shards, shard_names


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="folder with the shards")
    parser.add_argument(
        "--num-shards", type=positive_int, default=1, help="files that train is divided into"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Write the manifest and the metrics."""
    stopwatch = Stopwatch()
    metrics = collect_shards(args.dataset, args.num_shards)
    write_metrics(
        args.dataset / "metrics.json",
        metrics=metrics,
        args=args,
        inputs=[args.dataset / f"{name}.json" for name in shard_names(args.num_shards)],
        script=Path(__file__),
        seconds=stopwatch.read(),
    )


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
