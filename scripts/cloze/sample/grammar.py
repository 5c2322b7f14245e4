"""A signed grammar that writes reviews and labelled sentences for the sample.

`Writer.review` writes one review whose sentences share a polarity; `Writer.labelled`
writes one sentence for the task. Every random choice comes from one `random.Random`
through `random()` alone, the only method whose values Python promises to keep.
"""

import bisect
import itertools
import random
import re
from collections.abc import Mapping, Sequence

from cloze.sample.domains import DOMAINS, PARTICIPLES, VERBS, WORDS, Domain, Noun
from cloze.sample.lexicon import SENTIMENT_CATEGORIES, sentiment_words
from cloze.sample.review_rules import REVIEW_RULES
from cloze.sample.rules import RULES, Rules

_SLOT = re.compile(r"\{([\w.]+)([+-]?)\}")
# A vowel letter that starts a vowel sound: not as in "useless", "university" or "one".
_A_BEFORE_VOWEL = re.compile(r"\b([Aa]) (?=[aeiou])(?!use|uni|one\b)")
_PERSONS = ({"i": "I", "me": "me", "my": "my"}, {"i": "we", "me": "us", "my": "our"})
_SPECIFIC_ADJECTIVES = 0.72
_EXCEPTIONS = 0.12


class Writer:
    """Writes text from the grammar with the sentiment words of some halves of the lexicon.

    `halves` holds `SEEN`, `HELD_OUT` or both (see `cloze.sample.lexicon`).
    """

    def __init__(self, rng: random.Random, halves: tuple[int, ...]) -> None:
        self._rng = rng
        self._halves = halves

    def review(self, polarity: int) -> str:
        """Return one paragraph of 6 to 11 sentences, of one polarity (1 or -1)."""
        self._start_text(RULES | REVIEW_RULES)
        body = [self._sentence("{remark+}", polarity) for _ in range(3 + self._below(3))]
        if self._happens(_EXCEPTIONS):
            body.append(self._sentence("{exception+}", polarity))
        for symbol in (f"{{fact.{self._domain.name}}}", "{fact}")[: 1 + self._below(2)]:
            body.insert(self._below(len(body) + 1), self._sentence(symbol, polarity))
        if self._happens(0.6):
            body.append(self._sentence("{summary+}", polarity))
        opening = self._sentence(f"{{opening.{self._domain.name}}}", polarity)
        return " ".join([opening, *body, self._sentence("{closing+}", polarity)])

    def labelled(self, polarity: int) -> str:
        """Return one sentence whose overall polarity is 1 or -1."""
        self._start_text(RULES)
        return self._sentence("{opinion+}", polarity)

    @property
    def subject(self) -> tuple[str, str]:
        """The domain's name and the item that the last text is about."""
        return self._domain.name, self._fixed["item"]

    def _below(self, bound: int) -> int:
        return int(self._rng.random() * bound)

    def _happens(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _pick(self, items: Sequence[str]) -> str:
        """Draw an item that the sentence does not hold yet."""
        fresh = [item for item in items if item not in self._used]
        chosen = fresh[self._below(len(fresh))]
        self._used.add(chosen)
        return chosen

    def _start_text(self, rules: Mapping[str, Rules]) -> None:
        """Choose what the next text is about, who speaks, and in which tense."""
        self._rules = rules
        self._domain: Domain = DOMAINS[self._below(len(DOMAINS))]
        self._present = self._happens(0.4)
        self._used: set[str] = set()
        self._fixed = {
            **_PERSONS[self._below(2)],
            "item": self._pick(self._domain.items),
            "job": self._pick(WORDS["job"]),
        }

    def _sentence(self, template: str, polarity: int) -> str:
        self._used = set(self._fixed.values())
        self._subject = Noun(self._fixed["item"], self._domain.item_kind)
        text = _A_BEFORE_VOWEL.sub(r"\1n ", self._expand(template, polarity))
        return text[0].upper() + text[1:]

    def _expand(self, template: str, polarity: int) -> str:
        """Fill the slots from left to right: verbs and adjectives look back at their noun."""
        return _SLOT.sub(
            lambda slot: self._fill(slot[1], -polarity if slot[2] == "-" else polarity), template
        )

    def _fill(self, symbol: str, polarity: int) -> str:
        if symbol in self._fixed:
            return self._fixed[symbol]
        signed = f"{symbol}{'+' if polarity > 0 else '-'}"
        for rules in (self._rules.get(symbol), self._rules.get(signed)):
            if rules:
                return self._expand(self._choose_rule(rules), polarity)
        if symbol in WORDS:
            return self._expand(self._pick(WORDS[symbol]), polarity)
        if symbol in VERBS:
            return VERBS[symbol][2 * self._present + self._subject.plural]
        if symbol in SENTIMENT_CATEGORIES:
            return self._pick(sentiment_words(symbol, polarity, self._halves))
        return self._fill_from_subject(symbol, polarity)

    def _choose_rule(self, rules: Rules) -> str:
        bounds = list(itertools.accumulate(weight for weight, _ in rules))
        return rules[bisect.bisect_right(bounds, self._below(bounds[-1]))][1]

    def _fill_from_subject(self, symbol: str, polarity: int) -> str:
        match symbol:
            case "part":
                return self._draw_part().text
            case "described":
                noun = self._draw_part()
                article = "" if noun.plural or noun.mass else "a "
                return f"{article}{self._adjective(polarity)} {noun.text}"
            case "adj":
                return self._adjective(polarity)
            case "participle":
                return self._pick(PARTICIPLES[self._subject.kind])
            case "was_item":
                return "is" if self._present else "was"
            case "moment":
                return self._pick(self._domain.moments)
            case "makers":
                return self._pick(self._domain.makers)
        raise KeyError(f"the grammar has no rule or words for {{{symbol}}}")

    def _draw_part(self) -> Noun:
        text = self._pick([noun.text for noun in self._domain.parts])
        self._subject = next(noun for noun in self._domain.parts if noun.text == text)
        return self._subject

    def _adjective(self, polarity: int) -> str:
        kind = self._subject.kind if self._happens(_SPECIFIC_ADJECTIVES) else "anything"
        return self._pick(sentiment_words(f"adjective.{kind}", polarity, self._halves))
