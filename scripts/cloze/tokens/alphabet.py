"""The characters of a corpus: every one of them belongs into a trained vocabulary."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from tokenizers import normalizers, pre_tokenizers

from cloze.errors import ClozeError

CODE_POINTS = 0x110000


@dataclass(frozen=True)
class Alphabet:
    """The characters of a corpus after normalisation.

    `characters`: those kept, in code point order. `of_words`: those of them that may
    stand beside others in one word, so not punctuation and not Han, say. `dropped`:
    those left out. `white_space`: the white space of the corpus, in none of the others.
    """

    characters: list[str]
    of_words: list[str]
    dropped: list[str]
    white_space: list[str]

    def require_room(self, needed: int, vocab_size: int) -> None:
        """Raise `ClozeError` if the `needed` tokens are more than `vocab_size`."""
        if needed > vocab_size:
            raise ClozeError(
                f"vocab_size of {vocab_size} is too small: the special tokens and the "
                f"{len(self.characters)} characters of the corpus need {needed}; "
                "raise vocab_size or keep fewer characters with limit_alphabet"
            )

    def without_dropped(
        self, texts: Iterable[str], normalizer: normalizers.Normalizer
    ) -> Iterable[str]:
        """Put spaces for dropped characters: they will be unknown, so they teach no merges."""
        if not self.dropped:
            return texts
        blanks = str.maketrans(dict.fromkeys(self.dropped, " "))
        return (normalizer.normalize_str(text).translate(blanks) for text in texts)


def find_alphabet(texts: Iterable[str], normalizer: normalizers.Normalizer, limit: int) -> Alphabet:
    """Collect the characters that words and punctuation are made of.

    With `limit` above 0 keeps the most frequent, the lower code point first among
    equals. Raises `ClozeError` if the texts hold no character but white space.
    """
    counts = _count_characters(texts, normalizer)
    found = [chr(point) for point in np.flatnonzero(counts)]
    white_space = [c for c in found if _pieces(f"a {c}", normalizer) == 1]
    seen = np.setdiff1d(np.flatnonzero(counts), [ord(c) for c in white_space])
    if not len(seen):
        raise ClozeError("the corpus is empty: there is no text to train a vocabulary on")
    by_frequency = seen[np.lexsort((seen, -counts[seen]))]
    kept = np.sort(by_frequency[:limit] if limit else by_frequency)
    characters = [chr(point) for point in kept]
    return Alphabet(
        characters=characters,
        of_words=[c for c in characters if _pieces(f"a{c}", normalizer) == 1],
        dropped=[chr(point) for point in np.setdiff1d(seen, kept)],
        white_space=white_space,
    )


def _count_characters(texts: Iterable[str], normalizer: normalizers.Normalizer) -> np.ndarray:
    """Return how often each code point occurs in the normalised texts, int64 [CODE_POINTS]."""
    # BERT's normalizer sees one character at a time, so each distinct one is normalised once.
    if not isinstance(normalizer, normalizers.BertNormalizer):
        texts = map(normalizer.normalize_str, texts)
    raw = np.zeros(CODE_POINTS, np.int64)
    for text in texts:
        counted = np.bincount(np.frombuffer(text.encode("utf-32-le"), np.uint32))
        raw[: len(counted)] += counted
    counts = np.zeros(CODE_POINTS, np.int64)
    for point in np.flatnonzero(raw):
        for character in normalizer.normalize_str(chr(point)):
            counts[ord(character)] += raw[point]
    return counts


def _pieces(text: str, normalizer: normalizers.Normalizer) -> int:
    """How many words and punctuation marks BERT's pipeline sees in `text`."""
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return len(pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)))
