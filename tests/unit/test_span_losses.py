"""The loss of packed windows is that of each window by itself."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from cloze.objectives.question_answering import span_losses


def test_each_window_has_the_cross_entropies_over_its_own_tokens():
    torch.manual_seed(0)
    logits = torch.randn(2, 8, 2, dtype=torch.float64)
    sample_ids = torch.tensor([[1, 1, 1, 2, 2, 2, 2, 0], [1, 1, 1, 1, 1, 0, 0, 0]])
    columns = torch.tensor([[[1, 2], [3, 3]], [[4, 4], [0, 0]]])
    found = span_losses(logits, sample_ids, columns)
    for row, number, part in ((0, 0, slice(0, 3)), (0, 1, slice(3, 7)), (1, 0, slice(0, 5))):
        own = logits[row, part].T
        target = columns[row, number] - part.start
        assert found[row, number].item() == pytest.approx(F.cross_entropy(own, target).item())


def test_where_a_row_has_no_window_nothing_is_learnt():
    logits = torch.randn(1, 4, 2, requires_grad=True)
    sample_ids, columns = torch.tensor([[1, 1, 0, 0]]), torch.zeros(1, 3, 2, dtype=torch.int64)
    losses = span_losses(logits, sample_ids, columns)
    (losses * torch.tensor([[0.5, 0.0, 0.0]])).sum().backward()
    assert torch.isfinite(losses).all()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[0, 2:] == 0).all()
    assert (logits.grad[0, :2] != 0).all()
