"""Mix the documents of several corpora into one corpus, each as often as its weight says.

Reads the documents folders of other corpora; writes OUTPUT/{train,validation,test}.parquet,
OUTPUT/dropped.tsv.gz and OUTPUT/metrics.json, as extract_documents.py does. A weight of 2.5
takes all training documents twice and half of them, chosen by a hash of their text, a third
time; validation and test documents are taken once.

Try: python scripts/mix_documents.py --output results/mine/documents
    --corpus wiki 1 results/wiki/documents --corpus novels 2.5 results/novels/documents
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import make_parser, positive_float, run_script
from cloze.corpus.mixture import Source, write_mixture
from cloze.errors import ClozeError
from cloze.files import SPLITS
from cloze.metrics import Stopwatch, write_metrics


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--corpus",
        nargs=3,
        action="append",
        required=True,
        metavar=("NAME", "WEIGHT", "FOLDER"),
        help="a corpus, how often a pass sees its training documents, its documents folder",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser


def run(args: argparse.Namespace) -> None:
    """Mix and write the documents."""
    watch = Stopwatch()
    sources = [source_of(*given) for given in args.corpus]
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise ClozeError(f"--corpus {name}: stands there twice; give it one weight")
    metrics = write_mixture(args.output, sources)
    write_metrics(
        args.output / "metrics.json",
        metrics=metrics,
        args=args,
        inputs=[source.folder / f"{split}.parquet" for source in sources for split in SPLITS],
        script=Path(__file__),
        seconds=watch.read(),
    )


def source_of(name: str, weight: str, folder: str) -> Source:
    """Return one `--corpus`."""
    try:
        return Source(name, Path(folder), positive_float(weight))
    except argparse.ArgumentTypeError as error:
        raise ClozeError(f"--corpus {name}: weight {error}") from error


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
