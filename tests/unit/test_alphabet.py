import pytest
from tokenizers import normalizers, pre_tokenizers

from cloze.errors import ClozeError
from cloze.tokens.tokenizer import bert_normalizer
from cloze.tokens.tokenizer_training import find_alphabet, in_unicode_form, text_normalizer
from tests.texts import MULTILINGUAL, random_text

CASED = bert_normalizer(lowercase=False, strip_accents=False, clean_text=False)
UNCASED = bert_normalizer(lowercase=True, strip_accents=True, clean_text=False)
NORMALIZERS = {
    "cased": CASED,
    "uncased": UNCASED,
    "nfkc": in_unicode_form("nfkc", UNCASED),
    "nfc": text_normalizer(lowercase=True, strip_accents=False, unicode_normalization="nfc"),
    "plain": text_normalizer(lowercase=False, strip_accents=True, unicode_normalization="none"),
}
TEXTS = [MULTILINGUAL, *(random_text(seed, 50) for seed in range(10))]


@pytest.mark.parametrize("normalizer", NORMALIZERS.values(), ids=NORMALIZERS)
def test_alphabet_is_what_the_pre_tokenizer_leaves(normalizer: normalizers.Normalizer) -> None:
    pieces = [
        piece
        for text in TEXTS
        for piece, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(
            normalizer.normalize_str(text)
        )
    ]
    alphabet = find_alphabet(TEXTS, normalizer, 0)
    assert alphabet.characters == sorted(set("".join(pieces)))
    assert {c for piece in pieces for c in piece[1:]} <= set(alphabet.of_words)
    assert set(alphabet.of_words).isdisjoint(".,!?#[]。，")
    assert alphabet.dropped == []


def test_the_most_frequent_characters_are_kept_and_ties_go_by_code_point() -> None:
    alphabet = find_alphabet(["bbb aaa dc xc\u0301", "y"], CASED, 4)
    assert alphabet.characters == ["a", "b", "c", "d"]
    assert alphabet.dropped == ["x", "y", "\u0301"]
    assert alphabet.of_words == ["a", "b", "c", "d"]


def test_han_are_words_of_their_own_for_bert_only() -> None:
    assert "我" not in find_alphabet(TEXTS, CASED, 0).of_words
    assert "我" in find_alphabet(TEXTS, NORMALIZERS["plain"], 0).of_words


def test_counts_are_those_of_the_normalised_text() -> None:
    # U+00E9 and a mark of its own: two marks, one letter e of each case, three x.
    texts = ["\u00e9 xe\u0301x", "E X"]
    assert find_alphabet(texts, UNCASED, 2).characters == ["e", "x"]
    composing = in_unicode_form("nfc", CASED)
    assert find_alphabet(texts, composing, 2).characters == ["x", "\u00e9"]


@pytest.mark.parametrize("texts", [[], [""], [" \n\u3000\t"]])
def test_empty_corpus(texts: list[str]) -> None:
    with pytest.raises(ClozeError, match="the corpus is empty"):
        find_alphabet(texts, CASED, 0)


def test_dropped_characters_become_spaces() -> None:
    alphabet = find_alphabet(["aaa bbb c"], CASED, 2)
    assert list(alphabet.without_dropped(["abcb c"], CASED)) == ["ab b  "]
