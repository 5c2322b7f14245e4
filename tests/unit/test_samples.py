import itertools
import random

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from cloze.corpus.document_reader import DocumentBatch
from cloze.tokens.samples import (
    Method,
    RowBuilder,
    RowLayout,
    SegmentText,
    SplitTokens,
    cut_documents,
    split_sentences,
)
from cloze.tokens.shards import Rows
from cloze.tokens.text_encoder import EncodedText, TextEncoder
from cloze.tokens.tokenizer import SpecialIds, bert_normalizer, special_ids, vocab_size
from cloze.tokens.tokenizer_training import train_wordpiece
from tests.texts import MULTILINGUAL, random_text, without_space

TEXTS = [MULTILINGUAL, "", " \n ", "short", *(random_text(seed, 30) for seed in range(12))]
METHODS = [SegmentText("en"), SplitTokens(whole_words=False), SplitTokens(whole_words=True)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    normalizer = bert_normalizer(lowercase=False, strip_accents=False, clean_text=False)
    trained, _ = train_wordpiece(
        lambda: TEXTS, normalizer, vocab_size=900, min_frequency=2, limit_alphabet=0
    )
    trained.encode_special_tokens = True
    return trained


@pytest.fixture(scope="module")
def special(tokenizer: Tokenizer) -> SpecialIds:
    return special_ids(tokenizer)


def encode(tokenizer: Tokenizer, method: Method, texts: list[str]) -> EncodedText:
    contents = [text.encode() for text in texts]
    lines = method.lines(
        DocumentBatch(
            ids=np.arange(len(texts), dtype=np.uint32),
            text=np.frombuffer(b"".join(contents), np.uint8),
            offsets=np.cumsum([0, *map(len, contents)]),
        )
    )
    return TextEncoder(tokenizer).encode(lines.text, lines.offsets)


def cut(num_tokens: int, capacity: int, starts: list[np.ndarray]) -> np.ndarray:
    return cut_documents(np.array([0, num_tokens]), capacity, starts)


def bounds_of(method: Method, document: EncodedText, capacity: int) -> np.ndarray:
    return cut(len(document.input_ids), capacity, list(method.preferred_cuts(document)))


def build(tokenizer: Tokenizer, method: Method, max_length: int) -> Rows:
    ids = np.arange(len(TEXTS), dtype=np.uint32)
    builder = RowBuilder(method, layout(tokenizer, max_length))
    return builder.build(ids, encode(tokenizer, method, TEXTS))


def layout(tokenizer: Tokenizer, max_length: int) -> RowLayout:
    return RowLayout(max_length, max_length, vocab_size(tokenizer), special_ids(tokenizer))


def samples_of(rows: Rows, array: np.ndarray) -> list[list[int]]:
    return [part.tolist() for part in np.split(array, rows.sample_offsets[1:-1])]


@pytest.mark.parametrize("max_length", [8, 17, 128])
@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_samples_are_framed_and_hold_each_document_once(
    tokenizer: Tokenizer, special: SpecialIds, method: Method, max_length: int
) -> None:
    rows = build(tokenizer, method, max_length)
    samples = samples_of(rows, rows.input_ids)
    assert all(sample[0] == special.cls and sample[-1] == special.sep for sample in samples)
    assert all(special.all.isdisjoint(sample[1:-1]) for sample in samples)
    assert max(map(len, samples)) <= max_length
    assert set(rows.row_offsets) <= set(rows.sample_offsets)
    assert np.diff(rows.row_offsets).max() <= max_length
    for document_id, text in enumerate(TEXTS):
        document = encode(tokenizer, method, [text])
        bounds = bounds_of(method, document, max_length - 2)
        expected = [document.input_ids[a:b].tolist() for a, b in itertools.pairwise(bounds)]
        of_document = [samples[i][1:-1] for i in np.flatnonzero(rows.documents == document_id)]
        assert sorted(of_document) == sorted(expected)
        ids = [token for sample in expected for token in sample]
        assert without_space(tokenizer.decode(ids)) == without_space(text)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_word_and_sentence_starts_travel_with_their_tokens(
    tokenizer: Tokenizer, method: Method
) -> None:
    rows = build(tokenizer, method, 32)
    tokens = [tokenizer.id_to_token(int(token)) for token in rows.input_ids]
    assert rows.word_starts.tolist() == [not token.startswith("##") for token in tokens]
    opening = rows.sample_offsets[:-1]
    assert rows.sentence_starts[opening].all()
    num_sentences = sum(len(split_sentences(text, "en")) for text in TEXTS)
    expected = num_sentences if isinstance(method, SegmentText) else 0
    assert rows.sentence_starts.sum() == rows.num_samples + expected


def test_sentences_are_whole_unless_longer_than_a_sample(tokenizer: Tokenizer) -> None:
    capacity = 30
    for text in TEXTS:
        document = encode(tokenizer, SegmentText("en"), [text])
        bounds = bounds_of(SegmentText("en"), document, capacity)
        starts = np.append(np.flatnonzero(document.line_starts), len(document.input_ids))
        lengths = dict(zip(starts[:-1].tolist(), np.diff(starts).tolist(), strict=True))
        for bound in bounds[1:-1].tolist():
            sentence = int(starts[np.searchsorted(starts, bound, side="right") - 1])
            assert bound == sentence or lengths[sentence] > capacity
            # The next sentence would not have fitted either.
            previous = int(bounds[np.searchsorted(bounds, bound) - 1])
            if bound == sentence:
                assert bound + lengths[sentence] - previous > capacity


def test_no_word_is_cut_unless_longer_than_a_sample(tokenizer: Tokenizer) -> None:
    capacity = 10
    for method in (SegmentText("en"), SplitTokens(whole_words=True)):
        for text in TEXTS:
            document = encode(tokenizer, method, [text])
            starts = np.append(np.flatnonzero(document.word_starts), len(document.input_ids))
            for bound in bounds_of(method, document, capacity).tolist():
                word = int(np.searchsorted(starts, bound, side="right")) - 1
                assert starts[word] == bound or starts[word + 1] - starts[word] > capacity


def test_split_tokens_fills_every_sample_but_the_last(tokenizer: Tokenizer) -> None:
    method = SplitTokens(whole_words=False)
    document = encode(tokenizer, method, [MULTILINGUAL])
    lengths = np.diff(bounds_of(method, document, 14)).tolist()
    assert set(lengths[:-1]) == {14}
    assert 1 <= lengths[-1] <= 14


def flags(text: str) -> np.ndarray:
    return np.array([character == "1" for character in text])


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ([], [0, 4, 8, 10]),
        (["1001000100"], [0, 3, 7, 10]),
        (["1000000010"], [0, 4, 8, 10]),
        (["1000010000", "1010010000"], [0, 2, 5, 9, 10]),
    ],
)
def test_cut_takes_the_first_kind_of_place_within_reach(
    starts: list[str], expected: list[int]
) -> None:
    assert cut(10, 4, [flags(text) for text in starts]).tolist() == expected


