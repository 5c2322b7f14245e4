"""Turn a corpus of any supported form into documents, split into train, validation and test.

Reads files, archives and folders (python-docs: the running Python's library), or parts that
extract_part.py made of them; writes OUTPUT/{train,validation,test}.parquet, a row a document
with the columns document_id, source, title and text, OUTPUT/dropped.tsv.gz, a line for each
document that was dropped, and OUTPUT/metrics.json with what each split holds.

Try: python scripts/extract_documents.py --format python-docs --output /tmp/python-docs
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from cloze.cli import make_parser, progress, run_script
from cloze.corpus.cleaning import Cleaning
from cloze.corpus.disk_estimate import (
    DOCUMENTS_CODEC,
    PART_SHARE,
    DiskEstimate,
    estimated_text_bytes,
)
from cloze.corpus.document_splits import Part, SplitAssigner, write_splits
from cloze.corpus.duplicates import Deduplicator
from cloze.corpus.parts import PartFile
from cloze.corpus.reading import (
    PYTHON_DOCS,
    add_decontamination_flag,
    advice_for_few,
    check_format,
    cleaning_of,
    describe,
    read_batches,
    recipe_of,
)
from cloze.errors import ClozeError
from cloze.files import sha256_path
from cloze.metrics import Stopwatch, write_metrics
from cloze.settings.corpora import CorpusSettings, ReadingSettings
from cloze.settings.fields import add_flags


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")

    files = parser.add_argument_group("files (none for python-docs)")
    for flag, about in {
        "--input": "files or folders to split by document",
        "--train": "the source's own training split",
        "--validation": "its validation split; unset: drawn from --train",
        "--test": "its test split; unset: no test documents",
    }.items():
        files.add_argument(flag, type=Path, nargs="+", default=[], metavar="PATH", help=about)
    files.add_argument(
        "--from-parts",
        action="store_true",
        help="the files are parts that extract_part.py made with the same flags",
    )
    add_flags(parser, ReadingSettings)
    choice = parser.add_argument_group("split and drops")
    add_flags(choice, CorpusSettings, beside=ReadingSettings)
    add_decontamination_flag(choice)
    return parser


def run(args: argparse.Namespace) -> None:
    """Extract, split and write the documents."""
    watch = Stopwatch()
    check_choices(args)
    takes_own_splits = bool(args.train)
    assigner = SplitAssigner(
        args.validation_fraction, 0.0 if takes_own_splits else args.test_fraction
    )
    deduplicator = Deduplicator(
        keep_duplicates=args.keep_duplicates,
        near_duplicate_threshold=args.near_duplicate_threshold,
    )
    cleaning = cleaning_of(args)
    metrics = write_splits(
        args.output,
        parts_of(args, cleaning),
        assigner,
        deduplicator,
        cleaning.reasons,
        describe(args, input_paths(args)),
        advice_for_few(args),
    )
    write_metrics(
        args.output / "metrics.json",
        metrics=metrics,
        args=args,
        inputs=sources_of(args, cleaning),
        script=Path(__file__),
        seconds=watch.read(),
    )


def check_choices(args: argparse.Namespace) -> None:
    """Raise `ClozeError` unless the flags describe one corpus."""
    paths = input_paths(args)
    check_format(args, paths)
    if args.format != PYTHON_DOCS and not args.input and not args.train:
        raise ClozeError(f"--format {args.format} needs --input, or --train and --validation")
    if args.input and len(paths) > len(args.input):
        raise ClozeError("--input is split by Cloze: give it, or --train and --validation")
    if not args.train and (args.validation or args.test):
        raise ClozeError("--validation and --test are a source's own splits and need --train")
    if args.validation_fraction == 0 and not args.validation:
        raise ClozeError(
            "--validation-fraction is 0, but pretraining needs validation documents; "
            "raise it or give --validation"
        )
    if args.validation_fraction + args.test_fraction >= 1:
        raise ClozeError("--validation-fraction and --test-fraction leave nothing for train")


def input_paths(args: argparse.Namespace) -> list[Path]:
    """Return every file and folder to read."""
    return [*args.input, *args.train, *args.validation, *args.test]


def parts_of(args: argparse.Namespace, cleaning: Cleaning) -> Iterator[Part]:
    """Yield the parts of the corpus, held-out splits first.

    So a text that a source has in several splits stays in test, or else in validation.
    """
    forecast = DiskEstimate(args.output, DOCUMENTS_CODEC, text_bytes_of(args))
    for split in ("test", "validation"):
        if paths := getattr(args, split):
            yield Part(forecast.watch(batches(args, cleaning, paths)), split)
    own_split = "train" if args.validation else None
    main_batches = batches(args, cleaning, args.train or args.input)
    yield Part(forecast.watch(main_batches), own_split)


def text_bytes_of(args: argparse.Namespace) -> float:
    """Estimate how much text there is to extract."""
    paths = input_paths(args)
    if not args.from_parts:
        return estimated_text_bytes(paths, args.members, args.text_column)
    return sum(path.stat().st_size for path in paths if path.exists()) / PART_SHARE


def batches(
    args: argparse.Namespace, cleaning: Cleaning, paths: list[Path]
) -> Iterator[pa.RecordBatch]:
    """Yield the documents of sources or of parts."""
    if not args.from_parts:
        yield from read_batches(args, cleaning, paths)
        return
    for path in progress(paths, unit=" parts", description="extract"):
        part = PartFile(path)
        for key, value in recipe_of(args).items():
            if part.recipe.get(key) != value:
                raise ClozeError(
                    f"{path}: made with {key} {part.recipe.get(key)!r} instead of {value!r}; "
                    "give extract_part.py the same flags"
                )
        yield from part.batches()


def sources_of(args: argparse.Namespace, cleaning: Cleaning) -> dict[str, str]:
    """Return the SHA-256 of each source, of those that parts were made of too."""
    found: dict[str, str | None] = dict.fromkeys(map(str, input_paths(args)))
    if args.from_parts:
        parts = map(PartFile, input_paths(args))
        found = {name: digest for part in parts for name, digest in part.inputs.items()}
    if cleaning.decontamination:
        found |= dict.fromkeys(map(str, cleaning.decontamination.files))
    return {name: digest or sha256_path(Path(name)) for name, digest in found.items()}


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
