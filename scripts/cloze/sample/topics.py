"""Short reviews of the sample with several labels: what they judge, and whether they praise it.

Labels: `praise`, `blame`, and the kinds of things that the domains know, such as `story` or
`craft`. The sentiment words are those of `entities`: one half of the lexicon to train on, both to
validate on.
"""

import random

from cloze.sample.domains import DOMAINS
from cloze.sample.entities import TaggedWords, tagged, types_of_words
from cloze.sample.grammar import Writer
from cloze.sample.lexicon import HELD_OUT, SEEN

NUM_TRAIN = 1_600
NUM_VALIDATION = 400
_POLARITIES = (-1, 1)

Labelled = tuple[str, list[str]]


def build_topics(seed: int) -> dict[str, list[Labelled]]:
    """Return texts of one or two sentences with their sorted labels, by split; none twice."""
    rng, taken = random.Random(f"{seed} topics"), set[str]()
    train = _texts(rng, SEEN, NUM_TRAIN, taken)
    seen = _texts(rng, SEEN, NUM_VALIDATION // 2, taken)
    held_out = _texts(rng, HELD_OUT, NUM_VALIDATION // 2, taken)
    return {"train": train, "validation": seen + held_out}


def _texts(rng: random.Random, half: int, count: int, taken: set[str]) -> list[Labelled]:
    writer, found = Writer(rng, (half,)), list[Labelled]()
    kinds = {noun.text.casefold(): noun.kind for domain in DOMAINS for noun in domain.parts}
    while len(found) < count:
        polarity = _POLARITIES[len(found) % 2]
        sentences = [writer.labelled(polarity)]
        if rng.random() < 0.5:
            sentences.append(writer.labelled(_POLARITIES[int(rng.random() * 2)]))
        text = " ".join(sentences)
        if text.casefold() not in taken:
            taken.add(text.casefold())
            found.append((text, _labels(tagged(text, types_of_words()), kinds)))
    return found


def _labels(words: TaggedWords, kinds: dict[str, str]) -> list[str]:
    """Return what is praised or blamed in the words, and the kinds of the aspects there."""
    names, labels = list[str](), set[str]()
    for word, tag in words:
        if tag == "I-aspect":
            names[-1] += f" {word.casefold()}"
        elif tag == "B-aspect":
            names.append(word.casefold())
        elif tag != "O":
            labels.add(tag.removeprefix("B-"))
    return sorted(labels | {kinds[name] for name in names if name in kinds})
