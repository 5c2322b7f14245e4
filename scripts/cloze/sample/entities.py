"""Sentences of the sample with their entities tagged: what is judged, and the words that judge it.

Types: `aspect`, a part of a reviewed thing or the thing itself; `praise` and `blame`, the
sentiment words. The training split draws these from the half `SEEN` of the lexicon, the validation
split from both: which of the others praise and which blame only the corpus tells.
"""

import functools
import random
import re

from cloze.sample.domains import DOMAINS
from cloze.sample.grammar import Writer
from cloze.sample.lexicon import HELD_OUT, SEEN, all_sentiment_words

NUM_TRAIN = 1_600
NUM_VALIDATION = 400
_WORD = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")
_POLARITIES = (-1, 1)

TaggedWords = list[tuple[str, str]]


def build_entities(seed: int) -> dict[str, list[TaggedWords]]:
    """Return the sentences of `train` and `validation`, words with tags in the scheme BIO.

    No sentence occurs twice.
    """
    rng = random.Random(f"{seed} entities")
    types = types_of_words()
    taken: set[str] = set()
    train = _sentences(rng, (SEEN,), NUM_TRAIN, types, taken)
    seen = _sentences(rng, (SEEN,), NUM_VALIDATION // 2, types, taken)
    held_out = _sentences(rng, (HELD_OUT,), NUM_VALIDATION // 2, types, taken)
    return {"train": train, "validation": seen + held_out}


def _sentences(
    rng: random.Random,
    halves: tuple[int, ...],
    count: int,
    types: dict[tuple[str, ...], str],
    taken: set[str],
) -> list[TaggedWords]:
    writer, found = Writer(rng, halves), list[TaggedWords]()
    while len(found) < count:
        sentence = writer.labelled(_POLARITIES[len(found) % 2])
        if sentence.casefold() not in taken:
            taken.add(sentence.casefold())
            found.append(tagged(sentence, types))
    return found


@functools.cache
def types_of_words() -> dict[tuple[str, ...], str]:
    """Return the words of each entity, in lower case, and its type."""
    nouns = {noun.text for domain in DOMAINS for noun in domain.parts}
    items = {item for domain in DOMAINS for item in domain.items}
    names = dict.fromkeys(nouns | items, "aspect")
    for half in (SEEN, HELD_OUT):
        names |= dict.fromkeys(all_sentiment_words(half, 1), "praise")
        names |= dict.fromkeys(all_sentiment_words(half, -1), "blame")
    return {tuple(_WORD.findall(name.casefold())): kind for name, kind in names.items()}


def tagged(sentence: str, types: dict[tuple[str, ...], str]) -> TaggedWords:
    """Return the words of a sentence with their tags; of entities that overlap the longest."""
    words = _WORD.findall(sentence)
    lower = tuple(word.casefold() for word in words)
    longest = max(map(len, types))
    found, place = TaggedWords(), 0
    while place < len(words):
        for size in range(min(longest, len(words) - place), 0, -1):
            if kind := types.get(lower[place : place + size]):
                found += [
                    (word, f"{'I' if number else 'B'}-{kind}")
                    for number, word in enumerate(words[place : place + size])
                ]
                place += size
                break
        else:
            found.append((words[place], "O"))
            place += 1
    return found
