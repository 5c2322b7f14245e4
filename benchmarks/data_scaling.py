"""Time per MB and peak memory of every data stage, from corpora of one size to much larger ones.

The documents, in the form of WikiText, are repeated up to each size. Each repetition bears a
number in every title, and so in the first paragraph of every text: nothing is dropped as a
duplicate and no stage is spared work. Distinct words do not grow as they would in a larger
corpus; the word table is bounded whatever they do, and its overflow has a test. A corpus is
plain text files of 57 MB, a shard is made of as much: the number of jobs grows, each job as its
own script, one after the other.

Ends with one JSON line: `ratio` is CPU seconds per MB at the largest size over those at the
smallest, of the stage where it is highest; `peak_mb` the highest of any process.

Try: python benchmarks/data_scaling.py --documents corpus/train-*.txt.xz --sizes 57 407
"""

import argparse
import itertools
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import measure

_FILE_BYTES = 57 * measure.MEGABYTE
_TITLE = re.compile(r" = (?!=)(.+)(?<!=) = \n")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[57, 407, 2000], metavar="MB", help="MB of text"
    )
    parser.add_argument("--work", type=Path, help="folder to work in; unset: a temporary one")
    return parser


def repeated_lines(files: list[Path]) -> Iterator[str]:
    """Yield the lines of the files again and again, the number of the repetition in titles."""
    for number in itertools.count(1):
        for line in measure.read_text(files):
            yield _TITLE.sub(rf" = \1 {number} = \n", line)


def write_corpus(files: list[Path], size: int, folder: Path) -> list[Path]:
    """Write text files of 57 MB each, `size` bytes together; a file starts with a title."""
    lines = repeated_lines(files)
    written, paths = 0, list[Path]()
    line = next(lines)
    while written < size:
        paths.append(folder / f"text-{len(paths):03d}.txt")
        limit = min(size - written, _FILE_BYTES)
        in_file = 0
        with open(paths[-1], "wb") as stream:
            while in_file < limit or (not _TITLE.fullmatch(line) and written + in_file < size):
                in_file += stream.write(line.encode())
                line = next(lines)
        written += in_file
    return paths


def stages_of(texts: list[Path], work: Path) -> Iterator[tuple[str, list[measure.Command]]]:
    """Yield each stage's name and the commands of its jobs."""
    parts = [work / "parts" / f"{text.stem}.arrow" for text in texts]
    flags: measure.Command
    wikitext = ["--format", "wikitext"]
    yield (
        "extract_part",
        [
            measure.python("extract_part.py", *wikitext, "--input", text, "--output", part)
            for text, part in zip(texts, parts, strict=True)
        ],
    )
    extracted, documents = work / "extracted", work / "documents"
    flags = [*wikitext, "--from-parts", "--input", *parts, "--output", extracted]
    yield "extract_documents", [measure.python("extract_documents.py", *flags)]
    flags = ["--corpus", "text", "1", extracted, "--output", documents]
    yield "mix_documents", [measure.python("mix_documents.py", *flags)]
    flags = ["--documents", documents / "train.parquet", "--output", work / "tokenizer"]
    flags += ["--vocab-size", "30522", "--limit-alphabet", "1000", "--lowercase"]
    yield "train_tokenizer", [measure.python("train_tokenizer.py", *flags, "--strip-accents")]
    for method in ("split_tokens", "segment_text"):
        yield method, shard_commands(f"{method}.py", len(texts), work, work / method)
        flags = ["--dataset", work / method, "--num-shards", str(len(texts))]
        yield f"collect_shards ({method})", [measure.python("collect_shards.py", *flags)]


def shard_commands(script: str, count: int, work: Path, output: Path) -> list[measure.Command]:
    """Return the command of each shard of a data set."""
    names = [f"train-{index:05d}-of-{count:05d}" for index in range(count)]
    flags: measure.Command
    flags = ["--documents", work / "documents", "--output", output, "--num-shards", str(count)]
    flags += ["--tokenizer", work / "tokenizer" / "tokenizer.json", "--threads", "1"]
    return [
        measure.python(script, *flags, "--shard", name)
        for name in (*names, "validation-00000-of-00001")
    ]


def measure_size(files: list[Path], megabytes: int, work: Path) -> dict[str, dict[str, float]]:
    """Return each stage's cost at one size."""
    folder = measure.clean_folder(work / "texts")
    texts = write_corpus(files, megabytes * measure.MEGABYTE, folder)
    size = measure.folder_mb(folder)
    costs = {}
    for stage, commands in stages_of(texts, work):
        cost = measure.run_all(commands)
        costs[stage] = {**asdict(cost), "cpu_s_per_mb": round(cost.cpu_s / size, 5)}
        print(megabytes, stage, costs[stage], file=sys.stderr, flush=True)
    return costs


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    sizes = {}
    for megabytes in sorted(args.sizes):
        with tempfile.TemporaryDirectory(dir=args.work) as work:
            sizes[megabytes] = measure_size(args.documents, megabytes, Path(work))
    smallest, largest = sizes[min(sizes)], sizes[max(sizes)]
    growth = {
        stage: round(largest[stage]["cpu_s_per_mb"] / cost["cpu_s_per_mb"], 3)
        for stage, cost in smallest.items()
    }
    worst = max(growth, key=growth.__getitem__)
    measure.report(
        {
            "ratio": growth[worst],
            "stage": worst,
            "peak_mb": max(
                cost["peak_mb"] for stages in sizes.values() for cost in stages.values()
            ),
            "growth": growth,
            "sizes": sizes,
        }
    )


if __name__ == "__main__":
    main()
