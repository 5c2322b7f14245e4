"""What is there to be fast gives what its plain form gives."""

import inspect
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention.varlen import varlen_attn

from cloze.model.config import LAYOUTS
from cloze.model.encoder import PackedBatch
from cloze.model.heads import MaskedLM
from cloze.model.kernels import (
    Dropout,
    assume_constant_capability,
    dropout,
    embed,
    packed_segments,
    varlen_is_possible,
)
from tests.tiny_model import draw_ids, gradients, make_config, packed_rows, perturbed


def embedding_gradient(find, weight, indices, upstream):
    weight = weight.detach().requires_grad_()
    find(weight, indices).backward(upstream)
    return weight.grad


@pytest.fixture
def lookup():
    torch.manual_seed(0)
    # Few rows for many places: each row's gradient is the sum of hundreds.
    return torch.randn(50, 64), torch.randint(0, 50, (128, 128)), torch.randn(128, 128, 64)


def test_rows_and_gradients_are_those_of_pytorch(lookup):
    weight, indices, _ = lookup
    assert torch.equal(embed(weight, indices), F.embedding(indices, weight))
    found = embedding_gradient(embed, *lookup)
    expected = embedding_gradient(lambda weight, indices: F.embedding(indices, weight), *lookup)
    torch.testing.assert_close(found, expected)


def test_the_gradient_of_an_expanded_sum_is_taken_too(lookup):
    weight, indices, _ = lookup
    weight = weight.clone().requires_grad_()
    embed(weight, indices).sum().backward()
    counts = torch.bincount(indices.flatten(), minlength=50).float()
    torch.testing.assert_close(weight.grad, counts[:, None].expand(50, 64))


def test_compiled_gradients_have_the_bits_of_eager_ones_in_every_run(lookup):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        compiled = torch.compile(embed, fullgraph=True, dynamic=False)
        expected = embedding_gradient(embed, *lookup)
        for _ in range(10):
            assert torch.equal(embedding_gradient(compiled, *lookup), expected)
    finally:
        torch.set_num_threads(threads)


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


def segments_of(batch):
    return packed_segments(batch.sample_ids, batch.max_samples_per_row)


def loops(query, key, value, cu_seq, longest):
    """Attention by its definition, a segment at a time; all [T, H, K]."""
    assert cu_seq.dtype == torch.int32
    bounds = cu_seq.tolist()
    assert bounds[0] == 0
    assert bounds[-1] == len(query)
    out = torch.zeros_like(query)
    for start, stop in itertools.pairwise(bounds):
        assert 0 <= stop - start <= longest
        for head in range(query.shape[1]):
            one = slice(start, stop)
            scores = query[one, head] @ key[one, head].T / query.shape[-1] ** 0.5
            out[one, head] = scores.softmax(-1) @ value[one, head]
    return out


def kernel_of_2_10(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, return_aux=None
):
    assert not is_causal
    assert return_aux is None
    assert torch.equal(cu_seq_q, cu_seq_k)
    assert max_q == max_k
    return loops(query, key, value, cu_seq_q, max_q)


def kernel_of_2_13(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, return_aux=None, scale=None,
    window_size=(-1, -1), enable_gqa=False, seqused_k=None, block_table=None, num_splits=None,
):  # fmt: skip
    assert (return_aux, scale, enable_gqa, seqused_k) == (None, None, False, None)
    assert window_size == (-1, -1)
    assert torch.equal(cu_seq_q, cu_seq_k)
    assert max_q == max_k
    return loops(query, key, value, cu_seq_q, max_q)


def plain_bounds(batch):
    """Where segments begin and end, by walking over the tokens."""
    bounds, token = [], 0
    for row in batch.sample_ids.tolist():
        before = None
        for sample in row:
            if sample != before:
                bounds.append(token)
            before, token = sample, token + 1
    return [*bounds, token]


def draw_lengths(generator, row_length):
    """Lengths of a row's samples, each at least 2, with or without room to spare."""
    lengths, left = [], row_length
    while left >= 2 and (not lengths or generator.random() < 0.8):
        lengths.append(int(generator.integers(2, left + 1)) if generator.random() < 0.5 else 2)
        left -= lengths[-1]
    return lengths


