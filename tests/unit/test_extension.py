import json
import random
from collections import Counter

import pytest
from tokenizers import AddedToken, Tokenizer, models

from cloze.errors import ClozeError
from cloze.tokens.extension import count_words, extend, find_extension
from cloze.tokens.tokenizer import bert_normalizer, special_ids, vocab_size
from cloze.tokens.tokenizer_training import (
    text_normalizer,
    train_bpe,
    train_byte_level_bpe,
    train_unigram,
    train_wordpiece,
)

CASED = bert_normalizer(lowercase=False, strip_accents=False, clean_text=False)
COMPOSED = text_normalizer(lowercase=False, strip_accents=False, unicode_normalization="none")
GENERAL = ["the cat sat on the mat and the dog lay by the door of the old house"] * 20
STEMS = ["hydro", "chlor", "phosph", "carb", "sulf", "nitr"]
ENDS = ["ate", "ide", "ic", "ous"]


def domain(seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choice(STEMS) + rng.choice(ENDS) for _ in range(12)) for _ in range(60)]


def train(kind: str) -> Tokenizer:
    size = {"min_frequency": 2, "vocab_size": 300}
    texts = [*GENERAL, "abcdefghijklmnopqrstuvwxyz."]
    tokenizers = {
        "wordpiece": lambda: train_wordpiece(lambda: texts, CASED, limit_alphabet=0, **size)[0],
        "bpe": lambda: train_bpe(lambda: texts, CASED, limit_alphabet=0, **size)[0],
        "byte-level-bpe": lambda: train_byte_level_bpe(lambda: texts, COMPOSED, **size),
        "unigram": lambda: train_unigram(lambda: texts, COMPOSED, vocab_size=120, limit_alphabet=0)[
            0
        ],
    }
    tokenizer = tokenizers[kind]()
    tokenizer.encode_special_tokens = True
    return tokenizer


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def extended_by(tokenizer: Tokenizer, number: int) -> tuple[Tokenizer, dict[str, tuple[int, ...]]]:
    words = count_words(tokenizer, domain(0))
    extension = find_extension(tokenizer, words, number)
    total = sum(len(word) * count for word, count in words.items())
    return extend(tokenizer, extension, total), extension.pieces


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "byte-level-bpe", "unigram"])
def test_new_pieces_shorten_the_domain_and_nothing_else_changes(kind: str) -> None:
    tokenizer = train(kind)
    extended, pieces = extended_by(tokenizer, 20)
    before, after = tokenizer.get_vocab(), extended.get_vocab()
    assert {name: after[name] for name in before} == before
    assert [after[name] for name in pieces] == [*range(vocab_size(tokenizer), len(after))]
    assert len(pieces) == 20
    unseen = domain(1)
    tokens = [sum(len(ids(each, text)) for text in unseen) for each in (tokenizer, extended)]
    assert tokens[1] < 0.6 * tokens[0]
    bare = [name.strip("▁Ġ#").removesuffix("</w>") for name in pieces]
    untouched = [word for word in GENERAL[0].split() if not any(piece in word for piece in bare)]
    assert len(untouched) > 8
    for word in untouched:
        assert ids(extended, word) == ids(tokenizer, word)
    for text in unseen:
        assert extended.decode(ids(extended, text)) == tokenizer.decode(ids(tokenizer, text))


@pytest.mark.parametrize("kind", ["wordpiece", "byte-level-bpe", "unigram"])
def test_a_piece_is_made_of_the_old_pieces_that_stood_there(kind: str) -> None:
    tokenizer = train(kind)
    extended, pieces = extended_by(tokenizer, 20)
    names = {number: name for name, number in tokenizer.get_vocab().items()}
    for name, parts in pieces.items():
        first, *rest = (names[part] for part in parts)
        assert first + "".join(part.removeprefix("##") for part in rest) == name
    # What a word of the domain is told in is the same, whether in old pieces or in new ones.
    number = {extended.token_to_id(name): parts for name, parts in pieces.items()}
    text = "chlorate sulfide"
    told = [part for found in ids(extended, text) for part in number.get(found, (found,))]
    assert told == ids(tokenizer, text)


def test_the_pieces_are_the_same_every_time_and_used() -> None:
    tokenizer = train("wordpiece")
    extended, pieces = extended_by(tokenizer, 20)
    assert extended_by(tokenizer, 20)[1] == pieces
    used = Counter(found for text in domain(0) for found in ids(extended, text))
    assert all(used[extended.token_to_id(name)] >= 10 for name in pieces)


def test_a_text_that_repeats_little_gives_fewer_pieces() -> None:
    words = count_words(train("wordpiece"), ["zebra quagga okapi"])
    assert find_extension(train("wordpiece"), words, 5).pieces == {}


@pytest.mark.parametrize("kind", ["wordpiece", "byte-level-bpe"])
def test_tokens_that_were_added_keep_their_ids(kind: str) -> None:
    tokenizer = train(kind)
    tokenizer.add_special_tokens([AddedToken("<extra>", special=True)])
    tokenizer.add_tokens(["NaCl"])
    size = vocab_size(tokenizer)
    extended, pieces = extended_by(tokenizer, 5)
    assert extended.token_to_id("<extra>") == size - 2
    assert ids(extended, "NaCl")[-1] == size - 1
    assert sorted(extended.token_to_id(name) for name in pieces) == [*range(size, size + 5)]
    assert special_ids(extended) == special_ids(tokenizer)
    assert "<extra>" not in extended.encode("<extra>", add_special_tokens=False).tokens
    again = Tokenizer.from_str(extended.to_str())
    assert json.loads(again.to_str()) == json.loads(extended.to_str())


def test_unigram_with_tokens_after_its_pieces_cannot_be_extended() -> None:
    tokenizer = train("unigram")
    tokenizer.add_tokens(["NaCl"])
    with pytest.raises(ClozeError, match="tokens were added after the last of them"):
        extended_by(tokenizer, 5)


def test_a_table_of_whole_words_cannot_be_extended() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    with pytest.raises(ClozeError, match="a WordLevel, to which no pieces can be added; WordPiece"):
        find_extension(tokenizer, Counter(), 5)
