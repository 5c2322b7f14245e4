import random

import pytest
from tokenizers import Tokenizer

from cloze.errors import ClozeError
from cloze.tokens.text_encoder import Splitting, splitting_of
from cloze.tokens.tokenizer import (
    SPECIAL_TOKENS,
    bert_normalizer,
    special_ids,
    tokens_by_id,
    vocab_size,
)
from cloze.tokens.tokenizer_training import (
    Alphabet,
    in_unicode_form,
    text_normalizer,
    train_bpe,
    train_byte_level_bpe,
)
from tests.texts import MULTILINGUAL, random_text, without_space

CASED = bert_normalizer(lowercase=False, strip_accents=False, clean_text=False)
PLAIN = text_normalizer(lowercase=False, strip_accents=False, unicode_normalization="none")
TEXTS = [MULTILINGUAL, *(random_text(seed, 50) for seed in range(10))]
UNSEEN = [random_text(seed, 20) for seed in range(100, 110)]


def train(**changes: int) -> tuple[Tokenizer, Alphabet]:
    settings = {"vocab_size": 1000, "min_frequency": 2, "limit_alphabet": 0, **changes}
    tokenizer, alphabet = train_bpe(lambda: TEXTS, CASED, **settings)
    tokenizer.encode_special_tokens = True
    return tokenizer, alphabet


def train_bytes(vocab_size: int = 900) -> Tokenizer:
    tokenizer = train_byte_level_bpe(lambda: TEXTS, PLAIN, vocab_size=vocab_size, min_frequency=2)
    tokenizer.encode_special_tokens = True
    return tokenizer


def test_special_tokens_come_first_and_no_other_is_special() -> None:
    for tokenizer, size in ((train()[0], 1000), (train_bytes(), 900)):
        assert tokens_by_id(tokenizer)[:5] == list(SPECIAL_TOKENS)
        assert special_ids(tokenizer).all == {0, 1, 2, 3, 4}
        assert vocab_size(tokenizer) == size


def test_every_text_decodes_to_itself_up_to_white_space() -> None:
    tokenizer, _ = train()
    for text in [*TEXTS, *UNSEEN]:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert special_ids(tokenizer).all.isdisjoint(ids)
        assert without_space(tokenizer.decode(ids)) == without_space(text)


def test_bytes_decode_exactly() -> None:
    tokenizer = train_bytes()
    for text in [*TEXTS, *UNSEEN, "  two\u00a0 \tspaces\r\n\x00 ", "\U0010ffff"]:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert special_ids(tokenizer).all.isdisjoint(ids)
        assert tokenizer.decode(ids) == text


def test_a_word_of_known_characters_is_never_unknown() -> None:
    tokenizer, alphabet = train()
    rng = random.Random(0)
    for size in [1, 2, 5, 20, 200]:
        word = "".join(rng.choices(alphabet.of_words, k=size))
        tokens = tokenizer.encode(word, add_special_tokens=False).tokens
        assert "[UNK]" not in tokens
        assert "".join(tokens) == word + "</w>"


def test_only_the_unknown_character_of_a_word_is_lost() -> None:
    tokenizer, alphabet = train(limit_alphabet=60)
    assert len(alphabet.characters) == 60
    unknown = next(c for c in alphabet.dropped if "\u0400" < c < "\u0500")
    tokens = tokenizer.encode(f"a{unknown}a", add_special_tokens=False).tokens
    assert tokens == ["a", "[UNK]", "a</w>"]


def test_merges_follow_frequency() -> None:
    # Of all pairs `ab` is the most frequent, then its end with `c`; `xy` occurs once.
    tokenizer, _ = train_bpe(
        lambda: ["abc abc abc ab xy"], CASED, vocab_size=100, min_frequency=2, limit_alphabet=0
    )
    assert tokenizer.encode("abc ab xy", add_special_tokens=False).tokens == [
        "abc</w>",
        "a",
        "b</w>",
        "x",
        "y</w>",
    ]


def test_no_token_spans_lines() -> None:
    tokenizer = train_byte_level_bpe(
        lambda: ["a b\n\na b\n\n"] * 50, PLAIN, vocab_size=300, min_frequency=2
    )
    assert {token for token in tokens_by_id(tokenizer) if "Ċ" in token} == {"Ċ"}
    assert "Ġb" in tokens_by_id(tokenizer)


def test_where_the_fast_encoder_cuts() -> None:
    assert splitting_of(train()[0]) is Splitting.AT_PUNCTUATION
    assert splitting_of(train_bytes()) is Splitting.BEFORE_SPACES
    composing, _ = train_bpe(
        lambda: TEXTS,
        in_unicode_form("nfc", CASED),
        vocab_size=1000,
        min_frequency=2,
        limit_alphabet=0,
    )
    assert splitting_of(composing) is Splitting.AT_WHITE_SPACE


def test_a_vocabulary_too_small() -> None:
    with pytest.raises(ClozeError, match=r"vocab_size of 50 is too small: .* characters"):
        train(vocab_size=50)
    with pytest.raises(ClozeError, match=r"vocab_size of 260 is too small: .* 256 bytes need 261"):
        train_bytes(260)


@pytest.mark.parametrize("texts", [[], [""], [" \n\u3000\t"]])
def test_empty_corpus(texts: list[str]) -> None:
    with pytest.raises(ClozeError, match="the corpus is empty"):
        train_bpe(lambda: texts, CASED, vocab_size=100, min_frequency=1, limit_alphabet=0)
    with pytest.raises(ClozeError, match="the corpus is empty"):
        train_byte_level_bpe(lambda: texts, PLAIN, vocab_size=300, min_frequency=1)


def test_the_space_before_a_mask_is_part_of_it_as_in_training() -> None:
    tokenizer = train_bytes()
    before, after = (
        tokenizer.encode(text, add_special_tokens=False).ids for text in ("The film", " and more.")
    )
    tokenizer.encode_special_tokens = False
    masked = tokenizer.encode("The film [MASK] and more.", add_special_tokens=False)
    assert masked.ids == [*before, tokenizer.token_to_id("[MASK]"), *after]
