"""Train a Unigram language model over pieces of words (Kudo 2018), as SentencePiece marks words."""

import json
import sys
from collections.abc import Callable, Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from cloze.tokens.alphabet import Alphabet, find_alphabet
from cloze.tokens.tokenizer import SPECIAL_TOKENS, add_framing

_WORD_START = "▁"
# Besides the corpus's own: white space that a task's texts may hold, and what spells a
# special token, so that a text which does can be told in ordinary pieces.
_EXTRA_CHARACTERS = sorted({"\n", "\t", *"".join(SPECIAL_TOKENS)})


def train_unigram(
    texts: Callable[[], Iterable[str]],
    normalizer: normalizers.Normalizer,
    *,
    vocab_size: int,
    limit_alphabet: int,
) -> tuple[Tokenizer, Alphabet]:
    """Train a vocabulary of at most `vocab_size` pieces; `texts` is called twice.

    A word is what stands between spaces, and begins with `▁`. The special tokens have
    ids 0 to 4. `limit_alphabet` keeps only that many of the most frequent characters,
    0 keeps all; any other is `[UNK]`. The library's trainer is not deterministic: pieces
    and their scores differ a little from one training to the next.

    Raises `ClozeError` if there is no text or if the characters alone need more than
    `vocab_size` tokens.
    """
    alphabet = find_alphabet(texts(), normalizer, limit_alphabet)
    required = {_WORD_START, *_EXTRA_CHARACTERS, *alphabet.characters, *alphabet.white_space}
    # The library's trainer overshoots unless one piece fits besides the characters.
    needed = len(SPECIAL_TOKENS) + len(required - {" "}) + 1
    alphabet.require_room(needed, vocab_size)
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        unk_token="[UNK]",
        initial_alphabet=_EXTRA_CHARACTERS,
        show_progress=sys.stderr.isatty(),
    )
    passages = alphabet.without_dropped(texts(), normalizer)
    # Texts are encoded line by line, so nothing that spans lines is worth a token.
    lines = (line for text in passages for line in text.split("\n"))
    tokenizer.train_from_iterator(lines, trainer)
    return _finished(tokenizer, required - {" "}), alphabet


def _finished(trained: Tokenizer, characters: set[str]) -> Tokenizer:
    """Put the framing around the model; what it lacks of `characters` becomes its worst pieces."""
    model = json.loads(trained.to_str())["model"]
    # A corpus with pages about [MASK] makes it an ordinary piece as well, and the trainer
    # gives the special token the best score of all: text that spells it must not become it.
    pieces = [(piece, score) for piece, score in model["vocab"] if piece not in SPECIAL_TOKENS]
    worst = min(score for _, score in pieces)
    pieces = _with_characters(pieces, characters, worst)
    never = 2 * worst * max(map(len, SPECIAL_TOKENS))
    special = [(token, never) for token in SPECIAL_TOKENS]
    tokenizer = Tokenizer(models.Unigram([*special, *pieces], unk_id=model["unk_id"]))
    tokenizer.normalizer = trained.normalizer
    tokenizer.pre_tokenizer = trained.pre_tokenizer
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    add_framing(tokenizer)
    return tokenizer


def _with_characters(
    pieces: list[tuple[str, float]], characters: set[str], score: float
) -> list[tuple[str, float]]:
    """Exchange the worst longer pieces for the characters that the trained text had not."""
    missing = sorted(characters - {piece for piece, _ in pieces})
    longer = sorted((score, piece) for piece, score in pieces if len(piece) > 1)
    given_up = {piece for _, piece in longer[: len(missing)]}
    kept = [(piece, score) for piece, score in pieces if piece not in given_up]
    return kept + [(character, score) for character in missing]
