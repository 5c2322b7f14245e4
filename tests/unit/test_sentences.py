import itertools
from pathlib import Path

import numpy as np
import pytest
import sentencex

from cloze.corpus.document_reader import DocumentBatch
from cloze.tokens import samples
from cloze.tokens.samples import one_sentence_a_line, split_sentences
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


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "i went home. it was late. we slept."),
        ("en", "i went home? it was late! we slept."),
        ("en", '"so?" he said. then (at last) he left.'),
        ("de", "gingen wir heim? es war spät! wir schliefen."),
        ("uk", "Я пішов. потім спав. все."),
        ("el", "το σπίτι. ήταν αργά. όχι."),
        ("hy", "ես տուն գնացի։ ուշ էր։ մենք քնեցինք։"),
        # Letters that have capitals, but none that begins a sentence, and letters without any.
        ("ka", "მე სახლში წავედი. გვიანი იყო. ჩვენ დავიძინეთ."),
        ("ka", "ერთი! ორი? სამი."),
        ("ar", "مرحبا. كيف الحال؟ بخير."),
        ("hi", "मैं घर गया। देर हो गई। हम सो गए।"),
    ],
)
def test_sentences_without_capitals_are_sentences(language: str, text: str) -> None:
    sentences = split_sentences(text, language)
    assert len(sentences) == 3
    assert "".join(sentences) == text


def test_one_georgian_word_in_capitals_changes_nothing() -> None:
    assert len(split_sentences("Ერთი მოვიდა. ორი წავიდა. სამი დარჩა.", "ka")) == 3


def split_before(text: str) -> list[str]:
    """How English was split when case always counted."""
    sentences: list[str] = []
    for paragraph in filter(str.strip, text.split("\n")):
        joined: list[str] = []
        space = ""
        for piece in sentencex.segment("en", paragraph):
            body, lead = piece.rstrip(), space
            space = piece[len(body) :] if body else space + piece
            if not body:
                continue
            if joined and samples._continues(joined[-1], lead + body, has_capitals=True):
                joined[-1] += lead + body
            else:
                joined.append(lead + body)
        sentences += joined
    return sentences


def test_the_sample_is_split_as_it_always_was() -> None:
    corpus = Path(__file__).parents[2] / "resources" / "sample" / "corpus.txt"
    documents = corpus.read_text("utf-8").split("\n\n")
    assert len(documents) > 1000
    for document in documents:
        assert split_sentences(document, "en") == split_before(document)


def test_long_paragraphs_are_split_as_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(
        f"Dr. Smith saw film {n} (twice!). It took approx. three hours." for n in range(99)
    )
    expected = split_sentences(text, "en")
    assert len(expected) == 198
    monkeypatch.setattr(samples, "_STRETCH_CHARACTERS", 300)
    assert split_sentences(text, "en") == expected


@pytest.mark.parametrize(
    "text", ["it was so. " * 30, "A. X " * 60, "no end " * 50, "a" * 300, f"x{' ' * 300}y. Z."]
)
def test_long_paragraphs_lose_nothing(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_STRETCH_CHARACTERS", 50)
    assert "".join(split_sentences(text, "en")) == text.rstrip()


@pytest.mark.parametrize("text", ["A. X " * 60, "no end " * 50, f"{'a' * 100} {'b' * 100} c"])
def test_what_has_no_end_is_cut_at_spaces(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_LONGEST", 40)
    sentences = split_sentences(text, "en")
    assert "".join(sentences) == text.rstrip()
    assert len(sentences) > 2
    assert all(sentence.startswith(" ") for sentence in sentences[1:])
    assert all(len(sentence) < 50 or " " not in sentence[1:] for sentence in sentences)


def test_sentences_are_put_on_lines_of_their_own() -> None:
    texts = ["One. Two.\n\n Three", "", "no capitals. none."]
    data = [text.encode() for text in texts]
    offsets = np.array([0, *itertools.accumulate(map(len, data))])
    documents = DocumentBatch(np.arange(3), np.frombuffer(b"".join(data), np.uint8), offsets)
    lines = one_sentence_a_line(documents, "en")
    pieces = [
        lines.text[first:last].tobytes().decode()
        for first, last in itertools.pairwise(lines.offsets.tolist())
    ]
    assert pieces == ["One.\n Two.\n Three", "", "no capitals.\n none."]


def test_time_is_linear_in_the_length_of_a_line() -> None:
    calls = 0
    segment = sentencex.segment

    def counted(language: str, text: str) -> list[str]:
        nonlocal calls
        calls += len(text)
        return list(segment(language, text))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentencex, "segment", counted)
        text = "X" * (5 * samples._STRETCH_CHARACTERS)
        assert split_sentences(text, "en") == [text]
    # Doubled stretches: at most twice the text and once more the rest.
    assert calls <= 3 * len(text)
