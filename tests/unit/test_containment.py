import random

import pytest

from cloze.corpus import contamination
from cloze.corpus.contamination import ContainmentIndex, normalized_words


def stands_inside(row: str, text: str) -> bool:
    return f" {' '.join(normalized_words(row))} " in f" {' '.join(normalized_words(text))} "


def random_texts(count: int, seed: int) -> list[str]:
    """Texts of few distinct words, and pieces of them, so that containment is common."""
    rng = random.Random(seed)
    texts = [
        " ".join(rng.choice("abcdef") * rng.randrange(1, 3) for _ in range(rng.randrange(1, 25)))
        for _ in range(count)
    ]
    for text in list(texts):
        words = text.split()
        start = rng.randrange(len(words))
        texts.append(" ".join(words[start : start + rng.randrange(1, 15)]))
    return texts


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_what_a_plain_search_finds(seed):
    texts = random_texts(60, seed)
    rows, others = texts[::2], texts[1::2]
    expected = [any(stands_inside(row, text) for text in others) for row in rows]
    assert 5 < sum(expected) < len(rows)
    assert ContainmentIndex(rows).find(others).tolist() == expected


def test_a_row_is_no_part_of_itself():
    rows = ["a b c", "b c", "a b", "d", "A  B"]
    index = ContainmentIndex(rows)
    assert index.find_parts().tolist() == [False, True, True, False, True]
    assert index.find(rows).all()
    assert not ContainmentIndex(["a b", "A  B"]).find_parts().any()


def test_texts_are_searched_some_at_a_time(monkeypatch):
    texts = random_texts(60, 9)
    rows, others = texts[::2], texts[1::2]
    found, parts = ContainmentIndex(rows).find(others), ContainmentIndex(texts).find_parts()
    assert parts.any()
    monkeypatch.setattr(contamination, "_TEXTS_AT_ONCE", 7)
    assert ContainmentIndex(rows).find(others).tolist() == found.tolist()
    assert ContainmentIndex(texts).find_parts().tolist() == parts.tolist()


def test_words_never_match_across_two_texts():
    assert not ContainmentIndex(["b c"]).find(["a b", "c d"]).any()
    long_row = " ".join("abcdefghij")
    assert not ContainmentIndex([long_row]).find([long_row[:15], long_row[15:]]).any()


def test_case_and_space_do_not_count_but_punctuation_does():
    index = ContainmentIndex(["Good  Film!", "good film ?", "", "  "])
    assert index.find(["a GOOD film ! indeed"]).tolist() == [True, False, False, False]


def test_scripts_without_spaces_are_compared_by_letter():
    assert ContainmentIndex(["好吃", "不好"]).find(["这个很好吃。"]).tolist() == [True, False]
