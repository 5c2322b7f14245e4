import pytest
import torch

from cloze.errors import ClozeError
from cloze.files import read_json, write_json
from cloze.model.config import LAYOUTS
from cloze.model.heads import MaskedLM, MaskedLMWithNextSentence, SequenceClassifier
from cloze.model.hf import (
    config_from_folder,
    load_classifier,
    load_encoder,
    load_masked_lm,
    load_masked_lm_with_next_sentence,
    load_matching,
    save_model,
)
from tests.tiny import write_tokenizer
from tests.tiny_model import draw_ids, make_config, perturbed, single_samples


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs = other.state_dict()
    return one.state_dict().keys() == theirs.keys() and all(
        torch.equal(value, theirs[name]) for name, value in one.state_dict().items()
    )


@pytest.mark.parametrize(
    "config",
    [*map(make_config, LAYOUTS), make_config(position_embedding_type="relative_key")],
    ids=[*LAYOUTS, "relative_key"],
)
def test_saved_models_load_back(config, tmp_path):
    model = perturbed(MaskedLM(config))
    save_model(tmp_path / "model", model, write_tokenizer(tmp_path).parent)
    again = load_masked_lm(tmp_path / "model")
    assert again.config == model.config
    assert same_weights(again, model)
    classifier = SequenceClassifier(model.config, num_labels=2)
    load_matching(classifier, tmp_path / "model", reset_heads=True)
    assert same_weights(classifier.encoder, model.encoder)
    assert same_weights(load_encoder(tmp_path / "model"), model.encoder)


def test_both_heads_of_pretraining_load_back_together_and_apart(tmp_path):
    model = perturbed(MaskedLMWithNextSentence(make_config()))
    save_model(tmp_path / "model", model, write_tokenizer(tmp_path).parent)
    assert same_weights(load_masked_lm_with_next_sentence(tmp_path / "model"), model)
    assert same_weights(load_masked_lm(tmp_path / "model"), model.masked_lm)
    other = MaskedLMWithNextSentence(make_config())
    load_matching(other, tmp_path / "model", reset_heads=True)
    assert same_weights(other.encoder, model.encoder)


@pytest.mark.parametrize("labels", [["score"], ["bad", "fair", "good"]])
def test_classifiers_load_back_with_their_labels(labels, tmp_path):
    model = perturbed(SequenceClassifier(make_config(), num_labels=len(labels)))
    save_model(tmp_path / "model", model, write_tokenizer(tmp_path).parent, labels)
    again, names = load_classifier(tmp_path / "model")
    assert names == labels
    batch = single_samples(draw_ids(4, 9))
    assert torch.equal(again.eval()(batch), model(batch))


def test_broken_folders_are_named(tmp_path):
    model = MaskedLM(make_config())
    save_model(tmp_path / "model", model, write_tokenizer(tmp_path).parent)
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ClozeError, match=r"model\.safetensors: cannot be read"):
        load_masked_lm(tmp_path / "model")
    weights.unlink()
    with pytest.raises(ClozeError, match=r"model: has no model\.safetensors"):
        load_masked_lm(tmp_path / "model")


def test_a_head_that_the_folder_does_not_have_is_named(tmp_path):
    save_model(tmp_path / "m", MaskedLM(make_config()), write_tokenizer(tmp_path).parent)
    with pytest.raises(ClozeError, match=r"has no weight 'bert\.pooler\.dense\.weight'"):
        load_masked_lm_with_next_sentence(tmp_path / "m")


def test_the_last_layer_of_a_classifier_loads_for_the_same_labels_alone(tmp_path):
    saved = perturbed(SequenceClassifier(make_config(), num_labels=2))
    save_model(tmp_path / "m", saved, write_tokenizer(tmp_path).parent, ["bad", "good"])
    last = ["classifier.weight", "classifier.bias"]
    for labels in (["no", "yes"], ["good", "bad"], ["bad", "fair", "good"], None):
        model = SequenceClassifier(make_config(), num_labels=len(labels or "12"))
        parts = load_matching(model, tmp_path / "m", labels=labels)
        assert parts.drawn == last
        assert str(parts) == "loaded: bert.pooler.dense; drawn anew: classifier"
        assert torch.equal(model.pooler_dense.weight, saved.pooler_dense.weight)
    model = SequenceClassifier(make_config(), num_labels=2)
    assert load_matching(model, tmp_path / "m", labels=["bad", "good"]).drawn == []
    assert same_weights(model, saved)


def test_heads_can_be_left_as_drawn(tmp_path):
    saved = perturbed(MaskedLM(make_config()))
    save_model(tmp_path / "m", saved, write_tokenizer(tmp_path).parent)
    model = MaskedLM(make_config())
    drawn = {name: value.clone() for name, value in model.state_dict().items()}
    parts = load_matching(model, tmp_path / "m", reset_heads=True)
    assert parts.loaded == []
    assert same_weights(model.encoder, saved.encoder)
    for name in ("head_dense.weight", "head_norm.bias", "decoder_bias"):
        assert torch.equal(model.state_dict()[name], drawn[name])


def test_an_encoder_that_does_not_match_is_named(tmp_path):
    save_model(tmp_path / "m", MaskedLM(make_config()), write_tokenizer(tmp_path).parent)
    with pytest.raises(ClozeError, match=r"word_embeddings\.weight has shape \(64, 32\)"):
        load_matching(MaskedLM(make_config(hidden_size=16)), tmp_path / "m")
    with pytest.raises(ClozeError, match="its encoder has layout bert, the one to fill modern"):
        load_matching(MaskedLM(make_config("modernbert")), tmp_path / "m")


def test_a_weight_of_another_shape_is_named(tmp_path):
    save_model(tmp_path / "m", MaskedLM(make_config()), write_tokenizer(tmp_path).parent)
    other = make_config(hidden_size=16)
    with pytest.raises(ClozeError, match=r"word_embeddings\.weight has shape \(64, 32\)"):
        load_matching(SequenceClassifier(other, 2), tmp_path / "m", reset_heads=True)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("position_embedding_type", "relative_key_query", "'relative_key_query' is unknown"),
        ("model_type", "deberta", "model_type 'deberta' is not one Cloze reads"),
        ("hidden_act", "relu", "hidden_act 'relu' is not one Cloze computes; it knows gelu"),
    ],
)
def test_models_of_another_kind_are_named(key, value, message, tmp_path):
    save_model(tmp_path / "m", MaskedLM(make_config()), write_tokenizer(tmp_path).parent)
    config = tmp_path / "m" / "config.json"
    write_json(config, {**read_json(config), key: value})
    with pytest.raises(ClozeError, match=message):
        config_from_folder(tmp_path / "m")
