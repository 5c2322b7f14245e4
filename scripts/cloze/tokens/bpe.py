"""Byte-pair encodings: of characters (Sennrich et al. 2016), of bytes (Radford et al. 2019)."""

import json
import sys
from collections.abc import Callable, Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from cloze.errors import ClozeError
from cloze.tokens.alphabet import CODE_POINTS, Alphabet, find_alphabet
from cloze.tokens.tokenizer import SPECIAL_TOKENS, add_framing

END_OF_WORD = "</w>"


def train_bpe(
    texts: Callable[[], Iterable[str]],
    normalizer: normalizers.Normalizer,
    *,
    vocab_size: int,
    min_frequency: int,
    limit_alphabet: int,
) -> tuple[Tokenizer, Alphabet]:
    """Train merges of characters within words; the last piece of a word ends in `</w>`.

    Words and punctuation marks are BERT's. Parameters, ids of the special tokens and
    errors are those of `train_wordpiece`. Each character kept can stand anywhere in a
    word; any other is `[UNK]` by itself.
    """
    alphabet = find_alphabet(texts(), normalizer, limit_alphabet)
    ends = [character + END_OF_WORD for character in alphabet.characters]
    alphabet.require_room(len(SPECIAL_TOKENS) + 2 * len(ends), vocab_size)
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix=END_OF_WORD))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        # Listed for the reason that `train_wordpiece` has: ids in hash order otherwise.
        special_tokens=[*SPECIAL_TOKENS, *ends],
        initial_alphabet=alphabet.characters,
        limit_alphabet=CODE_POINTS,
        end_of_word_suffix=END_OF_WORD,
        show_progress=sys.stderr.isatty(),
    )
    tokenizer.train_from_iterator(alphabet.without_dropped(texts(), normalizer), trainer)
    return _finished(tokenizer, decoders.BPEDecoder(suffix=END_OF_WORD)), alphabet


def train_byte_level_bpe(
    texts: Callable[[], Iterable[str]],
    normalizer: normalizers.Normalizer,
    *,
    vocab_size: int,
    min_frequency: int,
) -> Tokenizer:
    """Train merges of UTF-8 bytes, with the words of GPT-2: nothing is ever unknown.

    A space belongs to the word after it. Decoding gives the normalised text back byte
    for byte. Raises `ClozeError` if there is no text or `vocab_size` has no room for the
    256 bytes and the special tokens.
    """
    needed = len(SPECIAL_TOKENS) + len(pre_tokenizers.ByteLevel.alphabet())
    if needed > vocab_size:
        raise ClozeError(
            f"vocab_size of {vocab_size} is too small: the special tokens and the 256 bytes "
            f"need {needed}; raise vocab_size"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizer
    # As in RoBERTa and ModernBERT a text does not gain a space at its start.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=sys.stderr.isatty(),
    )
    seen_text = False

    def lines() -> Iterable[str]:
        nonlocal seen_text
        for text in texts():
            # Texts are encoded line by line, so nothing that spans lines is worth a token.
            for line in text.split("\n"):
                seen_text = seen_text or bool(line.strip())
                yield line

    tokenizer.train_from_iterator(lines(), trainer)
    if not seen_text:
        raise ClozeError("the corpus is empty: there is no text to train a vocabulary on")
    return _finished(tokenizer, decoders.ByteLevel())


def _finished(trained: Tokenizer, decoder: decoders.Decoder) -> Tokenizer:
    """Return the trained pipeline with no special tokens but `SPECIAL_TOKENS`, and a decoder."""
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    names = ("unk_token", "end_of_word_suffix")
    options = {name: model[name] for name in names if model[name] is not None}
    tokenizer = Tokenizer(models.BPE(model["vocab"], merges, **options))
    tokenizer.normalizer = trained.normalizer
    tokenizer.pre_tokenizer = trained.pre_tokenizer
    tokenizer.decoder = decoder
    add_framing(tokenizer)
    return tokenizer
