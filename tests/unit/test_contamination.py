import random

import numpy as np
import pytest

from cloze.corpus import contamination
from cloze.corpus.contamination import NGRAM_WORDS, ContaminationIndex
from tests.texts import MULTILINGUAL, random_text


def words_of(text: str) -> tuple[str, ...]:
    """Words of texts of letters and white space."""
    return tuple(text.casefold().split())


def contains(text: tuple[str, ...], row: tuple[str, ...]) -> bool:
    return bool(row) and any(
        text[start : start + len(row)] == row for start in range(len(text) - len(row) + 1)
    )


def shares_ngram(text: tuple[str, ...], row: tuple[str, ...]) -> bool:
    starts = range(len(row) - NGRAM_WORDS + 1)
    return any(contains(text, row[start : start + NGRAM_WORDS]) for start in starts)


def found(index: ContaminationIndex, texts: list[str]) -> list[tuple[int, int, bool, bool]]:
    matches = index.find(texts)
    return [
        tuple(match) for match in zip(*(a.tolist() for a in vars(matches).values()), strict=True)
    ]


def expected(rows: list[str], texts: list[str], min_words: int = 1) -> list[tuple[int, ...]]:
    pairs = []
    for number, text in enumerate(map(words_of, texts)):
        for place, row in enumerate(map(words_of, rows)):
            exact = len(row) >= min_words and contains(text, row)
            ngram = shares_ngram(text, row)
            if exact or ngram:
                pairs.append((number, place, exact, ngram))
    return pairs


def random_rows_and_texts(seed: int) -> tuple[list[str], list[str]]:
    """Few distinct words, and pieces of texts as rows with a word changed here and there."""
    rng = random.Random(seed)
    texts = [
        " ".join(rng.choice("abcdef") * rng.randrange(1, 4) for _ in range(rng.randrange(90)))
        for _ in range(40)
    ]
    rows = ["", "a"]
    for _ in range(60):
        words = rng.choice(texts).split()
        start = rng.randrange(len(words) + 1)
        row = words[start : start + rng.choice([1, 2, 3, 5, 8, 12, 13, 14, 20, 30, 40, 50])]
        if row and rng.random() < 0.5:
            row[rng.randrange(len(row))] = "new"
        rows.append(" ".join(row))
    return [*rows, *rows[:7]], texts


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("min_words", [1, 8])
def test_it_finds_what_a_plain_search_finds(seed: int, min_words: int) -> None:
    rows, texts = random_rows_and_texts(seed)
    index = ContaminationIndex(rows, min_words)
    plain = expected(rows, texts, min_words)
    assert found(index, texts) == plain
    assert len(plain) > 5
    assert any(ngram and not exact for _, _, exact, ngram in plain)
    assert index.lengths.tolist() == [len(words_of(row)) for row in rows]


