"""The hash table of words tells every two words apart."""

import numpy as np
import pytest

from cloze.tokens.word_table import MAX_WORD_BYTES, WordTable, distinct, words_of


def _words(texts: list[bytes]):
    lengths = np.array(list(map(len, texts)), np.int64)
    buffer = np.frombuffer(b"".join(texts) + bytes(MAX_WORD_BYTES), np.uint8)
    return words_of(buffer, np.cumsum(lengths) - lengths, lengths)


def _random_texts(count: int, seed: int) -> list[bytes]:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, MAX_WORD_BYTES + 1, count)
    # Few letters, among them the zero byte, so that prefixes and near-twins abound.
    return [bytes(generator.integers(0, 3, length, dtype=np.uint8)) for length in lengths]


def test_distinct_finds_each_text_once():
    texts = _random_texts(5000, seed=1)
    first, inverse = distinct(_words(texts))
    assert len(first) == len(set(texts))
    assert [texts[first[place]] for place in inverse] == texts
    assert first.tolist() == sorted(first.tolist())


def test_numbers_are_those_of_insertion_and_unknown_words_have_none():
    texts = sorted(set(_random_texts(3000, seed=2)))
    table = WordTable(capacity=4096)
    table.insert(_words(texts[:1000]))
    table.insert(_words(texts[1000:2000]))
    found = table.find(_words(texts))
    assert found[:2000].tolist() == list(range(2000))
    assert set(found[2000:].tolist()) == {-1}
    assert len(table) == 2000


def test_equal_hashes_do_not_make_equal_words():
    texts = sorted(set(_random_texts(150, seed=3)))
    words = _words(texts)
    words.hashes[:] = 7
    first, inverse = distinct(words)
    assert inverse.tolist() == list(range(len(texts)))
    assert first.tolist() == inverse.tolist()


def test_a_full_table_refuses_and_a_cleared_one_is_empty():
    table = WordTable(capacity=2)
    with pytest.raises(ValueError, match="3 more words than the table's 2"):
        table.insert(_words([b"a", b"b", b"c"]))
    table.insert(_words([b"a", b"b"]))
    table.clear()
    assert table.find(_words([b"a"])).tolist() == [-1]
