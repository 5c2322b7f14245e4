"""Train a WordPiece vocabulary that comes out the same every time."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from cloze.errors import ClozeError
from cloze.tokenizer import CONTINUATION, SPECIAL_TOKENS, bert_tokenizer

# Long enough for scripts that put no space between words, where BERT's 100 is not.
MAX_INPUT_CHARS_PER_WORD = 1000
_CODE_POINTS = sys.maxunicode + 1


@dataclass(frozen=True)
class Alphabet:
    """The characters of a corpus after normalisation.

    `characters`: those kept, in code point order. `inside_words`: those of them that
    stand behind the first place of some word. `dropped`: those left out.
    """

    characters: list[str]
    inside_words: list[str]
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
    characters; 0 keeps all, so that no character of the corpus becomes `[UNK]`.

    Raises `ClozeError` if there is no text or if the characters alone need more than
    `vocab_size` tokens.
    """
    alphabet = find_alphabet(texts(), normalizer, limit_alphabet)
    continuations = [CONTINUATION + character for character in alphabet.inside_words]
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
    inside = np.zeros(_CODE_POINTS, np.bool_)
    kinds = _CharacterKinds()
    for text in texts:
        points = np.frombuffer(normalizer.normalize_str(text).encode("utf-32-le"), np.uint32)
        distinct, frequency = np.unique(points, return_counts=True)
        counts[distinct] += frequency
        kinds.learn(distinct)
        of_word = kinds.of_word[points]
        inside[points[1:][of_word[1:] & of_word[:-1]]] = True
    counts[kinds.is_space] = 0
    seen = np.flatnonzero(counts)
    if not len(seen):
        raise ClozeError("the corpus is empty: there is no text to train a vocabulary on")
    by_frequency = seen[np.lexsort((seen, -counts[seen]))]
    kept = np.sort(by_frequency[:limit] if limit else by_frequency)
    return Alphabet(
        characters=[chr(point) for point in kept],
        inside_words=[chr(point) for point in kept[inside[kept]]],
        dropped=[chr(point) for point in np.setdiff1d(seen, kept)],
    )


class _CharacterKinds:
    """What the pre-tokenizer makes of each character: asked once, remembered by code point."""

    def __init__(self) -> None:
        self.of_word = np.zeros(_CODE_POINTS, np.bool_)
        self.is_space = np.zeros(_CODE_POINTS, np.bool_)
        self._known = np.zeros(_CODE_POINTS, np.bool_)
        self._pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def learn(self, points: np.ndarray) -> None:
        """Classify the code points that are new."""
        for point in points[~self._known[points]]:
            pieces = self._pre_tokenizer.pre_tokenize_str(f"a{chr(point)}a")
            self.of_word[point] = len(pieces) == 1
            self.is_space[point] = len(pieces) == 2
            self._known[point] = True


def _without(
    dropped: list[str], texts: Iterable[str], normalizer: normalizers.Normalizer
) -> Iterable[str]:
    """Put spaces for dropped characters: their words will be `[UNK]`, so teach no merges."""
    if not dropped:
        return texts
    blanks = str.maketrans(dict.fromkeys(dropped, " "))
    return (normalizer.normalize_str(text).translate(blanks) for text in texts)
