import pytest
import torch

from cloze.model.dropout import Dropout, dropout


@pytest.mark.parametrize("probability", [0.1, 0.25, 0.9])
def test_the_share_that_is_dropped_is_the_probability_and_the_mean_stays(probability):
    torch.manual_seed(0)
    values = torch.ones(1000, 1000)
    found = dropout(values, probability)
    kept = found != 0
    assert abs(1 - kept.double().mean().item() - probability) < 2e-3
    assert found[kept].unique().numel() == 1
    assert abs(found.double().mean().item() - 1) < 5e-3


def test_values_are_dropped_apart_from_their_neighbours():
    torch.manual_seed(0)
    kept = (dropout(torch.ones(400_000), 0.5) != 0).double()
    for distance in (1, 2, 3, 4, 8):
        both = (kept[:-distance] * kept[distance:]).mean().item()
        assert abs(both - 0.25) < 5e-3


def test_the_gradient_passes_where_the_value_did():
    torch.manual_seed(0)
    values = torch.randn(7, 5, requires_grad=True)
    found = dropout(values, 0.5)
    found.sum().backward()
    torch.testing.assert_close(values.grad, (found != 0) * 2.0)


def test_one_seed_drops_the_same_values_and_another_draw_others():
    values = torch.ones(3, 50, dtype=torch.bfloat16)
    torch.manual_seed(0)
    first, second = dropout(values, 0.5), dropout(values, 0.5)
    torch.manual_seed(0)
    assert torch.equal(dropout(values, 0.5), first)
    assert first.dtype == torch.bfloat16
    assert not torch.equal(first, second)


def test_the_ends_of_the_range_keep_all_or_nothing():
    values = torch.randn(100)
    assert torch.equal(dropout(values, 0.0), values)
    assert not dropout(values, 1.0).any()


def test_evaluation_drops_nothing():
    values = torch.randn(100)
    assert torch.equal(Dropout(0.5).eval()(values), values)
