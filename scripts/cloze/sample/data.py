"""Builds the sample that the repository ships: a review corpus, a labelled task, scored pairs.

The tasks' training splits use the seen half of the sentiment lexicon only; the corpus
uses both halves; a validation sentence uses one of them. A model that never read the
corpus meets the held-out half for the first time in the validation splits.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass

from cloze.sample.grammar import Writer
from cloze.sample.lexicon import HELD_OUT, SEEN

NUM_REVIEWS = 5200
NUM_TRAIN = 3600
NUM_VALIDATION_SEEN = 450
NUM_VALIDATION_HELD_OUT = 550
LABELS = {0: -1, 1: 1}
NUM_TRAIN_PAIRS = 1600
NUM_VALIDATION_PAIRS = 200
# How alike two opinions are: 3 of 5 for the same verdict, 2 for the same kind of thing.
SAME_POLARITY, SAME_DOMAIN = 3, 2

Pair = tuple[str, str, int]


@dataclass(frozen=True)
class Sample:
    """Reviews, one paragraph each, (sentence, label) rows with label 0 or 1, and scored pairs.

    A pair is two sentences and a score of 0, 2, 3 or 5.
    """

    reviews: list[str]
    train: list[tuple[str, int]]
    validation: list[tuple[str, int]]
    train_pairs: list[Pair]
    validation_pairs: list[Pair]


def build_sample(seed: int) -> Sample:
    """Write the sample that `seed` stands for: the same text on every Python version.

    Labels are balanced in each split, and scores too. No sentence occurs twice in a task, and no
    validation sentence stands inside a review.
    """
    writer = Writer(random.Random(f"{seed} corpus"), (SEEN, HELD_OUT))
    reviews = [writer.review(LABELS[index % 2]) for index in range(NUM_REVIEWS)]
    corpus = "\n".join(reviews).casefold()
    taken: set[str] = set()
    rng = random.Random(f"{seed} task")
    train = _labelled(rng, SEEN, NUM_TRAIN, taken, ())
    validation = _labelled(rng, SEEN, NUM_VALIDATION_SEEN, taken, corpus)
    validation += _labelled(rng, HELD_OUT, NUM_VALIDATION_HELD_OUT, taken, corpus)
    of_pairs = random.Random(f"{seed} pairs")
    taken = set()
    train_pairs = _pairs(of_pairs, SEEN, NUM_TRAIN_PAIRS, taken, ())
    validation_pairs = [
        pair
        for half in (SEEN, HELD_OUT)
        for pair in _pairs(of_pairs, half, NUM_VALIDATION_PAIRS, taken, corpus)
    ]
    return Sample(
        _shuffled(rng, reviews),
        _shuffled(rng, train),
        _shuffled(rng, validation),
        _shuffled(of_pairs, train_pairs),
        _shuffled(of_pairs, validation_pairs),
    )


def _labelled(
    rng: random.Random, half: int, count: int, taken: set[str], forbidden: Collection[str]
) -> list[tuple[str, int]]:
    """Draw `count` sentences, labels in turn, none in `taken` (grows) or `forbidden`."""
    writer = Writer(rng, (half,))
    rows: list[tuple[str, int]] = []
    while len(rows) < count:
        label = len(rows) % 2
        sentence = writer.labelled(LABELS[label])
        key = sentence.casefold()
        if key not in taken and key not in forbidden:
            taken.add(key)
            rows.append((sentence, label))
    return rows


def _pairs(
    rng: random.Random, half: int, count: int, taken: set[str], forbidden: Collection[str]
) -> list[Pair]:
    """Draw `count` pairs, scores in turn; no sentence in `taken` (grows) or `forbidden`."""
    writer = Writer(rng, (half,))
    pairs: list[Pair] = []

    def fresh(polarity: int, about: str = "", same_domain: int = 0) -> str:
        while True:
            sentence = writer.labelled(polarity)
            key, is_right = sentence.casefold(), (writer.subject[0] == about) == bool(same_domain)
            if is_right and key not in taken and key not in forbidden:
                taken.add(key)
                return sentence

    while len(pairs) < count:
        turn = len(pairs)
        polarity, same_polarity, same_domain = 1 - 2 * (turn % 2), turn // 2 % 2, turn // 4 % 2
        first = fresh(polarity)
        second = fresh(polarity if same_polarity else -polarity, writer.subject[0], same_domain)
        pairs.append((first, second, SAME_POLARITY * same_polarity + SAME_DOMAIN * same_domain))
    return pairs


def _shuffled(rng: random.Random, items: list) -> list:
    """Order by random keys: unlike `shuffle`, the same on every Python version."""
    return [item for _, _, item in sorted((rng.random(), n, x) for n, x in enumerate(items))]
