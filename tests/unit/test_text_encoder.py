"""The word-by-word encoder gives the ids of `tokenizers`, on anything."""

import random

import numpy as np
import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from cloze.tokens import text_encoder
from cloze.tokens.text_encoder import Splitting, TextEncoder, splitting_of
from cloze.tokens.tokenizer import SPECIAL_TOKENS, bert_normalizer, bert_tokenizer

ALPHABET = (
    list("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789")
    + list(".,;:!?-_'\"#@$%&*()[]{}<>/\\|~`^+=")
    + list(" \t\n\r\x0b\x0c\x00\x01\x1c\x1f\x7f\x85\xa0\xad")
    + list("áéíõçñüßØøİıſΣσςЖжѐאبहกあ漢字龍한")
    + ["\u0301", "\u0308", "\u0338", "\u0345", "\u200b", "\u200d", "\ufe0f", "\ufeff", "\u2028"]
    + ["\u2003", "\u3000", "\u1680", "\u202f", "\u205f", "\u2581", "\u0120", "\u010a", "\u00a8"]
    + ["😀", "👩‍🔬", "🇵🇹", "ﬁ", "Å", "Å", "가", "𝔘", "\U000e0001", "。", "「", "—", "…", "x" * 40]
    + ["don't", " 's", "[MASK]", "[CLS]", "##ing", "http://a.b/c?d=e", "  ", "\n\n", " \n ", "the "]
)
PLAIN = "The cats' meals (3 of them) weren't over-salted; prices: $1,234.50. " * 20


