"""Questions on reviews, answered by a span of the review or not at all, in the form of SQuAD 2.0.

What a review says in one of the sentences below is asked for in words of its own; what another
review of the same kind of thing would say, and this one does not, has no answer.
"""

import random
import re
from dataclasses import dataclass
from typing import Any

from cloze.sample.domains import DOMAINS, WORDS
from cloze.sample.grammar import Writer
from cloze.sample.lexicon import HELD_OUT, SEEN

NUM_TRAIN = 500
NUM_VALIDATION = 120
_MOST_ANSWERED = 4
_LABELS = (-1, 1)


def _one_of(name: str) -> str:
    return "|".join(sorted(map(re.escape, WORDS[name]), key=len, reverse=True))


_SLOTS = {
    "city": _one_of("city"),
    "day": _one_of("day"),
    "month": _one_of("month"),
    "dish": _one_of("dish"),
    "job": _one_of("job"),
    "plot": _one_of("plot"),
    # What somebody told of at another time is another story.
    "story": "(?<!me about )(?<!us about )"
    f"(?:an?|the) (?:{_one_of('job')}) (?:who )?(?:{_one_of('plot')})",
    "landmark": f"the (?:{_one_of('landmark')})",
    "name": f"{_one_of('first_name')}|{_one_of('last_name')}",
    "full_name": f"(?:{_one_of('first_name')}) (?:{_one_of('last_name')})",
    "number": f"(?i:{_one_of('number')})",
    "year": r"\d{4}",
    "item": "|".join(item for domain in DOMAINS for item in domain.items),
}


@dataclass(frozen=True)
class _Kind:
    """What can be asked of reviews of some domains; `pattern` finds the answer as its group."""

    domains: tuple[str, ...]
    question: str
    pattern: re.Pattern[str]


def _kinds(text: str) -> tuple[_Kind, ...]:
    """Read a kind a line: domains | question | sentence with «its answer»."""
    kinds = []
    for line in text.strip().splitlines():
        domains, question, sentence = (part.strip() for part in line.split("|", 2))
        pattern = sentence.replace("«", "(").replace("»", ")")
        for slot, values in _SLOTS.items():
            pattern = pattern.replace(f"{{{slot}}}", f"(?:{values})")
        kinds.append(_Kind(tuple(domains.split()), question, re.compile(pattern)))
    return tuple(kinds)


_ALL = " ".join(domain.name for domain in DOMAINS)
_KINDS = _kinds(f"""
    film theatre | Who wrote the {{item}}? | «{{full_name}}» wrote it
    film theatre | In which year was the {{item}} written? | wrote it in «{{year}}»
    film | How long is the {{item}}? | It runs for «{{number}} hours»
    film | Where was half of it shot? | half of it was shot in «{{city}}»
    film theatre music | What is the {{item}} about? | «{{story}}»
    film theatre | Who plays a leading part? | «{{full_name}}» plays (?:an?|the) {{job}}
    theatre | Who is the ghost? | «{{full_name}}» is the ghost
    theatre | After how many minutes was there a break? | interval after «{{number}}» minutes
    book | Who translated the {{item}}? | translation is by «{{full_name}}»
    book | How many pages are there? | It has «{{number}} hundred» pages
    book | In which city is the shop? | in a small shop in «{{city}}»
    book | Where did the train go? | on the train to «{{city}}»
    restaurant | What did the writer order? | (?:I|We|we) ordered «{{dish}}»
    restaurant | What did they eat together at the end? | we shared «{{dish}}»
    restaurant | How many people had to pay? | bill for «{{number}} people»
    hotel | What could one see from the window? | looked out on «{{landmark}}»
    hotel | What was there to eat in the morning? | In the morning {{name}} brought «{{dish}}»
    hotel | Who brought food to the room? | In the morning «{{name}}» brought
    hotel | What does the {{item}} stand behind? | stands behind «{{landmark}}»
    hotel | How long did they stay? | for «{{number}} nights» in
    gadget | What is the weight of the {{item}}? | It weighs «{{number}} hundred grams»
    gadget | How many colours are there? | comes in «{{number}}» colours
    gadget | When does the guarantee end? | guarantee runs until «{{month}}»
    music | Who is the pianist? | «{{full_name}}» plays the piano
    music | Who is the poet? | «{{name}}» wrote the words
    music | How long is the {{item}}? | It lasts for «{{number}} minutes»
    music | Where was the {{item}} made? | recorded this {{item}} in «{{city}}»
    {_ALL} | Since when does it cost more? | price has gone up since «{{year}}»
    {_ALL} | In which city was the weather bad? | It was raining in «{{city}}» that
    {_ALL} | When was the review written? | wrote this on «{{day}}»
""")


def build_questions(seed: int) -> dict[str, dict[str, Any]]:
    """Return `train` and `validation` as SQuAD 2.0 has them, an article a review."""
    rng = random.Random(f"{seed} questions")
    sizes = {"train": NUM_TRAIN, "validation": NUM_VALIDATION}
    return {
        split: {
            "version": "v2.0",
            "data": [_article(rng, f"{split}-{number}") for number in range(size)],
        }
        for split, size in sizes.items()
    }


def _article(rng: random.Random, name: str) -> dict[str, Any]:
    """Write a review that says something that can be asked for, and its questions."""
    writer = Writer(rng, (SEEN, HELD_OUT))
    while True:
        review = writer.review(_LABELS[int(rng.random() * 2)])
        domain, item = writer.subject
        kinds = [kind for kind in _KINDS if domain in kind.domains]
        found = [(kind, kind.pattern.search(review)) for kind in kinds]
        answered = [(kind, match) for kind, match in found if match]
        if answered:
            break
    asked = _drawn(rng, answered, _MOST_ANSWERED)
    asked += _drawn(rng, [(kind, None) for kind, match in found if not match], len(asked) // 2)
    questions = [
        {
            "id": f"{name}-{number}",
            "question": kind.question.format(item=item),
            "answers": []
            if match is None
            else [{"text": match[1], "answer_start": match.start(1)}],
            "is_impossible": match is None,
        }
        for number, (kind, match) in enumerate(asked)
    ]
    return {"title": f"{item} {name}", "paragraphs": [{"context": review, "qas": questions}]}


def _drawn(rng: random.Random, items: list[Any], count: int) -> list[Any]:
    """Draw some items, fewer if there are no more; the same on every Python version."""
    ordered = sorted((rng.random(), number) for number in range(len(items)))
    return [items[number] for _, number in ordered[:count]]
