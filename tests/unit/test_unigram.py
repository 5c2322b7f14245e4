import pytest
from tokenizers import Tokenizer

from cloze.errors import ClozeError
from cloze.tokens.text_encoder import Splitting, splitting_of
from cloze.tokens.tokenizer import SPECIAL_TOKENS, special_ids, tokens_by_id, vocab_size
from cloze.tokens.tokenizer_training import Alphabet, text_normalizer, train_unigram
from tests.texts import MULTILINGUAL, random_text

PLAIN = text_normalizer(lowercase=False, strip_accents=False, unicode_normalization="none")
TEXTS = [MULTILINGUAL, *(random_text(seed, 50) for seed in range(5))]


def train(**changes: int) -> tuple[Tokenizer, Alphabet]:
    settings = {"vocab_size": 600, "limit_alphabet": 0, **changes}
    tokenizer, alphabet = train_unigram(lambda: TEXTS, PLAIN, **settings)
    tokenizer.encode_special_tokens = True
    return tokenizer, alphabet


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train()[0]


def test_special_tokens_come_first(tokenizer: Tokenizer) -> None:
    assert tokens_by_id(tokenizer)[:5] == list(SPECIAL_TOKENS)
    assert special_ids(tokenizer).all == {0, 1, 2, 3, 4}
    assert 590 < vocab_size(tokenizer) <= 600
    assert len(set(tokens_by_id(tokenizer))) == vocab_size(tokenizer)


def test_every_line_decodes_to_itself(tokenizer: Tokenizer) -> None:
    for text in [*TEXTS, *(random_text(seed, 20) for seed in range(100, 105))]:
        for line in [*text.split("\n"), "tab\tand\nline end, two  spaces "]:
            ids = tokenizer.encode(line, add_special_tokens=False).ids
            assert special_ids(tokenizer).all.isdisjoint(ids)
            assert tokenizer.decode(ids) == line.removeprefix(" ")


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_a_text_that_spells_a_special_token_is_told_in_pieces(
    tokenizer: Tokenizer, token: str
) -> None:
    for text in (token, f"a{token}b", f"{token * 3} the"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert special_ids(tokenizer).all.isdisjoint(ids)
        assert tokenizer.decode(ids) == text


def test_a_limited_alphabet_leaves_rare_characters_unknown() -> None:
    tokenizer, alphabet = train(limit_alphabet=60)
    vocab = "".join(tokens_by_id(tokenizer))
    assert not set(alphabet.dropped) & set(vocab) - set("".join(SPECIAL_TOKENS))
    unknown = next(c for c in alphabet.dropped if c.isalpha() and not c.isascii())
    tokens = tokenizer.encode(f"a {unknown}", add_special_tokens=False).tokens
    assert tokens[-2:] == ["▁", unknown]
    assert tokenizer.encode(unknown, add_special_tokens=False).ids[-1] == 1


def test_the_fast_encoder_cuts_before_spaces(tokenizer: Tokenizer) -> None:
    assert splitting_of(tokenizer) is Splitting.BEFORE_SPACES


def test_a_vocabulary_too_small() -> None:
    with pytest.raises(ClozeError, match=r"vocab_size of 50 is too small: .* characters"):
        train(vocab_size=50)


def test_the_smallest_vocabulary_has_every_character() -> None:
    with pytest.raises(ClozeError, match=r"need (\d+)") as error:
        train(vocab_size=50)
    needed = int(str(error.value).split("need ")[1].split(";")[0])
    tokenizer, alphabet = train(vocab_size=needed)
    assert vocab_size(tokenizer) <= needed
    assert set(alphabet.characters) <= set(tokens_by_id(tokenizer))


@pytest.mark.parametrize("texts", [[], [""], [" \n\u3000\t"]])
def test_empty_corpus(texts: list[str]) -> None:
    with pytest.raises(ClozeError, match="the corpus is empty"):
        train_unigram(lambda: texts, PLAIN, vocab_size=100, limit_alphabet=0)


def test_no_lone_space_stands_beside_a_mask() -> None:
    tokenizer, _ = train()
    tokenizer.encode_special_tokens = False
    mask, space = tokenizer.token_to_id("[MASK]"), tokenizer.token_to_id("▁")
    ids = tokenizer.encode(
        "The film is [MASK]. It is (a) [MASK], too", add_special_tokens=False
    ).ids
    places = [place for place, token in enumerate(ids) if token == mask]
    assert len(places) == 2
    assert all(space not in (ids[place - 1], ids[place + 1]) for place in places)
