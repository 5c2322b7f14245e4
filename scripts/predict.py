"""Use a model: fill masks, classify, tag or embed texts, answer questions, as many as there are.

Texts come from arguments, from files (`.txt` a text a line; a column of `.csv`, `.tsv`,
`.jsonl`, `.ndjson` or `.json`, an object a line, or `.parquet`) or from standard input, and are
read as they are needed: memory does not grow with their number. Predictions go to standard output
or to OUTPUT, in the order of the texts: columns between tabs (`.txt`, `.tsv`) or a JSON object a
line (`.jsonl`, `.ndjson`, `.json`); `embed` writes an array (`.npy`) or a table (`.parquet`).

Try: python scripts/predict.py fill-mask --model MODEL_FOLDER "Paris is the [MASK] of France."
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from cloze.cli import (
    capped_threads,
    log,
    make_parser,
    positive_int,
    progress,
    run_script,
)
from cloze.corpus.tables import Dialect
from cloze.errors import ClozeError
from cloze.files import atomic_path
from cloze.model.device import Compute, limit_primitive_cache, resolve_compute
from cloze.settings.encoders import POOLINGS
from cloze.settings.fields import add_flags
from cloze.settings.machine import ComputeSettings
from cloze.settings.tables import DialectSettings
from cloze.use.answerer import Answerer, FoundAnswer
from cloze.use.embeddings import embedding_suffix, open_embeddings
from cloze.use.predictors import (
    Classification,
    Classifier,
    Embedder,
    MaskFiller,
    Predictor,
    finetuning_limits,
    windows,
)
from cloze.use.service import as_record
from cloze.use.tagger import Spans, Tagger
from cloze.use.texts import FORMATS, Text, TextSource

_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_TEXT_SUFFIXES = ("", ".txt", ".tsv")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    uses = parser.add_subparsers(dest="use", required=True)
    formatter = parser.formatter_class
    fill = uses.add_parser("fill-mask", formatter_class=formatter, help="words for each [MASK]")
    fill.add_argument("--top-k", type=positive_int, default=5, help="candidates for each mask")
    classify = uses.add_parser("classify", formatter_class=formatter, help="a label or a score")
    tag = uses.add_parser("tag", formatter_class=formatter, help="entities, or a tag for each word")
    answer = uses.add_parser(
        "answer", formatter_class=formatter, help="a piece of its context for each question"
    )
    embed = uses.add_parser("embed", formatter_class=formatter, help="a vector for each text")
    embed.add_argument(
        "--pooling",
        choices=POOLINGS,
        help="of all tokens, or the first's; unset: as the folder's modules.json says, else mean",
    )
    embed.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="vectors of length 1; unset: as the folder's modules.json says, else as they are",
    )
    for use in (fill, classify, tag, answer):
        use.add_argument("--json", action="store_true", help="write a JSON object a line")
        use.add_argument(
            "--output",
            type=Path,
            help=".txt, .tsv or .jsonl to write; unset: standard output",
        )
    embed.add_argument(
        "--output", type=Path, help=".npy or .parquet to write; unset: JSON lines to the output"
    )
    for use in (fill, classify, tag, answer, embed):
        _add_common_flags(use)
    answer.set_defaults(column=["question", "context"])
    return parser


def _add_common_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    texts = parser.add_argument_group("texts")
    texts.add_argument(
        "texts",
        nargs="*",
        metavar="TEXT",
        help="texts, if no file is named; of answer: question, context",
    )
    texts.add_argument(
        "--input", type=Path, nargs="+", default=[], metavar="FILE", help="files; -: standard input"
    )
    texts.add_argument(
        "--column", nargs="+", default=["text"], help="column of the text; two: of a pair"
    )
    texts.add_argument("--format", choices=FORMATS, help="of the input; unset: by its suffix")
    add_flags(texts, DialectSettings)
    texts.add_argument(
        "--max-length",
        type=positive_int,
        help="tokens kept of a text; unset: as in fine-tuning, or all that the encoder reads",
    )
    compute = parser.add_argument_group("compute")
    add_flags(compute, ComputeSettings, precision="fp32")


def run(args: argparse.Namespace) -> None:
    """Predict, a window of texts at a time."""
    dialect = Dialect(args.header, args.delimiter, args.quoting)
    source = TextSource.of(
        args.texts, args.input, args.column, args.format, args.use == "answer", dialect
    )
    as_json = args.use == "embed" or writes_json(args.output, args.json)
    limit_primitive_cache()
    compute = resolve_compute(args.device, args.precision, "off", capped_threads(args), 0.0)
    if args.use == "embed" and args.output is not None:
        _embed_to_file(args, source, compute)
        return
    predictor = _predictor(args, compute)
    with _text_output(args.output) as output:
        for texts, results in _predicted(predictor, source):
            for text, result in zip(texts, results, strict=True):
                output.write(_as_json(text, result) if as_json else _as_text(text, result))


def writes_json(output: Path | None, as_json: bool) -> bool:
    """Return whether predictions are JSON lines: as the output's suffix says, or `--json`.

    Raises `ClozeError` for a suffix of another form.
    """
    suffix = output.suffix.lower() if output else ""
    if suffix in _JSON_SUFFIXES:
        return True
    if suffix not in _TEXT_SUFFIXES:
        raise ClozeError(
            f"--output {output}: {suffix} cannot be written; end it in .jsonl for a JSON object a "
            "line, or in .tsv or .txt for columns between tabs"
        )
    return as_json


def _predictor(args: argparse.Namespace, compute: Compute) -> Predictor[Any]:
    if args.use == "fill-mask":
        return MaskFiller(args.model, compute, args.max_length, args.top_k)
    if args.use == "classify":
        limits = finetuning_limits(args.model)
        max_length = args.max_length or limits.max_length
        return Classifier(args.model, compute, max_length, limits.truncation)
    if args.use == "tag":
        max_length = args.max_length or finetuning_limits(args.model).max_length
        return Tagger(args.model, compute, max_length)
    if args.use == "answer":
        return Answerer(args.model, compute, args.max_length)
    return _embedder(args, compute)


def _embedder(args: argparse.Namespace, compute: Compute) -> Embedder:
    return Embedder(args.model, compute, args.max_length, args.pooling, args.normalize)


def _embed_to_file(args: argparse.Namespace, source: TextSource, compute: Compute) -> None:
    suffix = embedding_suffix(args.output)
    embedder = _embedder(args, compute)
    with (
        atomic_path(args.output) as temporary,
        open_embeddings(temporary, suffix, embedder.size) as writer,
    ):
        for texts, results in _predicted(embedder, source):
            writer.add(texts, np.stack(results))


def _predicted(
    predictor: Predictor[Any], source: TextSource
) -> Iterator[tuple[list[Text], list[Any]]]:
    """Yield windows of texts with their results, and say at the end what was cut."""
    total = source.count() if sys.stderr.isatty() else None
    done = 0
    with progress(total=total, unit=" texts", description=predictor.task) as bar:
        for texts in windows(source):
            yield texts, predictor(texts)
            done += len(texts)
            bar.update(len(texts))
    if predictor.truncated:
        log.warning(
            "%d of %d texts were cut to %d tokens", predictor.truncated, done, predictor.max_length
        )


@contextlib.contextmanager
def _text_output(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that is there once it is whole."""
    if path is not None:
        with (
            atomic_path(path) as temporary,
            open(temporary, "w", encoding="utf-8", newline="\n") as stream,
        ):
            yield stream
        return
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read along, such as `head`, has seen enough. The interpreter flushes once
        # more when it ends, which must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _as_json(text: Text, result: Any) -> str:
    return json.dumps(as_record(text, result), ensure_ascii=False) + "\n"


def _as_text(text: Text, result: Any) -> str:
    if isinstance(result, FoundAnswer):
        answer, place = "no answer", "-"
        if result.answer:
            answer, place = _printable(result.answer), f"{result.start}:{result.end}"
        return f"{answer}\t{result.score:.4f}\t{place}\t{_printable(text.first)}\n"
    shown = "\t".join(_printable(part) for part in text.parts)
    if isinstance(result, Classification):
        label = [] if result.label is None else [result.label]
        if result.labels is not None:
            label = [",".join(result.labels) or "-"]
        return "\t".join([*label, f"{result.score:.4f}", shown]) + "\n"
    if isinstance(result, Spans):
        found = (
            f"  {s.type}  {_printable(s.text)}  {s.start}:{s.end}  {s.score:.4f}"
            for s in result.spans
        )
        return "\n".join([shown, *found]) + "\n"
    masks = [
        "  " + "  ".join(f"{token} {score:.4f}" for token, score in candidates)
        for candidates in result
    ]
    return "\n".join([shown, *masks]) + "\n"


def _printable(text: str) -> str:
    """Return a text as one line that cannot steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
