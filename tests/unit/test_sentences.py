import pytest

from cloze.tokens.samples import split_sentences
from tests.texts import MULTILINGUAL, random_text, without_space


def test_abbreviations_end_no_sentence() -> None:
    assert split_sentences("Dr. Smith went home. He slept.", "en") == [
        "Dr. Smith went home.",
        " He slept.",
    ]


def test_a_paragraph_ends_a_sentence() -> None:
    assert split_sentences("A title\nand a line\n\n \nlast", "en") == [
        "A title",
        "and a line",
        "last",
    ]


def test_scripts_without_spaces() -> None:
    assert split_sentences("你好。我很好！你呢？", "zh") == ["你好。", "我很好！", "你呢？"]


@pytest.mark.parametrize("text", [MULTILINGUAL, *(random_text(seed, 40) for seed in range(5))])
def test_no_character_is_lost(text: str) -> None:
    sentences = split_sentences(text, "en")
    assert without_space("".join(sentences)) == without_space(text)
    assert all(sentence.strip() and "\n" not in sentence for sentence in sentences)


def test_nothing_from_white_space() -> None:
    assert split_sentences(" \n\t\n", "en") == []


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "See example.Com for details."),
        ("en", "The group Wham! was popular."),
        ("pt", "— Que horror! exclamou ela."),
        ("pt", "Disse a D. Maria que sim."),
    ],
)
def test_what_only_looks_like_an_end_is_none(language: str, text: str) -> None:
    assert split_sentences(text, language) == [text]


def test_a_roman_numeral_may_end_a_sentence() -> None:
    assert len(split_sentences("He praised Charles V. Later he died.", "en")) == 2
