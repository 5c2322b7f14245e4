"""Train a WordPiece tokenizer on documents, or take an existing vocabulary as it is.

Trained: ids 0 to 4 are [PAD] [UNK] [CLS] [SEP] [MASK], every character of the corpus is
in the vocabulary (unless --limit-alphabet says otherwise), and no character of a text is
dropped. The same documents and flags give the same bytes. --vocab takes a vocab.txt,
around which BERT's pipeline is built, or a tokenizer.json, which is copied.

Reads the documents (a parquet file with a column `text`) or the vocabulary; writes
OUTPUT/tokenizer.json, OUTPUT/tokenizer_config.json, OUTPUT/vocab.txt (WordPiece only)
and OUTPUT/metrics.json.

Try: python scripts/train_tokenizer.py --documents results/sample/documents/train.parquet \\
         --output /tmp/tokenizer --vocab-size 4096
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from cloze.cli import (
    add_threads,
    capped_threads,
    make_parser,
    non_negative_int,
    positive_int,
    progress,
    run_script,
)
from cloze.corpus.document_reader import count_documents, read_documents
from cloze.data.tokenizer import (
    bert_normalizer,
    bert_tokenizer,
    is_wordpiece,
    load_tokenizer,
    read_vocab,
    special_ids,
    tokens_by_id,
    vocab_size,
    write_tokenizer_config,
)
from cloze.data.wordpiece import train_wordpiece
from cloze.errors import ClozeError
from cloze.files import atomic_path, write_text
from cloze.metrics import Stopwatch, write_metrics

# What BERT's own vocabularies were made for.
_BERT_MAX_INPUT_CHARS_PER_WORD = 100


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--documents", type=Path, help="train.parquet, to train on")
    source.add_argument(
        "--vocab",
        type=Path,
        help="an existing vocab.txt or tokenizer.json (with the latter, no other flag has effect)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the tokenizer")
    parser.add_argument(
        "--lowercase",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="turn text into lower case",
    )
    parser.add_argument(
        "--strip-accents",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="strip accents from letters",
    )
    training = parser.add_argument_group("training (no effect with --vocab)")
    training.add_argument(
        "--vocab-size", type=positive_int, default=16384, help="entries of the vocabulary at most"
    )
    training.add_argument(
        "--min-frequency",
        type=positive_int,
        default=2,
        help="how often a pair of pieces must occur to become one",
    )
    training.add_argument(
        "--limit-alphabet",
        type=non_negative_int,
        default=0,
        help="keep this many of the most frequent characters, others are unknown; 0: keep all",
    )
    add_threads(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    """Make the tokenizer and write its files."""
    stopwatch = Stopwatch()
    if args.vocab is None:
        tokenizer, metrics = _train(args)
    else:
        tokenizer, metrics = _take(args), {}
    special = special_ids(tokenizer)
    with atomic_path(args.output / "tokenizer.json") as temporary:
        if args.vocab is not None and args.vocab.suffix == ".json":
            shutil.copyfile(args.vocab, temporary)
        else:
            tokenizer.save(str(temporary))
    write_tokenizer_config(args.output / "tokenizer_config.json", tokenizer)
    if is_wordpiece(tokenizer):
        write_text(args.output / "vocab.txt", "\n".join(tokens_by_id(tokenizer)) + "\n")
    write_metrics(
        args.output / "metrics.json",
        metrics={**metrics, "vocab_size": vocab_size(tokenizer), "special_ids": special.roles()},
        args=args,
        inputs=[args.vocab or args.documents],
        script=Path(__file__),
        seconds=stopwatch.read(),
    )


def _train(args: argparse.Namespace) -> tuple[Tokenizer, dict[str, Any]]:
    os.environ["RAYON_NUM_THREADS"] = str(capped_threads(args))
    num_documents = count_documents(args.documents)
    tasks = iter(("find the characters", "train the vocabulary"))

    def texts() -> Iterator[str]:
        documents = read_documents(args.documents)
        bar = progress(documents, total=num_documents, unit="document", description=next(tasks))
        return (text for _, text in bar)

    normalizer = bert_normalizer(
        lowercase=args.lowercase, strip_accents=args.strip_accents, clean_text=False
    )
    try:
        tokenizer, alphabet = train_wordpiece(
            texts,
            normalizer,
            vocab_size=args.vocab_size,
            min_frequency=args.min_frequency,
            limit_alphabet=args.limit_alphabet,
        )
    except ClozeError as error:
        raise ClozeError(f"{args.documents}: {error}") from error
    return tokenizer, {
        "documents": num_documents,
        "alphabet": len(alphabet.characters),
        "dropped_characters": len(alphabet.dropped),
    }


def _take(args: argparse.Namespace) -> Tokenizer:
    if args.vocab.suffix == ".json":
        return load_tokenizer(args.vocab)
    normalizer = bert_normalizer(
        lowercase=args.lowercase, strip_accents=args.strip_accents, clean_text=True
    )
    vocab = read_vocab(args.vocab)
    try:
        return bert_tokenizer(vocab, normalizer, _BERT_MAX_INPUT_CHARS_PER_WORD)
    except ClozeError as error:
        raise ClozeError(f"{args.vocab}: {error}") from error


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
