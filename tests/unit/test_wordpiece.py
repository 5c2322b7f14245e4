import random
from collections import Counter

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
from cloze.tokens.tokenizer_training import Alphabet, train_wordpiece
from tests.texts import MULTILINGUAL, random_text, without_space

CASED = bert_normalizer(lowercase=False, strip_accents=False, clean_text=False)
TEXTS = [MULTILINGUAL, *(random_text(seed, 50) for seed in range(10))]


def train(**changes: int) -> tuple[Tokenizer, Alphabet]:
    settings = {"vocab_size": 900, "min_frequency": 2, "limit_alphabet": 0, **changes}
    return train_wordpiece(lambda: TEXTS, CASED, **settings)


def test_special_tokens_come_first() -> None:
    tokenizer, _ = train()
    assert tokens_by_id(tokenizer)[:5] == list(SPECIAL_TOKENS)
    assert special_ids(tokenizer).all == {0, 1, 2, 3, 4}
    assert vocab_size(tokenizer) == 900


def test_every_text_decodes_to_itself_up_to_white_space() -> None:
    tokenizer, _ = train()
    tokenizer.encode_special_tokens = True
    for text in [*TEXTS, *(random_text(seed, 20) for seed in range(100, 110))]:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert special_ids(tokenizer).all.isdisjoint(ids)
        assert without_space(tokenizer.decode(ids)) == without_space(text)


def test_a_word_of_known_characters_is_never_unknown() -> None:
    tokenizer, alphabet = train()
    rng = random.Random(0)
    for size in [1, 2, 5, 20, 200, 1000]:
        word = "".join(rng.choices(alphabet.of_words, k=size))
        tokens = tokenizer.encode(word, add_special_tokens=False).tokens
        assert "[UNK]" not in tokens
        assert "".join(token.removeprefix("##") for token in tokens) == word


def test_frequent_words_become_tokens() -> None:
    tokenizer, _ = train()
    words = Counter(
        word for text in TEXTS for word in text.split() if word.isascii() and word.isalpha()
    )
    (word, _), *_ = words.most_common(1)
    assert tokenizer.encode(word, add_special_tokens=False).tokens == [word]


def test_a_limited_alphabet_leaves_rare_characters_unknown() -> None:
    tokenizer, alphabet = train(limit_alphabet=60)
    assert len(alphabet.characters) == 60
    vocab = set(tokens_by_id(tokenizer))
    assert vocab.isdisjoint(alphabet.dropped)
    assert vocab.isdisjoint("##" + character for character in alphabet.dropped)
    assert tokenizer.encode(alphabet.dropped[0], add_special_tokens=False).tokens == ["[UNK]"]


def test_a_vocabulary_too_small_for_the_alphabet() -> None:
    message = (
        r"vocab_size of 50 is too small: the special tokens and the \d+ characters .* need \d+"
    )
    with pytest.raises(ClozeError, match=message):
        train(vocab_size=50)


@pytest.mark.parametrize("texts", [[], [""], [" \n\u3000\t"]])
def test_empty_corpus(texts: list[str]) -> None:
    with pytest.raises(ClozeError, match="the corpus is empty"):
        train_wordpiece(lambda: texts, CASED, vocab_size=100, min_frequency=1, limit_alphabet=0)


def test_the_fast_encoder_cuts_at_punctuation() -> None:
    assert splitting_of(train()[0]) is Splitting.AT_PUNCTUATION
