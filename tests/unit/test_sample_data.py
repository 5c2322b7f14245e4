import random
import re
from collections import Counter

import pytest

from cloze.sample.data import Sample, build_sample
from cloze.sample.domains import DOMAINS, PARTICIPLES
from cloze.sample.grammar import Writer
from cloze.sample.lexicon import (
    HELD_OUT,
    SEEN,
    SENTIMENT_CATEGORIES,
    all_sentiment_words,
    sentiment_words,
)
from cloze.sample.review_rules import REVIEW_RULES
from cloze.sample.rules import RULES

POLARITY = {
    w: p for half in (SEEN, HELD_OUT) for p in (1, -1) for w in all_sentiment_words(half, p)
}
HALF = {w: half for half in (SEEN, HELD_OUT) for p in (1, -1) for w in all_sentiment_words(half, p)}
TELLING = {
    template
    for name in ("luck", "tone", "rare")
    for sign in "+-"
    for _, template in REVIEW_RULES[name + sign]
}


@pytest.fixture(scope="module")
def sample() -> Sample:
    return build_sample(seed=0)


def tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def halves_in(sentence: str) -> set[int]:
    return {HALF[word] for word in tokens(sentence) if word in HALF}


def test_no_sentiment_word_is_in_two_halves_or_two_polarities():
    for category in SENTIMENT_CATEGORIES:
        drawn = [w for p in (1, -1) for w in sentiment_words(category, p, (SEEN, HELD_OUT))]
        assert len(drawn) == len(set(drawn))
    sets = [all_sentiment_words(half, p) for half in (SEEN, HELD_OUT) for p in (1, -1)]
    assert sum(map(len, sets)) == len(set.union(*sets))


def test_no_stem_is_in_both_halves():
    stems = [{w[:5] for w, half in HALF.items() if half == which} for which in (SEEN, HELD_OUT)]
    assert stems[0] & stems[1] == set()


def test_train_draws_on_the_seen_half_only(sample: Sample):
    assert {half for sentence, _ in sample.train for half in halves_in(sentence)} == {SEEN}


def test_each_validation_sentence_draws_on_one_half(sample: Sample):
    counts = Counter(tuple(halves_in(sentence)) for sentence, _ in sample.validation)
    assert counts == {(SEEN,): 450, (HELD_OUT,): 550}


def test_every_sentiment_word_is_frequent_in_the_corpus(sample: Sample):
    counts = Counter(tokens(" ".join(sample.reviews)))
    assert {word: counts[word] for word in POLARITY if counts[word] < 40} == {}


def test_validation_repeats_no_sentence_of_the_corpus_or_of_train(sample: Sample):
    corpus = "\n".join(sample.reviews).casefold()
    train = {sentence.casefold() for sentence, _ in sample.train}
    validation = [sentence.casefold() for sentence, _ in sample.validation]
    assert len(set(validation)) == len(validation)
    assert [s for s in validation if s in corpus or s in train] == []


def test_labels_are_balanced_in_each_split_and_half(sample: Sample):
    assert Counter(label for _, label in sample.train) == {0: 1800, 1: 1800}
    by_half = Counter((halves_in(s).pop(), label) for s, label in sample.validation)
    assert by_half == {(SEEN, 0): 225, (SEEN, 1): 225, (HELD_OUT, 0): 275, (HELD_OUT, 1): 275}


def test_the_task_has_no_rule_for_one_polarity():
    assert {name for name in RULES if name[-1] in "+-"} == set()


def test_no_adverb_that_tells_the_polarity_in_reviews_reaches_the_task(sample: Sample):
    found = {word for sentence, _ in sample.train + sample.validation for word in tokens(sentence)}
    assert len(TELLING) == 14
    assert TELLING & found == set()


def test_forms_do_not_give_the_label_away(sample: Sample):
    def form(sentence: str) -> str:
        return " ".join("*" if word in POLARITY else word for word in tokens(sentence))

    negated = Counter(
        label for s, label in sample.train if re.search(r"\b(not|never|hardly)\b", form(s))
    )
    assert abs(negated[0] - negated[1]) / sum(negated.values()) < 0.1


