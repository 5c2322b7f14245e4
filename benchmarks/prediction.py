"""Prediction against a pipeline of `transformers` with the same model, at batch 32, in fp32.

Both read a text file a line at a time and write a label and a score for each line; each runs
as one command from start to end, its imports included, several times in turn. They must say
the same of every line. Beside them runs our side alone with a tenth of the lines, to show
that memory does not grow with their number. Ends with one JSON line: `ratio` is our lines a
second over the pipeline's, `ratio_cpu` the same by CPU seconds.

Try: python benchmarks/prediction.py --texts sst2/train.parquet --column sentence
"""

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measure
import pyarrow.parquet as pq
import torch

sys.path.insert(0, str(measure.SCRIPTS))

from cloze.model.encoder import EncoderConfig
from cloze.model.heads import SequenceClassifier
from cloze.model.hf import save_model
from cloze.tokens.tokenizer import bert_normalizer, vocab_size, write_tokenizer_config
from cloze.tokens.tokenizer_training import train_wordpiece

_LARGEST_DIFFERENCE = 1e-4


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=Path, required=True, help="parquet file with texts")
    parser.add_argument("--column", default="text", help="its column")
    parser.add_argument("--model", type=Path, help="classifier; unset: one with random weights")
    parser.add_argument("--lines", type=int, default=100_000, help="repeated if there are fewer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pipeline", nargs=4, help=argparse.SUPPRESS)
    return parser


def run_pipeline(model: str, texts: str, output: str, threads: str) -> None:
    """Do what `predict.py` does, as the documentation of pipelines shows it for a large file."""
    import transformers

    torch.set_num_threads(int(threads))
    classify: Any = transformers.pipeline(
        "text-classification", model=model, tokenizer=model, device="cpu", batch_size=32
    )

    def lines() -> Iterator[str]:
        with open(texts, encoding="utf-8", newline="\n") as stream:
            for line in stream:
                yield line.rstrip("\n")

    with open(output, "w", encoding="utf-8") as stream:
        for found in classify(lines()):
            stream.write(json.dumps(found) + "\n")


def write_texts(args: argparse.Namespace, path: Path, count: int) -> None:
    """Write the column's texts, a line each, over and over until there are enough."""
    texts = pq.read_table(args.texts, columns=[args.column])[args.column].to_pylist()
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        for text in itertools.islice(itertools.cycle(texts), count):
            stream.write(" ".join(text.split()) + "\n")


def write_model(folder: Path, texts: Path) -> Path:
    """Write a classifier of 4 layers x 256 with random weights, its vocabulary of these texts."""
    lines = texts.read_text(encoding="utf-8").splitlines()
    normalizer = bert_normalizer(lowercase=True, strip_accents=True, clean_text=True)
    tokenizer, _ = train_wordpiece(
        lambda: iter(lines), normalizer, vocab_size=8192, min_frequency=2, limit_alphabet=0
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    write_tokenizer_config(folder / "tokenizer_config.json", tokenizer)
    torch.manual_seed(0)
    config = EncoderConfig(vocab_size=vocab_size(tokenizer))
    save_model(folder, SequenceClassifier(config, num_labels=2), folder, ["negative", "positive"])
    return folder


def largest_difference(ours: Path, theirs: Path) -> float:
    """Compare every line's probability of the label that the pipeline gave it."""
    largest = 0.0
    with open(ours, encoding="utf-8") as first, open(theirs, encoding="utf-8") as second:
        for one, other in zip(first, second, strict=True):
            expected = json.loads(other)
            found = json.loads(one)["probabilities"][expected["label"]]
            largest = max(largest, abs(found - expected["score"]))
    if largest > _LARGEST_DIFFERENCE:
        sys.exit(f"the two sides differ by {largest}")
    return largest


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    if args.pipeline:
        run_pipeline(*args.pipeline)
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        write_texts(args, work / "texts.txt", args.lines)
        write_texts(args, work / "tenth.txt", args.lines // 10)
        model = args.model or write_model(measure.clean_folder(work / "model"), work / "texts.txt")

        def predict(texts: str, output: str) -> measure.Cost:
            flags: measure.Command = ["classify", "--model", model, "--json", "--device", "cpu"]
            flags += ["--input", work / texts, "--output", work / output]
            return measure.run(measure.python("predict.py", *flags, "--threads", str(args.threads)))

        peer: measure.Command = [sys.executable, __file__, "--texts", "-", "--pipeline", model]
        peer += [work / "texts.txt", work / "theirs.jsonl", str(args.threads)]
        tenth = predict("tenth.txt", "tenth.jsonl")
        ours, theirs = [], []
        for _ in range(args.repeats):
            theirs.append(measure.run(peer, OMP_NUM_THREADS=str(args.threads)))
            ours.append(predict("texts.txt", "ours.jsonl"))
        difference = largest_difference(work / "ours.jsonl", work / "theirs.jsonl")
    ours_median, peer_median = measure.median(ours), measure.median(theirs)
    measure.report(
        {
            "ratio": round(peer_median["wall_s"] / ours_median["wall_s"], 2),
            "ratio_cpu": round(peer_median["cpu_s"] / ours_median["cpu_s"], 2),
            "lines": args.lines,
            "lines_per_second": round(args.lines / ours_median["wall_s"]),
            "lines_per_second_pipeline": round(args.lines / peer_median["wall_s"]),
            "peak_mb": ours_median["peak_mb"],
            "peak_mb_with_a_tenth_of_the_lines": tenth.peak_mb,
            "largest_difference": difference,
            "ours": ours_median,
            "pipeline": peer_median,
        }
    )


if __name__ == "__main__":
    main()
