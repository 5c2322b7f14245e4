"""Builds the sample that the repository ships: a review corpus and a labelled task.

The task's training split uses the seen half of the sentiment lexicon only; the corpus
uses both halves; a validation sentence uses one of them. A model that never read the
corpus meets the held-out half for the first time in the validation split.
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


@dataclass(frozen=True)
class Sample:
    """Reviews, one paragraph each, and (sentence, label) rows with label 0 or 1."""

    reviews: list[str]
    train: list[tuple[str, int]]
    validation: list[tuple[str, int]]


def build_sample(seed: int) -> Sample:
    """Write the sample that `seed` stands for: the same text on every Python version.

    Labels are balanced in each split. No sentence occurs twice in the task, and no
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
    return Sample(_shuffled(rng, reviews), _shuffled(rng, train), _shuffled(rng, validation))


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


def _shuffled(rng: random.Random, items: list) -> list:
    """Order by random keys: unlike `shuffle`, the same on every Python version."""
    return [item for _, _, item in sorted((rng.random(), n, x) for n, x in enumerate(items))]