@pytest.mark.parametrize("seed", range(20))
def test_segments_are_the_samples_and_the_padding_of_each_row(seed):
    generator = np.random.default_rng(seed)
    row_length = int(generator.integers(2, 24))
    batch = packed_rows([draw_lengths(generator, row_length) for _ in range(5)], row_length)
    segments = segments_of(batch)
    expected = plain_bounds(batch)
    assert segments.cu_seq[: len(expected)].tolist() == expected
    # What is left over is empty, and the number of segments is the shape's alone.
    assert set(segments.cu_seq[len(expected) :].tolist()) <= {5 * row_length}
    assert len(segments.cu_seq) == 5 * (row_length // 2 + 1) + 1
    assert segments.max_length == row_length


def test_rows_full_of_the_shortest_samples_fit():
    for row_length in (8, 9):
        batch = packed_rows([[2] * 4] * 3, row_length)
        assert segments_of(batch).cu_seq.tolist()[-1] == 3 * row_length


def test_the_data_sets_own_bound_makes_fewer_segments():
    batch = packed_rows([[7, 5], [12], [16]], row_length=16, max_samples_per_row=2)
    expected = [0, 7, 12, 16, 28, 32, 48, 48, 48, 48]
    assert segments_of(batch).cu_seq.tolist() == expected


def test_more_samples_than_the_bound_are_an_error():
    batch = packed_rows([[4, 4, 4, 4]], row_length=16, max_samples_per_row=2)
    with pytest.raises(RuntimeError, match="out of bounds"):
        segments_of(batch)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", [kernel_of_2_10, kernel_of_2_13])
def test_segments_give_the_logits_and_gradients_of_the_mask(layout, kernel, monkeypatch):
    model = perturbed(MaskedLM(make_config(layout)))
    batch = packed_rows([[7, 5], [12], [16]], row_length=16, max_samples_per_row=2)
    positions = torch.tensor([[1, 8], [3, 4], [15, 0]])
    labels = draw_ids(6)
    masked = model(batch, positions)
    masked_gradients = gradients(model, F.cross_entropy(masked.flatten(0, 1), labels))
    monkeypatch.setattr("cloze.model.encoder.varlen_is_possible", lambda *_: True)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    varlen = model(batch, positions)
    varlen_gradients = gradients(model, F.cross_entropy(varlen.flatten(0, 1), labels))
    assert (varlen - masked).abs().max() < 1e-4
    for name, gradient in masked_gradients.items():
        assert (varlen_gradients[name] - gradient).abs().max() < 1e-5, name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pytorchs_own_kernel_takes_these_arguments_both_ways(layout, monkeypatch):
    # On fake tensors: shapes and types without numbers, so the kernel's device is not needed.
    monkeypatch.setattr("cloze.model.encoder.varlen_is_possible", lambda *_: True)
    calls = []

    def spy(*arguments):
        calls.append(arguments)
        return varlen_attn(*arguments)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", spy)
    with FakeTensorMode():
        model = MaskedLM(make_config(layout))
        ids = torch.ones(4, 16, dtype=torch.long)
        batch = PackedBatch(ids, ids, ids, max_samples_per_row=2)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(batch, ids[:, :3])
        logits.float().sum().backward()
    query, _, _, cu_seq, *_ = calls[0]
    # Not in the last layer, where fewer tokens are queries than keys.
    assert len(calls) == 2
    assert (tuple(query.shape), query.dtype) == ((64, 4, 8), torch.bfloat16)
    assert tuple(cu_seq.shape) == (13,)
    assert model.encoder.layers[0].attention.qkv.weight.grad.shape == (96, 32)


def test_pytorchs_other_arguments_have_defaults():
    parameters = list(inspect.signature(varlen_attn).parameters.values())
    names = [parameter.name for parameter in parameters[:7]]
    assert names == ["query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"]
    assert all(parameter.default is not parameter.empty for parameter in parameters[7:])


@pytest.mark.parametrize(
    ("device", "dtype", "head_size", "capability", "possible"),
    [
        ("cuda", torch.bfloat16, 64, (9, 0), True),
        ("cuda", torch.float16, 64, (8, 0), True),
        ("cuda", torch.float16, 64, (7, 5), False),
        ("cuda", torch.float32, 64, (9, 0), False),
        ("cuda", torch.bfloat16, 12, (9, 0), False),
        ("cuda", torch.bfloat16, 512, (9, 0), False),
        ("cpu", torch.bfloat16, 64, (9, 0), False),
    ],
)
def test_the_kernel_is_used_only_where_it_runs(
    device, dtype, head_size, capability, possible, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
    assert varlen_is_possible(torch.device(device), dtype, head_size) == possible


def test_a_compiled_graph_takes_what_the_card_can_do_as_given(monkeypatch):
    asked = []
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda index: asked.append(str(index)) or (9, 0)
    )
    torch._dynamo.reset()
    assume_constant_capability()
    card = torch.device("cuda")

    def twice(numbers):
        return numbers * 2 if varlen_is_possible(card, torch.bfloat16, 64) else numbers

    compiled = torch.compile(twice, backend="eager", fullgraph=True)
    assert compiled(torch.ones(1)) == compiled(torch.ones(1)) == 2
    assert asked == ["0"]


@pytest.mark.parametrize(
    ("config", "dropout_prob", "dtype"),
    [
        (make_config(), 0.0, torch.bfloat16),
        (make_config(), 0.1, None),
        (make_config(position_embedding_type="relative_key"), 0.0, None),
    ],
    ids=["plain", "dropout", "relative_key"],
)
def test_what_the_kernel_cannot_do_keeps_the_mask(config, dropout_prob, dtype, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "cloze.model.encoder.varlen_is_possible",
        lambda device, dtype, head_size: asked.append(dtype) or True,
    )
    used = []
    monkeypatch.setattr(
        "torch.nn.attention.varlen.varlen_attn", lambda query, *_: used.append(query.dtype) or query
    )
    model = MaskedLM(config.with_dropout(dropout_prob)).train()
    with torch.autocast("cpu", torch.bfloat16):
        model(packed_rows([[7, 5]], 16), torch.zeros(1, 1, dtype=torch.long))
    assert asked == [torch.bfloat16]
    assert used == ([dtype] * 2 if dtype else [])


def test_one_graph_holds_the_whole_step_with_segments(monkeypatch):
    monkeypatch.setattr("cloze.model.encoder.varlen_is_possible", lambda *_: True)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", lambda query, *_: query)
    torch._dynamo.reset()
    graphs = []

    def counting(module, inputs):
        graphs.append(module)
        return module.forward

    model = torch.compile(MaskedLM(make_config()), backend=counting, fullgraph=True, dynamic=False)
    positions = torch.zeros(2, 1, dtype=torch.long)
    for lengths in ([[7, 5], [16]], [[4, 4, 4, 4], [2, 2]], [[3], [3]]):
        model(packed_rows(lengths, 16), positions)
    assert len(graphs) == 1
