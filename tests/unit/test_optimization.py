import pytest
import torch

from cloze.model.encoder import EncoderConfig
from cloze.model.heads import MaskedLM
from cloze.train.optimization import adamw, learning_rate_factor, training_flop


def test_the_factor_of_a_step_rises_over_the_warm_up_and_then_falls():
    factors = [learning_rate_factor("linear", step, 100, 10) for step in range(100)]
    assert factors[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert factors[9:11] == [1.0, 1.0]
    assert factors[99] == pytest.approx(1 / 90)


def test_biases_and_norms_are_not_decayed():
    config = EncoderConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1)
    model = MaskedLM(config)
    optimizer = adamw(model, learning_rate=0.1, weight_decay=0.5)
    bias = model.encoder.layers[0].up.bias
    with torch.no_grad():
        bias.fill_(1.0)
    before = model.encoder.layers[0].up.weight.clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.equal(bias, torch.ones_like(bias))
    assert torch.allclose(model.encoder.layers[0].up.weight, before * 0.95)


def test_flop_of_bert_base_is_about_six_times_its_weights():
    config = EncoderConfig(
        vocab_size=30522, hidden_size=768, num_hidden_layers=12, intermediate_size=3072
    )
    per_token = training_flop(config, tokens=1, length=128, mlm_probability=0.15)
    assert 6 * 85e6 < per_token < 6 * 95e6
