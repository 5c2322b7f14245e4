import dataclasses

import numpy as np
import pytest
import torch

from cloze.errors import ClozeError
from cloze.model.heads import SequenceClassifier
from cloze.model.hf import config_from_folder
from cloze.objectives.texts import encode_texts, pack_texts
from cloze.tokens.tokenizer import load_tokenizer
from cloze.train.classifier_optimizer import classifier_adamw, only_tokens_of
from cloze.train.finetuning import text_weights
from cloze.train.finetuning_recipe import Recipe, default_epochs, default_learning_rate
from tests.tiny_task import write_encoder

RECIPE = Recipe(
    learning_rate=1e-3, num_train_epochs=1, train_batch_size=16, warmup_ratio=0.1,
    weight_decay=0.01, max_grad_norm=1.0, seed=1, layerwise_lr_decay=0.5,
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return write_encoder(tmp_path)


@pytest.fixture
def model(folder):
    torch.manual_seed(0)
    return SequenceClassifier(config_from_folder(folder), 2).eval()


def test_each_layer_learns_at_a_share_of_the_rate_above_it(model):
    optimizer = classifier_adamw(model, RECIPE)
    names = {parameter: name for name, parameter in model.named_parameters()}
    rates = {
        names[parameter]: group["initial_lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert rates.keys() == dict(model.named_parameters()).keys()
    assert rates["classifier.weight"] == rates["pooler_dense.bias"] == 1e-3
    assert rates["encoder.layers.1.up.weight"] == 0.5e-3
    assert rates["encoder.layers.0.attention.qkv.bias"] == 0.25e-3
    assert rates["encoder.token_embedding.weight"] == 0.125e-3
    assert rates["encoder.embedding_norm.weight"] == 0.125e-3


def test_without_layerwise_decay_there_are_two_groups(model):
    optimizer = classifier_adamw(model, dataclasses.replace(RECIPE, layerwise_lr_decay=1.0))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_an_impossible_layerwise_decay_is_refused(share):
    with pytest.raises(ClozeError, match="--layerwise-lr-decay: must be above 0"):
        dataclasses.replace(RECIPE, layerwise_lr_decay=share)


def test_a_model_with_only_the_tokens_that_occur_says_the_same(folder, model):
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    encoded = encode_texts(tokenizer, ["w1 w7 w3", "w7", "w20 w3 w3"], 32, 64)
    whole = model.encoder.token_embedding.weight.detach().clone()
    with torch.no_grad():
        expected = model(pack_texts(encoded, np.arange(3))[0])
        with only_tokens_of(model, encoded) as shown:
            assert model.encoder.token_embedding.num_embeddings == 6
            found = model(pack_texts(shown, np.arange(3))[0])
            model.encoder.token_embedding.weight += 1
    assert torch.equal(found, expected)
    occurring = np.unique(encoded.input_ids)
    rest = np.setdiff1d(np.arange(64), occurring)
    after = model.encoder.token_embedding.weight.detach()
    assert torch.equal(after[occurring], whole[occurring] + 1)
    assert torch.equal(after[rest], whole[rest])


def test_balanced_classes_count_alike_whatever_their_rows():
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    weights = text_weights(labels, np.arange(6), "balanced", is_regression=False)
    counted = [weights[:6][labels[:6] == label].sum() for label in (0, 1)]
    assert counted == [3.0, 3.0]
    assert text_weights(labels, np.arange(8), "none", is_regression=False).tolist() == [1.0] * 8
    with pytest.raises(ClozeError, match="--class-weights balanced: a task of scores"):
        text_weights(labels.astype(float), np.arange(8), "balanced", is_regression=True)


@pytest.mark.parametrize(("rows", "epochs"), [(2_490, 10), (67_349, 3), (392_702, 2)])
def test_small_tasks_get_more_epochs(rows, epochs):
    assert default_epochs(rows) == epochs


@pytest.mark.parametrize(
    ("width", "rate"), [(32, 1e-3), (128, 4.8e-4), (256, 1.7e-4), (768, 3.3e-5)]
)
def test_wide_encoders_get_a_lower_rate(width, rate):
    assert default_learning_rate(width) == rate
