"""Words are what `str.split` makes of a text, whatever white space separates them."""

import random
import sys

import pyarrow as pa

from cloze.corpus.arrays import count_words

SPACES = [chr(point) for point in range(sys.maxunicode) if chr(point).isspace()]


def counts(texts: list[str]) -> list[int]:
    return count_words(pa.array(texts, pa.large_string())).tolist()


def test_every_kind_of_white_space_separates_words() -> None:
    texts = [f"a{space}b" for space in SPACES] + [f"{space}a{space}{space}" for space in SPACES]
    assert len(SPACES) == 29
    assert counts(texts) == [2] * 29 + [1] * 29


def test_every_other_character_is_part_of_a_word() -> None:
    points = [point for point in range(0x11000) if not 0xD800 <= point < 0xE000]
    texts = [f"a{chr(point)}b" for point in points]
    assert counts(texts) == [len(text.split()) for text in texts]


def test_texts_do_not_run_into_each_other() -> None:
    assert counts(["a b", "c", "", " ", "d ", "", "é", "\u3000", "ü x"]) == [
        2,
        1,
        0,
        0,
        1,
        0,
        1,
        0,
        2,
    ]
    assert counts([]) == []
    assert counts(["", ""]) == [0, 0]


def test_any_mixture_and_any_slice() -> None:
    draw = random.Random(0)
    alphabet = ["a", "é", "日", "👍", "\u2019", "\u3001", "\u200b", *SPACES]
    texts = ["".join(draw.choices(alphabet, k=draw.randrange(30))) for _ in range(500)]
    expected = [len(text.split()) for text in texts]
    assert counts(texts) == expected
    sliced = pa.array(texts, pa.large_string()).slice(100, 50)
    assert count_words(sliced).tolist() == expected[100:150]