PATTERNS = {
    # pattern -> is the last matched sentiment word the sentence's polarity (1) or its reverse (-1)?
    r"^The [a-z ]+ (?:was|is|were|are) (\w+)\.$": 1,
    r"^The [a-z ]+ (?:was|is|were|are) (?:not|never|hardly|not at all|far from) (\w+)\.$": -1,
    r"^(?:Though|Although|While) .*, the [a-z ]+ (?:was|is|were|are) (\w+)\.$": 1,
    r", but the [a-z ]+ (?:was|is|were|are) (\w+)\.$": 1,
    r"(?:utterly|absolutely|completely|extremely|totally|incredibly) (\w+)(?:;| and |\.$)": 1,
    r"^There (?:was|is) (?:not|hardly) an? (\w+) \w+": -1,
}


@pytest.fixture(scope="module")
def many_labelled() -> list[tuple[str, int]]:
    writer = Writer(random.Random(1), (SEEN, HELD_OUT))
    return [(writer.labelled(polarity), polarity) for polarity in (1, -1) * 6000]


@pytest.mark.parametrize(("pattern", "sign"), PATTERNS.items())
def test_negation_contrast_and_degree_decide_the_label(
    many_labelled: list[tuple[str, int]], pattern: str, sign: int
):
    found = [
        (sentence, polarity, match[1])
        for sentence, polarity in many_labelled
        if (match := re.search(pattern, sentence)) and match[1] in POLARITY
    ]
    assert len(found) >= 15
    assert [row for row in found if POLARITY[row[2]] * sign != row[1]] == []


def test_a_review_keeps_its_polarity_in_plain_statements():
    writer = Writer(random.Random(1), (SEEN, HELD_OUT))
    plain = rf"The [a-z ]+ (?:was|is|were|are) (?:(?:{'|'.join(sorted(TELLING))}) )?(\w+)\."
    agrees = [
        POLARITY[match[1]] == polarity
        for polarity in (1, -1) * 600
        for sentence in re.split(r"(?<=\.) ", writer.review(polarity))
        if (match := re.fullmatch(plain, sentence)) and match[1] in POLARITY
    ]
    assert len(agrees) > 50
    assert all(agrees)


def test_articles_fit_the_next_word(sample: Sample):
    text = "\n".join(sample.reviews)
    assert re.findall(r"\b[Aa] (?!use|uni|one\b)[aeiou]\w+", text) == []
    assert re.findall(r"\b[Aa]n (?:[^aeiou\s]|use|uni)\w+", text) == []


def test_no_slot_is_left_unfilled(sample: Sample):
    text = "\n".join(sample.reviews + [s for s, _ in sample.train + sample.validation])
    assert not set("{}") & set(text)


def test_an_unknown_symbol_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(RULES, "opinion", ((1, "{no_such_symbol+}."),))
    with pytest.raises(KeyError, match="no_such_symbol"):
        Writer(random.Random(0), (SEEN,)).labelled(1)


def test_every_kind_of_noun_has_participles():
    kinds = {noun.kind for domain in DOMAINS for noun in domain.parts}
    assert kinds == set(PARTICIPLES)


def test_another_seed_gives_another_sample(sample: Sample):
    writer = Writer(random.Random("1 corpus"), (SEEN, HELD_OUT))
    assert writer.review(-1) not in sample.reviews


def test_pairs_are_balanced_and_keep_to_their_halves(sample: Sample):
    assert Counter(score for *_, score in sample.train_pairs) == dict.fromkeys((0, 2, 3, 5), 400)
    assert Counter(score for *_, score in sample.validation_pairs) == dict.fromkeys(
        (0, 2, 3, 5), 100
    )
    train = [halves_in(text) for first, second, _ in sample.train_pairs for text in (first, second)]
    assert set().union(*train) == {SEEN}
    halves = Counter(
        tuple(halves_in(f"{first} {second}")) for first, second, _ in sample.validation_pairs
    )
    assert halves == {(SEEN,): 200, (HELD_OUT,): 200}


def test_no_sentence_of_the_pairs_occurs_twice_or_in_the_corpus(sample: Sample):
    corpus = "\n".join(sample.reviews).casefold()
    pairs = [*sample.train_pairs, *sample.validation_pairs]
    sentences = [text.casefold() for first, second, _ in pairs for text in (first, second)]
    assert len(set(sentences)) == len(sentences)
    validation = [text for first, second, _ in sample.validation_pairs for text in (first, second)]
    assert [text for text in validation if text.casefold() in corpus] == []