def test_cut_of_nothing() -> None:
    assert cut(0, 4, [flags("")]).tolist() == [0]


@pytest.mark.parametrize("seed", range(20))
def test_cut_never_exceeds_capacity_and_loses_nothing(seed: int) -> None:
    rng = random.Random(seed)
    num_tokens, capacity = rng.randint(1, 500), rng.randint(1, 40)
    starts = [np.array([rng.random() < p for _ in range(num_tokens)]) for p in (0.05, 0.5)]
    bounds = cut(num_tokens, capacity, starts)
    assert (bounds[0], bounds[-1]) == (0, num_tokens)
    lengths = np.diff(bounds)
    assert lengths.min() >= 1
    assert lengths.max() <= capacity


def test_words_of_a_byte_level_vocabulary() -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["low lower lowest"], trainer)
    text = "lowest low. Dr. Ünder"
    document = encode(tokenizer, SegmentText("en"), [text])
    assert tokenizer.decode(document.input_ids.tolist()) == text
    whole = tokenizer.encode(text)
    assert document.input_ids.tolist() == whole.ids
    words = [-1, *[word for word in whole.word_ids if word is not None]]
    assert document.word_starts.tolist() == [a != b for a, b in itertools.pairwise(words)]


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_no_documents_make_no_rows(tokenizer: Tokenizer, method: Method) -> None:
    builder = RowBuilder(method, layout(tokenizer, 16))
    rows = builder.build(np.empty(0, np.uint32), encode(tokenizer, method, []))
    assert (rows.num_rows, rows.num_samples, rows.num_tokens) == (0, 0, 0)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_a_document_of_white_space_has_no_tokens(tokenizer: Tokenizer, method: Method) -> None:
    assert len(encode(tokenizer, method, [" \n\t"]).input_ids) == 0
