import itertools

import pytest
import torch

from cloze.encoder.model import EncoderConfig, MaskedLM
from cloze.pretraining.optimization import SCHEDULES, adamw, learning_rate_factor, training_flop


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_rise_to_the_peak_and_stay_within_it(schedule):
    factors = [learning_rate_factor(schedule, step, 100, 10) for step in range(100)]
    assert factors[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert max(factors) == pytest.approx(1.0)
    assert min(factors) >= 0
    falling = factors[9:]
    assert all(a >= b for a, b in itertools.pairwise(falling))


def test_schedules_end_where_they_say():
    assert learning_rate_factor("linear", 99, 100, 0) == pytest.approx(0.01)
    assert learning_rate_factor("cosine", 99, 100, 0) < 0.001
    assert learning_rate_factor("warmup_stable_decay", 79, 100, 0) == 1.0
    assert learning_rate_factor("warmup_stable_decay", 90, 100, 0) == pytest.approx(0.5)
    assert learning_rate_factor("constant", 99, 100, 0) == 1.0


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
