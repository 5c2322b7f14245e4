import math

import pytest
import torch

from cloze.errors import ClozeError
from cloze.model.device import resolve_compute
from cloze.model.hf import config_from_folder
from cloze.model.weights import read_weights
from cloze.objectives.prediction import predict_logits
from cloze.objectives.texts import encode_texts
from cloze.tokens.tokenizer import load_tokenizer
from cloze.train.finetuning import build_classifier, train_classifier
from cloze.train.finetuning_recipe import Recipe
from tests.tiny_task import make_split, write_encoder


@pytest.fixture
def folder(tmp_path):
    return write_encoder(tmp_path)


def build(folder, seed, pretrained=True, dropout=0.1):
    config = config_from_folder(folder).with_dropout(dropout)
    start = folder if pretrained else None
    return build_classifier(config, 2, classifier_dropout=dropout, seed=seed, pretrained=start)


def recipe(**changes):
    values = {
        "learning_rate": 3e-3, "num_train_epochs": 4, "train_batch_size": 16, "warmup_ratio": 0.1,
        "weight_decay": 0.01, "max_grad_norm": 1.0, "seed": 1,
    }  # fmt: skip
    return Recipe(**(values | changes))


def train(folder, seed=1, precision="fp32", **changes):
    split = make_split(128, 1)
    encoded = encode_texts(load_tokenizer(folder / "tokenizer.json"), split.texts, 32, 64)
    model = build(folder, seed)
    compute = resolve_compute("cpu", precision, "off", 1, 0.0)
    result = train_classifier(model, encoded, split.labels, recipe(seed=seed, **changes), compute)
    return model, result, encoded, split, compute


def test_the_seed_draws_the_head_and_leaves_the_encoder(folder):
    one, same, other = build(folder, 1), build(folder, 1), build(folder, 2)
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert torch.equal(
        one.encoder.token_embedding.weight,
        read_weights(folder, "bert")["bert.embeddings.word_embeddings.weight"],
    )
    scratch = build(folder, 1, pretrained=False)
    other_scratch = build(folder, 2, pretrained=False)
    weight = scratch.encoder.token_embedding.weight
    assert not torch.equal(weight, one.encoder.token_embedding.weight)
    assert not torch.equal(weight, other_scratch.encoder.token_embedding.weight)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_learns_the_task(folder, precision):
    model, result, encoded, split, compute = train(folder, precision=precision, num_train_epochs=16)
    predictions = predict_logits(model, encoded, compute).argmax(axis=1)
    assert (predictions == split.labels).mean() > 0.95
    assert result.mean_loss < 0.5 * math.log(2)
    assert result.steps == 16 * 8
    assert result.tokens == 16 * len(encoded.input_ids)


def test_two_runs_give_equal_weights_and_another_seed_does_not(folder):
    first, second, other = (train(folder, seed=seed)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_only_matrices_are_decayed(folder):
    plain = train(folder, learning_rate=1e-9, num_train_epochs=1)[0].state_dict()
    decayed = train(folder, learning_rate=1e-9, num_train_epochs=1, weight_decay=1e7)[
        0
    ].state_dict()
    for name, value in plain.items():
        norm_ratio = decayed[name].norm() / value.norm().clamp(min=1e-12)
        if value.dim() > 1:
            assert norm_ratio < 0.98, name
        else:
            torch.testing.assert_close(decayed[name], value, atol=1e-6, rtol=1e-5)


def test_a_loss_that_is_no_number_is_reported(folder):
    model = build(folder, 1)
    with torch.no_grad():
        model.classifier.weight[0, 0] = math.nan
    split = make_split(16, 1)
    encoded = encode_texts(load_tokenizer(folder / "tokenizer.json"), split.texts, 32, 64)
    compute = resolve_compute("cpu", "fp32", "off", 1, 0.0)
    with pytest.raises(ClozeError, match=r"diverged: loss nan.* at step 1 of 4; lower --learning"):
        train_classifier(model, encoded, split.labels, recipe(), compute)
