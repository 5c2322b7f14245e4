"""Train a tokenizer on documents, or take an existing vocabulary as it is.

Trained: a WordPiece, BPE, byte-level BPE or Unigram model; ids 0 to 4 are
[PAD] [UNK] [CLS] [SEP] [MASK], every character of the corpus is in the vocabulary
(unless --limit-alphabet says otherwise), and no character of a text is dropped. The same
documents and flags give the same bytes, except for Unigram. --vocab takes a vocab.txt,
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
from tokenizers.normalizers import Normalizer

from cloze.cli import (
    capped_threads,
    make_parser,
    run_script,
)
from cloze.corpus.arrays import use_system_memory
from cloze.errors import ClozeError
from cloze.files import atomic_path, sha256_path, write_text
from cloze.metrics import Stopwatch, write_metrics
from cloze.settings.fields import add_flags
from cloze.settings.machine import ThreadSettings
from cloze.settings.tokenizers import (
    NormalizationSettings,
    TokenizerSettings,
    refused_vocabulary,
)
from cloze.tokens.tokenizer import (
    bert_normalizer,
    bert_tokenizer,
    is_wordpiece,
    load_tokenizer,
    pad_vocab,
    read_vocab,
    special_ids,
    tokens_by_id,
    vocab_size,
    write_tokenizer_config,
)
from cloze.tokens.tokenizer_training import (
    Alphabet,
    in_unicode_form,
    text_normalizer,
    train_bpe,
    train_byte_level_bpe,
    train_unigram,
    train_wordpiece,
)
from cloze.tokens.training_text import (
    TrainingText,
    default_training_bytes,
    open_training_text,
)

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
    add_flags(parser, NormalizationSettings)
    training = parser.add_argument_group("training (no effect with --vocab)")
    add_flags(training, TokenizerSettings, beside=NormalizationSettings)
    add_flags(parser, ThreadSettings)
    return parser


def run(args: argparse.Namespace) -> None:
    """Make the tokenizer and write its files."""
    stopwatch = Stopwatch()
    use_system_memory()
    if args.vocab is None:
        tokenizer, metrics = _train(args)
    else:
        tokenizer, metrics = _take(args), {}
    is_copied = args.vocab is not None and args.vocab.suffix == ".json"
    if not is_copied:
        metrics["unused_tokens"] = pad_vocab(tokenizer, args.pad_vocab_to_multiple_of)
    special = special_ids(tokenizer)
    with atomic_path(args.output / "tokenizer.json") as temporary:
        if is_copied:
            shutil.copyfile(args.vocab, temporary)
        else:
            # Its own `save` tells of a full disk without an error number.
            temporary.write_text(tokenizer.to_str(pretty=True), encoding="utf-8", newline="\n")
    write_tokenizer_config(args.output / "tokenizer_config.json", tokenizer)
    if is_wordpiece(tokenizer):
        write_text(args.output / "vocab.txt", "\n".join(tokens_by_id(tokenizer)) + "\n")
    write_metrics(
        args.output / "metrics.json",
        metrics={
            **metrics,
            "vocab_size": vocab_size(tokenizer),
            "special_ids": special.roles(),
            "tokenizer_sha256": sha256_path(args.output / "tokenizer.json"),
        },
        args=args,
        inputs=[args.vocab or args.documents],
        script=Path(__file__),
        seconds=stopwatch.read(),
    )


def _train(args: argparse.Namespace) -> tuple[Tokenizer, dict[str, Any]]:
    os.environ["RAYON_NUM_THREADS"] = str(capped_threads(args))
    text = open_training_text(args.documents)
    max_bytes = args.max_training_bytes
    if max_bytes is None:
        max_bytes = default_training_bytes(args.model, text.sample)
    text = text.capped(max_bytes)
    try:
        tokenizer, alphabet = _train_model(args, text)
    except ClozeError as error:
        raise ClozeError(f"{args.documents}: {error}") from error
    metrics = {
        "documents": text.num_documents,
        "text_bytes": text.text_bytes,
        "training_bytes": text.training_bytes,
    }
    if alphabet is not None:
        metrics["alphabet"] = len(alphabet.characters)
        metrics["dropped_characters"] = len(alphabet.dropped)
    return tokenizer, metrics


def _train_model(args: argparse.Namespace, text: TrainingText) -> tuple[Tokenizer, Alphabet | None]:
    """Return the trained tokenizer and, where it is one of characters, its alphabet."""
    # Words are counted in as much text as memory allows, but no character of a corpus is left out.
    readings = iter((text.every_passage("find the characters"), text.passages("read the words")))

    def passages() -> Iterator[str]:
        return next(readings)

    if args.model in ("wordpiece", "bpe"):
        train = train_wordpiece if args.model == "wordpiece" else train_bpe
        return train(
            passages,
            _bert_normalizer(args, clean_text=False),
            vocab_size=args.vocab_size,
            min_frequency=args.min_frequency,
            limit_alphabet=args.limit_alphabet,
        )
    normalizer = text_normalizer(
        lowercase=args.lowercase,
        strip_accents=args.strip_accents,
        unicode_normalization=args.unicode_normalization,
    )
    if args.model == "unigram":
        return train_unigram(
            passages,
            normalizer,
            vocab_size=args.vocab_size,
            limit_alphabet=args.limit_alphabet,
        )
    if args.limit_alphabet:
        raise ClozeError(
            "limit_alphabet has no meaning for byte-level-bpe, whose alphabet is the 256 bytes; "
            "remove it"
        )
    tokenizer = train_byte_level_bpe(
        lambda: text.passages("read the words"),
        normalizer,
        vocab_size=args.vocab_size,
        min_frequency=args.min_frequency,
    )
    return tokenizer, None


def _bert_normalizer(args: argparse.Namespace, *, clean_text: bool) -> Normalizer:
    normalizer = bert_normalizer(
        lowercase=args.lowercase, strip_accents=args.strip_accents, clean_text=clean_text
    )
    return in_unicode_form(args.unicode_normalization, normalizer)


def _take(args: argparse.Namespace) -> Tokenizer:
    if (refusal := refused_vocabulary(str(args.vocab))) is not None:
        raise ClozeError(refusal)
    if args.vocab.suffix == ".json":
        return load_tokenizer(args.vocab)
    vocab = read_vocab(args.vocab)
    normalizer = _bert_normalizer(args, clean_text=True)
    try:
        return bert_tokenizer(vocab, normalizer, _BERT_MAX_INPUT_CHARS_PER_WORD)
    except ClozeError as error:
        raise ClozeError(f"{args.vocab}: {error}") from error


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
