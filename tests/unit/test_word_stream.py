import unicodedata

import numpy as np
import pytest

from cloze.corpus import word_stream as module
from cloze.corpus.word_stream import (
    WordStream,
    compact_word_stream,
    pieces,
    same_words,
    word_stream,
)
from cloze.errors import ClozeError
from tests.texts import MULTILINGUAL, random_text

UNSPACED_BLOCKS = (
    ("\u0e00", "\u0eff"), ("\u1000", "\u109f"), ("\u1780", "\u17ff"), ("\u3040", "\u30ff"),
    ("\u3400", "\u4dbf"), ("\u4e00", "\u9fff"), ("\uf900", "\ufaff"), ("\U00020000", "\U0003ffff"),
)  # fmt: skip


def words_of(text: str) -> list[str]:
    """The words of a text, one character at a time."""
    words: list[str] = []
    joined = False
    for character in text.casefold():
        in_word = character == "_" or unicodedata.category(character)[0] in "LNM"
        unspaced = any(first <= character <= last for first, last in UNSPACED_BLOCKS)
        if in_word and joined and not unspaced:
            words[-1] += character
        elif in_word:
            words.append(character)
        joined = in_word and not unspaced
    return words


def words_in(stream: WordStream, text: int) -> list[str]:
    first, end = stream.text_offsets[text : text + 2]
    return [
        "".join(map(chr, stream.codes[stream.starts[word] : stream.ends[word]]))
        for word in range(first, end)
    ]


@pytest.mark.parametrize("text", [*MULTILINGUAL.split("\n"), "", " ", "a", "A_b 1st", "x" * 300])
def test_words_are_runs_of_letters_with_case_folded(text: str) -> None:
    without_contractions = text.replace("n't", "nt")
    assert words_in(word_stream([without_contractions]), 0) == words_of(without_contractions)


def test_each_mark_is_a_word_where_punctuation_counts() -> None:
    stream = word_stream(["Don't!  (x_1), 50% 👍", "..."], punctuation=True)
    expected = ["do", "n", "'", "t", "!", "(", "x_1", ")", ",", "50", "%", "👍"]
    assert words_in(stream, 0) == expected
    assert words_in(stream, 1) == [".", ".", "."]
    assert words_in(word_stream(["Don't!  (x_1), 50% 👍"]), 0) == ["do", "n", "t", "x_1", "50"]


def test_every_character_is_what_its_category_says() -> None:
    # One that folds to several sends the whole batch another way, so both ways are tried.
    characters = [chr(code) for code in range(0x20010) if not 0xD800 <= code < 0xE000]
    single = [character for character in characters if len(character.casefold()) == 1]
    assert len(characters) - len(single) > 100
    for texts in (single, characters):
        stream = word_stream(texts)
        words = [
            "".join(map(chr, stream.codes[slice(*bounds)]))
            for bounds in zip(stream.starts, stream.ends, strict=True)
        ]
        expected = [words_of(text) for text in texts]
        assert stream.lengths.tolist() == list(map(len, expected))
        assert words == [word for found in expected for word in found]


def test_texts_keep_to_themselves() -> None:
    texts = ["one two", "", "three", "...", "four five six"]
    stream = word_stream(texts)
    assert stream.lengths.tolist() == [2, 0, 1, 0, 3]
    assert [words_in(stream, text) for text in range(5)] == [words_of(text) for text in texts]
    assert stream.text_of(np.arange(6)).tolist() == [0, 0, 2, 4, 4, 4]


@pytest.mark.parametrize(
    ("running", "tokens"),
    [
        ("I don't know.", "i do n't know ."),
        ("It isn’t", "it is n't"),
        ("CAN'T stop, won't stop", "ca n't stop , wo n't stop"),
        ("it's the actors' film", "it 's the actors ' film"),
        ("don'tcha n't 'n't n'", "don ' tcha n't ' n't n '"),
    ],
)
def test_running_text_and_treebank_tokens_have_the_same_words(running: str, tokens: str) -> None:
    assert words_in(word_stream([running]), 0) == words_in(word_stream([tokens]), 0)


def test_equal_words_have_equal_keys_and_others_do_not() -> None:
    texts = [random_text(seed, 30) for seed in range(4)]
    stream = word_stream([*texts, texts[2].upper(), " ".join("abcdefgh"), "ab ba abc acb"])
    words = [word for text in range(7) for word in words_in(stream, text)]
    keys = dict(zip(words, stream.keys.tolist(), strict=True))
    assert [keys[word] for word in words] == stream.keys.tolist()
    assert len(set(keys.values())) == len(set(words)) > 100


def test_batches_give_the_stream_of_all_texts() -> None:
    texts = ["plain words", "naïve", "", "你好 𠮷", "last"]
    whole, parts = word_stream(texts), compact_word_stream([texts[:1], texts[1:4], texts[4:], []])
    assert parts.keys.tolist() == whole.keys.tolist()
    assert parts.text_offsets.tolist() == whole.text_offsets.tolist()
    assert [words_in(parts, text) for text in range(5)] == [words_of(text) for text in texts]
    assert compact_word_stream([["plain words"]]).codes.dtype == np.uint8
    assert compact_word_stream([]).lengths.tolist() == []


def test_a_stream_of_too_many_characters_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_CHARACTERS", 10)
    with pytest.raises(ClozeError, match="more than 10 characters; look for fewer"):
        compact_word_stream([["five "], ["letters"]])


def test_same_words_looks_at_characters_where_keys_agree() -> None:
    left, right = word_stream(["one two three"]), word_stream(["two three one twx"])
    lied = WordStream(right.codes, right.starts, right.ends, left.keys[[1, 2, 0, 1]],
                      right.text_offsets)  # fmt: skip
    first, second, counts = np.array([1, 0, 0, 0]), np.array([0, 2, 2, 1]), np.array([2, 1, 2, 1])
    assert same_words(left, first, lied, second, counts).tolist() == [True, True, False, False]
    assert same_words(left, first[:0], lied, second[:0], counts[:0]).tolist() == []


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
@pytest.mark.parametrize("overlap", [0, 1, 5, 60])
def test_pieces_repeat_the_words_before_the_cut(size: int, overlap: int) -> None:
    text = "  one two\n\n\tthree  four five" + " six   seven" * 20 + "\n"
    given = list(pieces(text, size, overlap))
    words = text.split()
    position = 0
    for piece in given:
        position -= min(position, overlap)
        part = piece.split()
        assert words[position : position + len(part)] == part
        position += len(part)
    assert position == len(words)
    assert max(map(len, given)) <= size + 12 * (overlap + 2)


def test_a_text_without_white_space_is_one_piece() -> None:
    assert list(pieces("x" * 100, 10, 3)) == ["x" * 100]
    assert list(pieces("", 10, 3)) == []
