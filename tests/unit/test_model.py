import pytest
import torch

from cloze.encoder.model import LAYOUTS, EncoderConfig, MaskedLM, PackedBatch, SequenceClassifier
from cloze.encoder.model_io import (
    load_classifier,
    load_encoder_into,
    load_masked_lm,
    load_weights,
    save_model,
)
from cloze.errors import ClozeError
from tests.tiny import write_tokenizer

VOCAB_SIZE = 64


def make_config(layout: str) -> EncoderConfig:
    return EncoderConfig(
        vocab_size=VOCAB_SIZE,
        layout=layout,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=40,
        layer_norm_eps=1e-12 if layout == "bert" else 1e-5,
    )


def perturbed(model: torch.nn.Module) -> torch.nn.Module:
    """Move every weight away from its initial value, so that no term is zero by chance."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def single_samples(input_ids: torch.Tensor) -> PackedBatch:
    positions = torch.arange(input_ids.shape[1]).expand_as(input_ids)
    return PackedBatch(input_ids, positions, torch.ones_like(input_ids))


def draw_ids(*shape: int) -> torch.Tensor:
    return torch.randint(5, VOCAB_SIZE, shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("layout", "peer"), [("bert", "BertForMaskedLM"), ("modernbert", "ModernBertForMaskedLM")]
)
def test_logits_and_gradients_equal_transformers(layout, peer, tmp_path):
    transformers = pytest.importorskip("transformers")
    model = perturbed(MaskedLM(make_config(layout)))
    save_model(tmp_path / "model", model, write_tokenizer(tmp_path).parent)
    other, loading = getattr(transformers, peer).from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    other.eval()
    input_ids = draw_ids(2, 17)
    every_position = torch.arange(17).expand(2, 17)
    ours = model(single_samples(input_ids), every_position)
    theirs = other(input_ids=input_ids).logits
    assert theirs.abs().mean() > 0.1
    assert (ours - theirs).abs().max() < 1e-4

    ours.square().mean().backward()
    theirs.square().mean().backward()
    gradient = model.encoder.token_embedding.weight.grad
    assert (gradient - other.get_input_embeddings().weight.grad).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("layout", "peer"),
    [
        ("bert", "BertForSequenceClassification"),
        ("modernbert", "ModernBertForSequenceClassification"),
    ],
)
def test_classifier_equals_transformers(layout, peer, tmp_path):
    transformers = pytest.importorskip("transformers")
    model = perturbed(SequenceClassifier(make_config(layout), num_labels=3))
    labels = ["bad", "fair", "good"]
    save_model(tmp_path / "model", model, write_tokenizer(tmp_path).parent, labels)
    other = getattr(transformers, peer).from_pretrained(tmp_path / "model").eval()
    assert other.config.id2label == dict(enumerate(labels))
    input_ids = draw_ids(4, 9)
    difference = model(single_samples(input_ids)) - other(input_ids=input_ids).logits
    assert difference.abs().max() < 1e-4
    again, names = load_classifier(tmp_path / "model")
    assert names == labels
    assert torch.equal(again.eval()(single_samples(input_ids)), model(single_samples(input_ids)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_packed_document_reads_as_if_alone(layout):
    model = perturbed(MaskedLM(make_config(layout)))
    first, second = draw_ids(1, 7), draw_ids(1, 5) // 2 + 3
    packed = PackedBatch(
        torch.cat([first, second, torch.zeros(1, 4, dtype=torch.long)], dim=1),
        torch.tensor([[*range(7), *range(5), 0, 0, 0, 0]]),
        torch.tensor([[1] * 7 + [2] * 5 + [0] * 4]),
    )
    together = model(packed, torch.arange(12)[None])
    alone = torch.cat(
        [
            model(single_samples(part), torch.arange(part.shape[1])[None])
            for part in (first, second)
        ],
        dim=1,
    )
    assert (together - alone).abs().max() < 1e-4
    assert together.isfinite().all()
    assert packed.first_tokens().nonzero().tolist() == [[0, 0], [0, 7]]


def test_the_head_runs_only_where_asked():
    model = perturbed(MaskedLM(make_config("bert")))
    batch = single_samples(draw_ids(2, 10))
    everywhere = model(batch, torch.arange(10).expand(2, 10))
    some = model(batch, torch.tensor([[3, 1], [9, 0]]))
    assert some.shape == (2, 2, VOCAB_SIZE)
    assert torch.allclose(some[0, 1], everywhere[0, 1], atol=1e-6)
    assert torch.allclose(some[1, 0], everywhere[1, 9], atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_saved_models_load_back(layout, tmp_path):
    model = perturbed(MaskedLM(make_config(layout)))
    save_model(tmp_path / "model", model, write_tokenizer(tmp_path).parent)
    again = load_masked_lm(tmp_path / "model")
    assert again.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    classifier = SequenceClassifier(model.config, num_labels=2)
    load_encoder_into(classifier, tmp_path / "model")
    assert torch.equal(
        classifier.encoder.token_embedding.weight, model.encoder.token_embedding.weight
    )


def test_impossible_shapes_are_named():
    with pytest.raises(ClozeError, match="num_attention_heads: 3 does not divide hidden_size 32"):
        EncoderConfig(vocab_size=10, hidden_size=32, num_attention_heads=3)
    with pytest.raises(ClozeError, match="layout: 'gpt' is unknown"):
        EncoderConfig(vocab_size=10, layout="gpt")


def test_broken_folders_are_named(tmp_path):
    model = MaskedLM(make_config("bert"))
    save_model(tmp_path / "model", model, write_tokenizer(tmp_path).parent)
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ClozeError, match=r"model\.safetensors: cannot be read"):
        load_weights(tmp_path / "model")
    with pytest.raises(ClozeError, match="no such file"):
        load_weights(tmp_path)


def test_a_weight_of_another_shape_is_named(tmp_path):
    save_model(tmp_path / "m", MaskedLM(make_config("bert")), write_tokenizer(tmp_path).parent)
    other = EncoderConfig(vocab_size=VOCAB_SIZE, hidden_size=16, num_attention_heads=4)
    with pytest.raises(ClozeError, match=r"word_embeddings\.weight has shape \(64, 32\)"):
        load_encoder_into(SequenceClassifier(other, 2), tmp_path / "m")
