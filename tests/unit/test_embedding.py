import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from cloze.model.embedding import embed


def gradient(lookup, weight, indices, upstream):
    weight = weight.detach().requires_grad_()
    lookup(weight, indices).backward(upstream)
    return weight.grad


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    # Few rows for many places: each row's gradient is the sum of hundreds.
    return torch.randn(50, 64), torch.randint(0, 50, (128, 128)), torch.randn(128, 128, 64)


def test_rows_and_gradients_are_those_of_pytorch(inputs):
    weight, indices, _ = inputs
    assert torch.equal(embed(weight, indices), F.embedding(indices, weight))
    found = gradient(embed, *inputs)
    expected = gradient(lambda weight, indices: F.embedding(indices, weight), *inputs)
    torch.testing.assert_close(found, expected)


def test_the_gradient_of_an_expanded_sum_is_taken_too(inputs):
    weight, indices, _ = inputs
    weight = weight.clone().requires_grad_()
    embed(weight, indices).sum().backward()
    counts = torch.bincount(indices.flatten(), minlength=50).float()
    torch.testing.assert_close(weight.grad, counts[:, None].expand(50, 64))


def test_compiled_gradients_have_the_bits_of_eager_ones_in_every_run(inputs):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        compiled = torch.compile(embed, fullgraph=True, dynamic=False)
        expected = gradient(embed, *inputs)
        for _ in range(10):
            assert torch.equal(gradient(compiled, *inputs), expected)
    finally:
        torch.set_num_threads(threads)
