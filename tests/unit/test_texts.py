import numpy as np
import pytest
import torch

from cloze.errors import ClozeError
from cloze.model.encoder import EncoderConfig, PackedBatch
from cloze.model.heads import SequenceClassifier
from cloze.objectives.texts import (
    ROW_TOKENS,
    check_max_length,
    encode_texts,
    pack_texts,
    packed_batches,
    slot_values,
    truncate,
    truncate_pair,
)
from cloze.tokens.tokenizer import load_tokenizer
from tests.tiny import write_tokenizer
from tests.tiny_task import make_split

TEXT = list(range(600))


@pytest.fixture
def tokenizer(tmp_path):
    return load_tokenizer(write_tokenizer(tmp_path))


def test_texts_are_cut_at_max_length_and_counted(tokenizer):
    encoded = encode_texts(tokenizer, ["w1 w2 w3 w4", "w5 w6", ""], 4, 64)
    pieces = [p.tolist() for p in np.split(encoded.input_ids, encoded.offsets[1:-1])]
    assert pieces == [[2, 6, 7, 3], [2, 10, 11, 3], [2, 3]]
    assert encoded.truncated == 1


def test_a_text_that_spells_a_special_token_stays_text(tokenizer):
    encoded = encode_texts(tokenizer, ["w1 [SEP] w2"], 16, 64)
    assert (encoded.input_ids == 3).sum() == 1


def test_a_larger_tokenizer_than_the_encoder_is_refused(tokenizer):
    with pytest.raises(ClozeError, match="has 64 entries, the encoder 60; this is not"):
        encode_texts(tokenizer, ["w1"], 8, 60)


def test_every_text_is_in_exactly_one_batch(tokenizer):
    encoded = encode_texts(tokenizer, make_split(100, 3).texts, 32, 64)
    seen = []
    for batch, texts in packed_batches(encoded, 2):
        assert len(batch.input_ids) <= 2
        assert batch.input_ids.shape[1] <= ROW_TOKENS
        seen += texts.tolist()
    assert sorted(seen) == list(range(100))


def test_a_text_longer_than_a_row_gets_a_longer_row(tokenizer):
    text = " ".join(["w9"] * (2 * ROW_TOKENS))
    encoded = encode_texts(tokenizer, [text, "w1"], 3 * ROW_TOKENS, 64)
    batch, texts = pack_texts(encoded, np.array([0, 1]))
    assert batch.input_ids.numel() >= encoded.lengths.sum()
    assert sorted(texts.tolist()) == [0, 1]


@pytest.mark.parametrize("layout", ["bert", "modernbert"])
def test_packed_texts_get_the_logits_they_get_alone(tokenizer, layout):
    encoded = encode_texts(tokenizer, make_split(20, 4).texts, 32, 64)
    torch.manual_seed(0)
    config = EncoderConfig(
        vocab_size=64, layout=layout, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    model = SequenceClassifier(config, 3).eval()
    with torch.inference_mode():
        batch, texts = pack_texts(encoded, np.arange(20))
        packed = model(batch)
        for row, text in enumerate(texts):
            first, last = encoded.offsets[text : text + 2]
            ids = torch.from_numpy(encoded.input_ids[first:last]).long()[None]
            alone = model(PackedBatch(ids, torch.arange(ids.shape[1])[None], torch.ones_like(ids)))
            torch.testing.assert_close(packed[row], alone[0], atol=1e-5, rtol=0)


def test_pairs_are_joined_by_a_separator_and_typed(tokenizer):
    encoded = encode_texts(
        tokenizer, ["w1 w2", "w3"], 16, 64, pairs=["w4", "w5 w6 w7"], truncation="head"
    )
    pieces = [p.tolist() for p in np.split(encoded.input_ids, encoded.offsets[1:-1])]
    assert pieces == [[2, 6, 7, 3, 9, 3], [2, 8, 3, 10, 11, 12, 3]]
    batch, order = pack_texts(encoded, np.array([0, 1]))
    types = batch.token_type_ids[0, :13].tolist()
    expected = {0: [0, 0, 0, 0, 1, 1], 1: [0, 0, 0, 1, 1, 1, 1]}
    assert types == [kind for text in order for kind in expected[text]]


def test_values_stand_at_the_places_of_their_texts(tokenizer):
    encoded = encode_texts(tokenizer, make_split(60, 5).texts, 32, 64)
    batch, order = pack_texts(encoded, np.arange(60))
    slots = slot_values(batch, order, np.arange(100, 160), num_samples=20, empty=-1)
    assert slots.shape == (len(batch.input_ids), 20)
    assert slots[slots >= 0].tolist() == (order + 100).tolist()
    assert ((slots >= 0).sum(axis=1) == batch.sample_ids.amax(dim=1).numpy()).all()


@pytest.mark.parametrize(
    ("truncation", "kept"),
    [
        ("head", TEXT[:510]),
        ("tail", TEXT[-510:]),
        ("head+tail", TEXT[:128] + TEXT[-382:]),
    ],
)
def test_each_way_keeps_its_part_of_a_long_text(truncation, kept):
    assert truncate(TEXT, 510, truncation) == kept


@pytest.mark.parametrize("truncation", ["head", "tail", "head+tail"])
def test_a_text_that_fits_is_kept_whole(truncation):
    assert truncate(TEXT[:5], 5, truncation) == TEXT[:5]


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [((3, 4), (3, 4)), ((20, 4), (6, 4)), ((4, 20), (4, 6)), ((20, 20), (5, 5)), ((6, 5), (5, 5))],
)
def test_the_longer_of_a_pair_is_cut_first(lengths, expected):
    first, second = truncate_pair(TEXT[: lengths[0]], TEXT[: lengths[1]], 10, "head")
    assert (len(first), len(second)) == expected


def test_an_odd_token_is_the_first_texts():
    assert tuple(map(len, truncate_pair(TEXT, TEXT, 11, "tail"))) == (6, 5)


def test_an_impossible_max_length_is_refused():
    check_max_length(4, 4)
    with pytest.raises(ClozeError, match=r"--max-length 3: leaves no room .* use 4 or more"):
        check_max_length(3, 512)
    with pytest.raises(ClozeError, match="--max-length 129: the encoder has 128 positions"):
        check_max_length(129, 128)
