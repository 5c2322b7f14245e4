"""Extend the tokenizer of an encoder by pieces that shorten a corpus most.

The new pieces are learned from the training documents and appended: old pieces keep their ids, so
the weights that were trained with them keep their meaning. With --extend-vocabulary 0 the
tokenizer stays what it is. WordPiece, BPE and Unigram can be extended.

Reads the tokenizer of a model folder and DOCUMENTS/{train,validation}.parquet; writes
OUTPUT/tokenizer.json, OUTPUT/tokenizer_config.json, OUTPUT/extension.json (what the new pieces are
made of, by which pretrain.py --adapt gives them vectors) and OUTPUT/metrics.json, with the tokens
a word of the validation documents before and after.

Try: python scripts/extend_tokenizer.py --model results/imported/theirs \\
         --documents results/sample/documents --extend-vocabulary 500 --output /tmp/tokenizer
"""

import argparse
import sys
from pathlib import Path

from tokenizers import Tokenizer

from cloze.cli import log, make_parser, run_script
from cloze.corpus.arrays import use_system_memory
from cloze.corpus.document_reader import read_batches, read_texts
from cloze.errors import ClozeError
from cloze.files import sha256_path
from cloze.metrics import Stopwatch, write_metrics
from cloze.settings.fields import add_flags
from cloze.settings.tokenizers import ExtensionSettings
from cloze.tokens.extension import (
    FEWEST_USES,
    VocabularyExtension,
    count_words,
    extend,
    find_extension,
    write_extension,
)
from cloze.tokens.text_encoder import TextEncoder
from cloze.tokens.tokenizer import vocab_size
from cloze.tokens.tokenizer_folder import (
    save_tokenizer,
    tokenizer_files,
    tokenizer_of_folder,
)
from cloze.tokens.training_text import open_training_text

# Words are held in memory, each distinct one once.
_MAX_TRAINING_BYTES = 20_000_000


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder to take it from")
    parser.add_argument("--documents", type=Path, required=True, help="documents folder")
    parser.add_argument("--output", type=Path, required=True, help="folder for the tokenizer")
    add_flags(parser, ExtensionSettings)
    return parser


def run(args: argparse.Namespace) -> None:
    """Find the pieces, append them, measure, write."""
    stopwatch = Stopwatch()
    use_system_memory()
    base = tokenizer_of_folder(args.model)
    extended, extension = base, VocabularyExtension({}, {}, [])
    if args.extend_vocabulary:
        extended, extension = _extended(args, base)
    save_tokenizer(extended, args.output)
    write_extension(args.output, base, extension)
    validation = args.documents / "validation.parquet"
    write_metrics(
        args.output / "metrics.json",
        metrics={
            "vocab_size": vocab_size(extended),
            "new_pieces": len(extension.pieces),
            "most_used": sorted(extension.uses, key=lambda piece: -extension.uses[piece])[:20],
            "tokens_per_word": {
                "before": _tokens_per_word(base, validation),
                "after": _tokens_per_word(extended, validation),
            },
            "tokenizer_sha256": sha256_path(args.output / "tokenizer.json"),
        },
        args=args,
        inputs=[*tokenizer_files(args.model), args.documents / "train.parquet", validation],
        script=Path(__file__),
        seconds=stopwatch.read(),
    )


def _extended(args: argparse.Namespace, base: Tokenizer) -> tuple[Tokenizer, VocabularyExtension]:
    text = open_training_text(args.documents / "train.parquet").capped(_MAX_TRAINING_BYTES)
    words = count_words(base, text.passages("read the words"))
    try:
        extension = find_extension(base, words, args.extend_vocabulary)
        extended = extend(base, extension, sum(len(word) * words[word] for word in words))
    except ClozeError as error:
        raise ClozeError(f"{args.model}: {error}") from error
    if len(extension.pieces) < args.extend_vocabulary:
        log.warning(
            "warning: %s: %d new pieces instead of %d, since no other pair of pieces stands "
            "together %d times in the text that was read",
            args.documents, len(extension.pieces), args.extend_vocabulary, FEWEST_USES,
        )  # fmt: skip
    return extended, extension


def _tokens_per_word(tokenizer: Tokenizer, documents: Path) -> float | None:
    """Return tokens a word, words being what white space parts; None without a word."""
    encoder = TextEncoder(tokenizer)
    batches = read_batches(documents)
    num_tokens = sum(len(encoder.encode(each.text, each.offsets).input_ids) for each in batches)
    num_words = sum(len(text.split()) for _, text in read_texts(documents))
    return num_tokens / num_words if num_words else None


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