@pytest.mark.parametrize("seed", range(3))
def test_long_texts_are_searched_in_pieces(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    rows, texts = random_rows_and_texts(seed)
    whole = found(ContaminationIndex(rows), [" ".join(texts), *texts])
    monkeypatch.setattr(contamination, "_CHARACTERS_AT_ONCE", 50)
    monkeypatch.setattr(contamination, "_WORDS_AT_ONCE", 10)
    in_pieces = ContaminationIndex(rows)
    monkeypatch.setattr(in_pieces, "_size", 50)
    assert found(in_pieces, [" ".join(texts), *texts]) == whole


SENTENCES = [
    "It doesn't take a genius to see that this film, for all its faults, was made with love.",
    "Never have I laughed so hard at so little !",
    "o tempo perguntou ao tempo quanto tempo o tempo tem, e o tempo respondeu ao tempo",
    "Straße, Übergröße, smørrebrød und viele andere schöne Wörter stehen in diesem Satz",
    "我不知道你好吗今天天气很好我们去公园吧",
    "a short one",
]


def plant(sentence: str, way: str) -> str:
    words = sentence.split()
    return {
        "as it is": sentence,
        "upper case": sentence.upper(),
        "white space": " \n\t ".join(words) + "\u00a0\n",
        "no punctuation": "".join(c for c in sentence if c not in ".,!"),
        "treebank": sentence.replace("n't", " n't").replace(",", " ,"),
    }[way]


@pytest.mark.parametrize(
    "way", ["as it is", "upper case", "white space", "no punctuation", "treebank"]
)
@pytest.mark.parametrize("place", ["start", "middle", "end", "alone"])
def test_planted_sentences_are_found_and_nothing_else(way: str, place: str) -> None:
    rng = random.Random(7)
    texts = [random_text(seed, 40) for seed in range(30)]
    planted = {}
    for row, sentence in enumerate(SENTENCES):
        number = rng.choice([n for n in range(30) if n not in planted])
        words, leak = texts[number].split(" "), plant(sentence, way)
        at = {"start": 0, "middle": len(words) // 2, "end": len(words), "alone": 0}[place]
        texts[number] = " ".join([*words[:at], leak, *words[at:]]) if place != "alone" else leak
        planted[number] = row
    innocent = ["These words stand nowhere.", "nor do these"]
    matches = ContaminationIndex([*SENTENCES, *innocent]).find(texts)
    assert dict(zip(matches.texts.tolist(), matches.rows.tolist(), strict=True)) == planted
    assert matches.exact.all()
    assert len(matches.rows) == len(SENTENCES)


def test_thirteen_words_are_enough_and_twelve_are_not() -> None:
    words = [f"word{number}" for number in range(40)]
    for start in range(28):
        for length in (12, 13, 14):
            run = words[start : start + length]
            text = " ".join(["before", *run, "after"])
            matches = ContaminationIndex([" ".join(words)]).find([text])
            assert matches.ngram.tolist() == [True] * (len(run) >= 13), (start, length)
            assert not matches.exact.any()


def test_near_misses_are_not_found() -> None:
    row = "one two three four five six seven eight nine ten"
    texts = [
        row.replace("three", "tree"),
        row.removesuffix(" ten"),
        "twenty-" + row.removeprefix("one "),
        row.replace("six seven", "six and seven"),
        row.replace("six seven", "seven six"),
        row + "th",
        "phone" + row.removeprefix("one"),
        row.replace("five six", "fivesix"),
    ]
    assert not ContaminationIndex([row]).find(texts).rows.size


def test_rows_do_not_match_across_two_texts() -> None:
    row = " ".join(f"word{number}" for number in range(20))
    words = row.split()
    texts = [" ".join(words[:11]), " ".join(words[11:])]
    assert not ContaminationIndex([row, "word10 word11"]).find(texts).rows.size


def test_fingerprints_that_lie_are_seen_through(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, texts = random_rows_and_texts(3)
    plain = found(ContaminationIndex(rows), texts)
    monkeypatch.setattr(
        contamination,
        "fingerprints",
        lambda keys, words: np.zeros(max(0, len(keys) - words + 1), "u8"),
    )
    monkeypatch.setattr(
        contamination,
        "fingerprints_at",
        lambda keys, places, words: np.zeros(len(places), np.uint64),
    )
    assert found(ContaminationIndex(rows), texts) == plain


def test_nothing_to_find_and_nothing_to_look_in() -> None:
    for rows in ([], ["", "...", "\n"]):
        assert ContaminationIndex(rows).find(["some text", ""]).rows.size == 0
    assert ContaminationIndex(["some text"]).find([]).rows.size == 0
    assert ContaminationIndex(MULTILINGUAL.split("\n")).find(["", " "]).rows.size == 0


def test_every_script_is_found_in_itself() -> None:
    lines = [line for line in MULTILINGUAL.split("\n") if any(map(str.isalpha, line))]
    matches = ContaminationIndex(lines).find([MULTILINGUAL.replace(" ", " \n\t")])
    assert matches.rows[matches.exact].tolist() == list(range(len(lines)))
