import pytest
import torch

from cloze.errors import ClozeError
from cloze.model.config import LAYOUTS
from cloze.model.encoder import Encoder
from cloze.model.heads import MaskedLMWithNextSentence, SequenceClassifier, embed_samples
from tests.tiny_model import draw_ids, make_config, packed_rows, perturbed, single_samples


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_embeddings_of_packed_samples_are_those_of_each_alone(layout, pooling):
    encoder = perturbed(Encoder(make_config(layout)))
    batch = packed_rows([[7, 5], [9], [3, 3, 4]], row_length=14)
    packed = embed_samples(encoder, batch, pooling)
    assert packed.shape == (6, 32)
    sample = 0
    for row, lengths in enumerate([[7, 5], [9], [3, 3, 4]]):
        start = 0
        for length in lengths:
            states = encoder(single_samples(batch.input_ids[row : row + 1, start : start + length]))
            expected = states[0].mean(0) if pooling == "mean" else states[0, 0]
            assert (packed[sample] - expected).abs().max() < 1e-5
            start, sample = start + length, sample + 1


def test_an_unknown_pooling_is_named():
    encoder = Encoder(make_config())
    with pytest.raises(ClozeError, match="pooling: 'max' is unknown; use one of mean, cls"):
        embed_samples(encoder, single_samples(draw_ids(1, 4)), "max")


@pytest.mark.parametrize(("layout", "pooling"), [("bert", "cls"), ("modernbert", "mean")])
def test_logits_of_packed_samples_are_those_of_each_alone(layout, pooling):
    model = perturbed(SequenceClassifier(make_config(layout), 3, pooling=pooling)).eval()
    batch = packed_rows([[7, 5], [9], [3, 3, 4]], row_length=14)
    packed = model(batch)
    assert packed.shape == (6, 3)
    starts = [(0, 0, 7), (0, 7, 5), (1, 0, 9), (2, 0, 3), (2, 3, 3), (2, 6, 4)]
    for sample, (row, start, length) in enumerate(starts):
        alone = single_samples(batch.input_ids[row : row + 1, start : start + length])
        assert (packed[sample] - model(alone)[0]).abs().max() < 1e-5


def test_bert_has_no_other_classifier_than_that_of_transformers():
    with pytest.raises(ClozeError, match="'mean' is for layout modernbert"):
        SequenceClassifier(make_config(), 2, pooling="mean")


def test_next_sentence_reads_the_first_token_of_every_packed_pair():
    model = perturbed(MaskedLMWithNextSentence(make_config()))
    batch = packed_rows([[7, 5], [9]], row_length=14)
    no_mask = torch.zeros(2, 1, dtype=torch.long)
    _, sentence_logits = model(batch, no_mask, torch.tensor([[0, 7], [0, 0]]))
    assert sentence_logits.shape == (2, 2, 2)
    alone = single_samples(batch.input_ids[:1, 7:12])
    _, expected = model(alone, no_mask[:1], no_mask[:1])
    assert (sentence_logits[0, 1] - expected[0, 0]).abs().max() < 1e-5


def test_next_sentence_is_an_objective_of_bert_alone():
    with pytest.raises(ClozeError, match="modernbert has no next-sentence head; use bert"):
        MaskedLMWithNextSentence(make_config("modernbert"))
