"""Train a WordPiece vocabulary that comes out the same every time."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from cloze.data.tokenizer import CONTINUATION, SPECIAL_TOKENS, bert_tokenizer
from cloze.errors import ClozeError

# Long enough for scripts that put no space between words, where BERT's 100 is not.
MAX_INPUT_CHARS_PER_WORD = 1000
_CODE_POINTS = sys.maxunicode + 1


@dataclass(frozen=True)
class Alphabet:
    """The characters of a corpus after normalisation.

    `characters`: those kept, in code point order. `of_words`: those of them that may
    stand beside others in one word, so not punctuation and not Han, say. `dropped`:
    those left out.
    """

    characters: list[str]
    of_words: list[str]
    dropped: list[str]


def train_wordpiece(
    texts: Callable[[], Iterable[str]],
    normalizer: normalizers.Normalizer,
    *,
    vocab_size: int,
    min_frequency: int,
    limit_alphabet: int,
) -> tuple[Tokenizer, Alphabet]:
    """Train a vocabulary of at most `vocab_size` tokens; `texts` is called twice.

    The special tokens have ids 0 to 4. Pairs seen fewer than `min_frequency` times
    are not merged. `limit_alphabet` keeps only that many of the most frequent
    characters; 0 keeps all. Each one kept can begin and continue a word, so no text
    made of these characters has an unknown word, even one the corpus never held.

    Raises `ClozeError` if there is no text or if the characters alone need more than
    `vocab_size` tokens.
    """
    alphabet = find_alphabet(texts(), normalizer, limit_alphabet)
    continuations = [CONTINUATION + character for character in alphabet.of_words]
    needed = len(SPECIAL_TOKENS) + len(alphabet.characters) + len(continuations)
    if needed > vocab_size:
        raise ClozeError(
            f"vocab_size of {vocab_size} is too small: the special tokens and the "
            f"{len(alphabet.characters)} characters of the corpus need {needed}; "
            "raise vocab_size or keep fewer characters with limit_alphabet"
        )
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        # The trainer gives ids to `##` characters in the order of a randomly seeded
        # hash table, and later ties follow these ids. Listed here, they get theirs first.
        special_tokens=[*SPECIAL_TOKENS, *continuations],
        initial_alphabet=alphabet.characters,
        limit_alphabet=_CODE_POINTS,
        continuing_subword_prefix=CONTINUATION,
        show_progress=sys.stderr.isatty(),
    )
    tokenizer.train_from_iterator(_without(alphabet.dropped, texts(), normalizer), trainer)
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    return bert_tokenizer(vocab, normalizer, MAX_INPUT_CHARS_PER_WORD), alphabet


def find_alphabet(texts: Iterable[str], normalizer: normalizers.Normalizer, limit: int) -> Alphabet:
    """Collect the characters that words and punctuation are made of.

    With `limit` above 0 keeps the most frequent, the lower code point first among
    equals. Raises `ClozeError` if the texts hold no character but white space.
    """
    counts = np.zeros(_CODE_POINTS, np.int64)
    for text in texts:
        points = np.frombuffer(normalizer.normalize_str(text).encode("utf-32-le"), np.uint32)
        distinct, frequency = np.unique(points, return_counts=True)
        counts[distinct] += frequency
    found = [chr(point) for point in np.flatnonzero(counts)]
    seen = np.array([ord(c) for c in found if _pieces(f"a {c}", normalizer) > 1], np.int64)
    if not len(seen):
        raise ClozeError("the corpus is empty: there is no text to train a vocabulary on")
    by_frequency = seen[np.lexsort((seen, -counts[seen]))]
    kept = np.sort(by_frequency[:limit] if limit else by_frequency)
    characters = [chr(point) for point in kept]
    return Alphabet(
        characters=characters,
        of_words=[c for c in characters if _pieces(f"a{c}", normalizer) == 1],
        dropped=[chr(point) for point in np.setdiff1d(seen, kept)],
    )


def _pieces(text: str, normalizer: normalizers.Normalizer) -> int:
    """How many words and punctuation marks the pipeline sees in `text`."""
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return len(pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)))


def _without(
    dropped: list[str], texts: Iterable[str], normalizer: normalizers.Normalizer
) -> Iterable[str]:
    """Put spaces for dropped characters: their words will be `[UNK]`, so teach no merges."""
    if not dropped:
        return texts
    blanks = str.maketrans(dict.fromkeys(dropped, " "))
    return (normalizer.normalize_str(text).translate(blanks) for text in texts)
