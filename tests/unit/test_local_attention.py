"""Attention to a window in blocks: the values and gradients of the mask, at a cost linear in L."""

import pytest
import torch

from cloze.model.encoder import PackedBatch, attention_context
from cloze.model.heads import MaskedLM
from cloze.model.kernels import attend, attend_blocks, block_mask, is_worth_blocks
from tests.tiny_model import draw_ids, gradients, make_config, packed_rows, perturbed


def states(length, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, length, 8, generator=generator, requires_grad=True) for _ in range(3)]


@pytest.mark.parametrize("window", [1, 3, 32, 40])
@pytest.mark.parametrize(
    "lengths", [([200],) * 2, ([70, 1, 90], [128]), ([31, 33, 32, 64], [2])],
    ids=["whole", "packed", "at the bounds of blocks"],
)  # fmt: skip
def test_blocks_give_the_values_and_gradients_of_the_mask(window, lengths):
    batch = packed_rows(lengths, row_length=203)
    upstream = torch.randn(2, 3, 203, 8, generator=torch.Generator().manual_seed(4))
    plain_states, blocked_states = states(203, 1), states(203, 1)
    plain = attend(*plain_states, batch.attention_mask(window=window), 0.0)
    blocked = attend_blocks(*blocked_states, block_mask(batch.sample_ids, window), 0.0)
    assert (plain - blocked).abs().max() < 1e-5
    (plain * upstream).sum().backward()
    (blocked * upstream).sum().backward()
    for one, other in zip(plain_states, blocked_states, strict=True):
        assert (one.grad - other.grad).abs().max() < 1e-5


def test_neighbours_of_other_samples_stay_hidden():
    batch = packed_rows([[100, 103]], row_length=203)
    query, key, value = states(203, 1)
    mask = block_mask(batch.sample_ids, 40)[:1]
    before = attend_blocks(query[:1], key[:1], value[:1], mask, 0.0)
    changed = value.detach().clone()
    changed[:, :, 100:] += 1
    after = attend_blocks(query[:1], key[:1], changed[:1], mask, 0.0)
    assert torch.equal(before[:, :, :100], after[:, :, :100])
    assert (before[:, :, 100:] - after[:, :, 100:]).abs().min() > 0


@pytest.mark.parametrize("last_is_global", [True, False])
def test_an_encoder_reads_long_rows_as_it_reads_short_ones(last_is_global, monkeypatch):
    config = make_config(
        "modernbert", num_hidden_layers=4 if last_is_global else 3, local_attention=9,
        global_attn_every_n_layers=3, max_position_embeddings=256,
    )  # fmt: skip
    model = perturbed(MaskedLM(config))
    batch = packed_rows([[150, 60], [233]], row_length=240)
    positions = torch.tensor([[1, 8, 200], [3, 4, 100]])
    context = attention_context(batch, config, torch.float32, 0.0, None, is_global=False)
    assert context.blocks is not None

    def found():
        logits = model(batch, positions)
        upstream = draw_ids(*logits.shape).float() / 64
        return logits, gradients(model, (logits * upstream).mean())

    blocked, blocked_gradients = found()
    monkeypatch.setattr("cloze.model.encoder.is_worth_blocks", lambda *_: False)
    plain, plain_gradients = found()
    assert (blocked - plain).abs().max() < 1e-4
    for name, gradient in plain_gradients.items():
        assert (blocked_gradients[name] - gradient).abs().max() < 1e-4, name


def test_local_layers_see_their_window_alone():
    config = make_config(
        "modernbert", num_hidden_layers=1, local_attention=8,
        layer_types=("sliding_attention",), max_position_embeddings=64,
    )  # fmt: skip
    model = perturbed(MaskedLM(config))
    ids = draw_ids(1, 40)
    other = ids.clone()
    other[0, 20] = (other[0, 20] - 4) % 59 + 5
    positions = torch.arange(40)[None]
    batches = [PackedBatch(x, positions, torch.ones_like(ids)) for x in (ids, other)]
    one, two = (model.encoder(batch) for batch in batches)
    changed = (one != two).any(dim=-1)[0]
    assert changed.nonzero().flatten().tolist() == list(range(16, 25))


def test_what_is_computed_grows_with_the_length_alone():
    sizes = [block_mask(torch.ones(1, length, dtype=torch.long), 64).numel()
             for length in (2048, 8192)]  # fmt: skip
    assert sizes == [2048 * 192, 8192 * 192]
    assert is_worth_blocks(512, 64)
    assert not is_worth_blocks(128, 64)


def test_dropout_leaves_out_weights_of_blocks():
    query, key, value = states(256, 1)
    mask = block_mask(torch.ones(2, 256, dtype=torch.long), 8)
    torch.manual_seed(3)
    one = attend_blocks(query, key, value, mask, 0.5)
    assert not torch.equal(one, attend_blocks(query, key, value, mask, 0.5))
    torch.manual_seed(3)
    assert torch.equal(one, attend_blocks(query, key, value, mask, 0.5))


@pytest.mark.parametrize("has_window", [True, False])
def test_the_kernel_of_a_gpu_gets_the_window_where_it_takes_one(has_window, monkeypatch):
    asked = []

    def kernel(query, key, value, *_, window_size=(-1, -1)):
        asked.append(window_size)
        return query

    monkeypatch.setattr("cloze.model.encoder.varlen_is_possible", lambda *_: True)
    monkeypatch.setattr("cloze.model.encoder.varlen_has_window", lambda: has_window)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    config = make_config("modernbert", global_attn_every_n_layers=2, local_attention=6)
    model = MaskedLM(config)
    model.encoder(packed_rows([[7, 5]], 16))
    assert asked == ([(-1, -1), (3, 3), (-1, -1)] if has_window else [(-1, -1), (-1, -1)])
