"""Count a task's evaluation sentences that stand in the pretraining text of a corpus.

Reads a task folder (all splits but train) and the training documents of a documents folder;
writes for each split how many rows stand there whole or share 13 words in a row with it, their
share, and examples, as JSON. Case, white space and punctuation do not count.

Try: python scripts/find_contamination.py --task results/tasks/sample-reviews
--documents results/sample/documents --output /tmp/contamination.json
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import make_parser, progress, run_script
from cloze.corpus.document_reader import read_batches
from cloze.metrics import Stopwatch, write_metrics
from cloze.tasks.contamination_report import count_contamination
from cloze.tasks.task import load_task


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--task", type=Path, required=True, help="task folder")
    parser.add_argument("--documents", type=Path, required=True, help="documents folder")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    return parser


def run(args: argparse.Namespace) -> None:
    """Search and write."""
    watch = Stopwatch()
    task = load_task(args.task)
    documents = args.documents / "train.parquet"
    batches = progress(read_batches(documents), unit=" batches", description="contamination")
    splits = count_contamination(task, batches)
    write_metrics(
        args.output,
        metrics={"task": task.name, "splits": splits},
        args=args,
        inputs=[documents, *(task.split_path(name) for name in splits)],
        script=Path(__file__),
        seconds=watch.read(),
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