def _documents(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    texts = ["", " ", "\n", PLAIN, PLAIN.replace(" ", "\u00a0"), "x" * 5000, "é" * 300]
    for _ in range(count):
        kind = draw.random()
        symbols = ALPHABET if kind < 0.7 else ALPHABET[:42] + [" "] * 12
        texts.append("".join(draw.choices(symbols, k=draw.randrange(1, 120))))
    return texts


CORPUS = _documents(400, seed=1)


def _bert(lowercase: bool, strip_accents: bool, clean_text: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = bert_normalizer(
        lowercase=lowercase, strip_accents=strip_accents, clean_text=clean_text
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=list(SPECIAL_TOKENS))
    tokenizer.train_from_iterator(CORPUS, trainer)
    return bert_tokenizer(tokenizer.get_vocab(), tokenizer.normalizer, 100)


def _byte_level(add_prefix_space: bool, normalizer: normalizers.Normalizer | None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _unigram(prepend_scheme: str) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme)
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=list(SPECIAL_TOKENS), unk_token="[UNK]"
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _wordlevel(pre_tokenizer: pre_tokenizers.PreTokenizer) -> Tokenizer:
    tokenizer = _bert(True, True, True)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer


TOKENIZERS = {
    "uncased": (lambda: _bert(True, True, True), Splitting.AT_PUNCTUATION),
    "uncased, accents kept": (lambda: _bert(True, False, True), Splitting.AT_PUNCTUATION),
    "cased": (lambda: _bert(False, False, False), Splitting.AT_PUNCTUATION),
    "composing": (
        lambda: _wordlevel(pre_tokenizers.BertPreTokenizer()),
        Splitting.AT_WHITE_SPACE,
    ),
    "words": (lambda: _wordlevel(pre_tokenizers.Whitespace()), Splitting.AT_WHITE_SPACE),
    "white space": (
        lambda: _wordlevel(pre_tokenizers.WhitespaceSplit()),
        Splitting.AT_WHITE_SPACE,
    ),
    "byte-level": (lambda: _byte_level(False, None), Splitting.BEFORE_SPACES),
    "byte-level, prefix": (
        lambda: _byte_level(True, normalizers.NFC()),
        Splitting.BEFORE_SPACES,
    ),
    "unigram": (lambda: _unigram("always"), Splitting.BEFORE_SPACES),
    "unigram, first": (lambda: _unigram("first"), Splitting.BEFORE_SPACES),
    "unknown normalizer": (
        lambda: _byte_level(False, normalizers.Replace("a b", "c")),
        Splitting.AT_LINES,
    ),
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer_and_splitting(request: pytest.FixtureRequest) -> tuple[Tokenizer, Splitting]:
    """Return a tokenizer, set as `load_tokenizer` sets it, and where its texts may be cut."""
    make, splitting = TOKENIZERS[request.param]
    tokenizer = make()
    tokenizer.encode_special_tokens = True
    return tokenizer, splitting


def _encode(encoder: TextEncoder, documents: list[str]):
    contents = [document.encode() for document in documents]
    offsets = np.cumsum([0, *map(len, contents)])
    return encoder.encode(np.frombuffer(b"".join(contents), np.uint8), offsets)


def _expected(tokenizer: Tokenizer, documents: list[str]):
    """What the library gives, line by line: ids, word starts, line starts, document lengths."""
    ids, words, lines, lengths = [], [], [], []
    for document in documents:
        before = len(ids)
        for line in document.split("\n"):
            if not line.strip(" \t\r"):
                continue
            (fast,) = tokenizer.encode_batch_fast([line], add_special_tokens=False)
            encoding = tokenizer.encode(line, add_special_tokens=False)
            assert encoding.ids == fast.ids
            previous = None
            for index, (token, word) in enumerate(
                zip(encoding.ids, encoding.word_ids, strict=True)
            ):
                ids.append(token)
                words.append(word != previous)
                lines.append(index == 0)
                previous = word
        lengths.append(len(ids) - before)
    return ids, words, lines, lengths


def test_ids_and_bounds_equal_the_library_s(tokenizer_and_splitting):
    tokenizer, splitting = tokenizer_and_splitting
    assert splitting_of(tokenizer) is splitting
    documents = _documents(600, seed=2)
    ids, words, lines, lengths = _expected(tokenizer, documents)
    encoder = TextEncoder(tokenizer)
    for _ in range(2):  # with an empty word table, then with a full one
        encoded = _encode(encoder, documents)
        assert encoded.input_ids.tolist() == ids
        assert encoded.word_starts.tolist() == words
        assert encoded.line_starts.tolist() == lines
        assert np.diff(encoded.document_offsets).tolist() == lengths


def test_a_table_that_overflows_changes_nothing(tokenizer_and_splitting):
    tokenizer, _ = tokenizer_and_splitting
    documents = _documents(300, seed=3)
    ids, *_ = _expected(tokenizer, documents)
    encoder = TextEncoder(tokenizer, capacity=64)
    got = [_encode(encoder, documents[start : start + 30]) for start in range(0, 307, 30)]
    assert np.concatenate([encoded.input_ids for encoded in got]).tolist() == ids


@pytest.mark.parametrize("slice_bytes", [1, 300])
def test_the_size_of_slices_changes_nothing(tokenizer_and_splitting, monkeypatch, slice_bytes):
    tokenizer, _ = tokenizer_and_splitting
    documents = _documents(100, seed=4)
    monkeypatch.setattr(text_encoder, "_SLICE_BYTES", slice_bytes)
    encoded = _encode(TextEncoder(tokenizer), documents)
    ids, words, lines, lengths = _expected(tokenizer, documents)
    assert encoded.input_ids.tolist() == ids
    assert encoded.word_starts.tolist() == words
    assert encoded.line_starts.tolist() == lines
    assert np.diff(encoded.document_offsets).tolist() == lengths


def test_other_added_tokens_are_found_in_raw_text_so_nothing_is_cut():
    tokenizer = _bert(True, True, True)
    tokenizer.add_tokens([AddedToken("new york", single_word=False)])
    assert splitting_of(tokenizer) is Splitting.AT_LINES
    encoded = _encode(TextEncoder(tokenizer), ["new york", "a new york b"])
    assert encoded.input_ids.tolist() == _expected(tokenizer, ["new york", "a new york b"])[0]


def test_no_text_gives_no_token():
    encoded = _encode(TextEncoder(_bert(True, True, True)), ["", " \n\t"])
    assert encoded.input_ids.tolist() == []
    assert encoded.document_offsets.tolist() == [0, 0, 0]
