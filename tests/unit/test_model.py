import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from cloze.errors import ClozeError
from cloze.model.config import LAYOUTS
from cloze.model.encoder import (
    EncoderConfig,
    PackedBatch,
    SelfAttention,
    attention_context,
    relative_distances,
)
from cloze.model.heads import MaskedLM
from tests.tiny_model import (
    VOCAB_SIZE,
    draw_ids,
    gradients,
    make_config,
    packed_rows,
    perturbed,
    single_samples,
)

VARIANTS = [*((layout, "absolute") for layout in LAYOUTS), ("bert", "relative_key")]


def build(layout: str, position_embedding_type: str = "absolute") -> MaskedLM:
    config = make_config(layout, position_embedding_type=position_embedding_type)
    return perturbed(MaskedLM(config))


def mean_loss(model: MaskedLM, batch: PackedBatch, positions: torch.Tensor) -> torch.Tensor:
    labels = draw_ids(*positions.shape, seed=3)
    return F.cross_entropy(model(batch, positions).flatten(0, 1), labels.flatten())


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
@pytest.mark.parametrize(("layout", "position_embedding_type"), VARIANTS)
def test_states_at_some_positions_are_those_of_all(
    layout, position_embedding_type, gradient_checkpointing
):
    model = build(layout, position_embedding_type).train()
    model.encoder.gradient_checkpointing = gradient_checkpointing
    batch = packed_rows([[7, 5], [9]], row_length=14)
    positions = torch.tensor([[0, 7, 3, 3], [8, 1, 0, 0]])
    upstream = torch.randn(2, 4, 32, generator=torch.Generator().manual_seed(4))

    some = model.encoder(batch, positions)
    found = gradients(model.encoder, (some * upstream).sum())
    all_states = model.encoder(batch)
    wanted = torch.stack([row[where] for row, where in zip(all_states, positions, strict=True)])
    expected = gradients(model.encoder, (wanted * upstream).sum())

    torch.testing.assert_close(some, wanted, atol=1e-5, rtol=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("layout", "position_embedding_type"), VARIANTS)
def test_a_packed_document_reads_as_if_alone(layout, position_embedding_type):
    model = build(layout, position_embedding_type)
    packed = packed_rows([[7, 5]], row_length=16)
    together = model(packed, torch.arange(12)[None])
    alone = torch.cat(
        [
            model(single_samples(part), torch.arange(part.shape[1])[None])
            for part in (packed.input_ids[:, :7], packed.input_ids[:, 7:12])
        ],
        dim=1,
    )
    assert (together - alone).abs().max() < 1e-4
    assert together.isfinite().all()
    assert packed.first_tokens().nonzero().tolist() == [[0, 0], [0, 7]]


@pytest.mark.parametrize(("layout", "position_embedding_type"), VARIANTS)
def test_perturbing_one_document_leaves_its_neighbours_alone(layout, position_embedding_type):
    model = build(layout, position_embedding_type)
    batch = packed_rows([[7, 5, 6], [9, 8]], row_length=20)
    other_ids = batch.input_ids.clone()
    other_ids[0, 7:12] = draw_ids(5, seed=9)
    assert not torch.equal(other_ids, batch.input_ids)
    neighbours = torch.tensor([[*range(7), *range(12, 18)], range(13)])
    outcomes = []
    for input_ids in (batch.input_ids, other_ids):
        changed = PackedBatch(input_ids, batch.position_ids, batch.sample_ids)
        logits = model(changed, neighbours)
        outcomes.append((logits, gradients(model, mean_loss(model, changed, neighbours))))
    (logits, grads), (other_logits, other_grads) = outcomes
    assert torch.equal(logits, other_logits)
    assert all(torch.equal(grads[name], other_grads[name]) for name in grads)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_sparse_head_equals_the_dense_one_in_loss_and_gradients(layout):
    model = build(layout)
    batch = packed_rows([[10, 6], [16]], row_length=16)
    positions = torch.tensor([[3, 1, 12], [15, 0, 7]])
    labels = draw_ids(2, 3, seed=3)
    sparse_loss = F.cross_entropy(model(batch, positions).flatten(0, 1), labels.flatten())
    sparse = gradients(model, sparse_loss)

    dense_logits = model(batch, torch.arange(16).expand(2, 16))
    dense_labels = torch.full((2, 16), -100).scatter(1, positions, labels)
    dense_loss = F.cross_entropy(dense_logits.flatten(0, 1), dense_labels.flatten())
    dense = gradients(model, dense_loss)

    assert sparse_loss.item() == pytest.approx(dense_loss.item(), rel=1e-6)
    for name, gradient in dense.items():
        scale = gradient.abs().max() + 1e-6
        assert (sparse[name] - gradient).abs().max() < 1e-5 * scale, name


@pytest.mark.parametrize(("layout", "position_embedding_type"), VARIANTS)
def test_the_loss_at_the_start_is_that_of_a_guess(layout, position_embedding_type):
    torch.manual_seed(0)
    config = make_config(
        layout, vocab_size=4096, hidden_size=128, position_embedding_type=position_embedding_type
    )
    model = MaskedLM(config)
    loss = mean_loss(model, packed_rows([[20, 12]] * 8, 32), torch.arange(32).expand(8, 32))
    assert loss.item() == pytest.approx(math.log(4096), rel=0.02)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradient_checkpointing_changes_no_gradient(layout):
    model = build(layout).train()
    batch, positions = packed_rows([[7, 5], [12]], 16), torch.tensor([[1, 8], [3, 4]])
    plain = gradients(model, mean_loss(model, batch, positions))
    calls = []
    model.encoder.layers[0].register_forward_pre_hook(lambda *_: calls.append(1))
    model.encoder.gradient_checkpointing = True
    kept_small = gradients(model, mean_loss(model, batch, positions))
    assert len(calls) == 2
    assert all(torch.equal(plain[name], kept_small[name]) for name in plain)


def test_gradient_checkpointing_repeats_the_dropout_it_drew():
    model = perturbed(MaskedLM(make_config().with_dropout(0.3))).train()
    batch, positions = packed_rows([[7, 5], [12]], 16), torch.tensor([[1, 8], [3, 4]])
    outcomes = []
    for gradient_checkpointing in (False, True):
        model.encoder.gradient_checkpointing = gradient_checkpointing
        torch.manual_seed(5)
        outcomes.append(gradients(model, mean_loss(model, batch, positions)))
    assert all(torch.equal(outcomes[0][name], outcomes[1][name]) for name in outcomes[0])


@pytest.mark.parametrize(("layout", "position_embedding_type"), VARIANTS)
def test_long_rows_are_read_as_short_ones_are(layout, position_embedding_type, monkeypatch):
    model = build(layout, position_embedding_type)
    batch, positions = packed_rows([[7, 5], [12]], 16), torch.tensor([[1, 8], [3, 4]])
    plain = gradients(model, mean_loss(model, batch, positions))
    monkeypatch.setattr("cloze.model.kernels._LONGEST_PLAIN_ROW", 15)
    fused = gradients(model, mean_loss(model, batch, positions))
    for name, gradient in plain.items():
        assert (fused[name] - gradient).abs().max() < 1e-5, name


def test_no_token_types_means_that_all_are_of_the_first():
    model = build("bert")
    ids, positions = draw_ids(2, 10), torch.arange(10).expand(2, 10)
    plain = model(single_samples(ids), positions)
    typed = model(single_samples(ids, torch.zeros_like(ids)), positions)
    assert torch.equal(plain, typed)
    second = torch.cat([torch.zeros(2, 6), torch.ones(2, 4)], dim=1).long()
    assert (model(single_samples(ids, second), positions) - plain).abs().max() > 1e-2


def test_a_batch_moves_with_all_it_has():
    batch = packed_rows([[3, 4]], 8, max_samples_per_row=2)
    moved = PackedBatch(**{**vars(batch), "token_type_ids": batch.sample_ids}).to(
        torch.device("meta")
    )
    assert moved.max_samples_per_row == 2
    assert moved.token_type_ids.device.type == "meta"
    assert batch.to(torch.device("cpu")).token_type_ids is None


def test_the_head_runs_at_the_predicted_positions_alone():
    model = build("bert")
    batch = single_samples(draw_ids(2, 10))
    everywhere = model(batch, torch.arange(10).expand(2, 10))
    some = model(batch, torch.tensor([[3, 1], [9, 0]]))
    assert some.shape == (2, 2, VOCAB_SIZE)
    assert torch.allclose(some[0, 1], everywhere[0, 1], atol=1e-6)
    assert torch.allclose(some[1, 0], everywhere[1, 9], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": 3}, "num_attention_heads: 3 does not divide hidden_size 32"),
        ({"layout": "gpt"}, "layout: 'gpt' is unknown"),
        ({"layout": "modernbert", "hidden_size": 12}, "rotary positions need an even number"),
        ({"position_embedding_type": "alibi"}, "position_embedding_type: 'alibi' is unknown"),
        (
            {"layout": "modernbert", "position_embedding_type": "relative_key"},
            "relative_key needs layout bert",
        ),
    ],
)
def test_impossible_shapes_are_named(changes, message):
    with pytest.raises(ClozeError, match=message):
        EncoderConfig(**{"vocab_size": 10, "hidden_size": 32, **changes})


def relative_attention(attention: SelfAttention, hidden, position_ids, sample_ids, farthest):
    """One row by Shaw et al. 2018, eq. 5 and eq. 1 (their a^K alone), token by token.

    Distances are numbered as by version 4 of Hugging Face's BERT.
    """
    heads, length = attention.num_heads, len(hidden)
    query, key, value = attention.qkv(hidden).view(length, 3, heads, -1).unbind(1)
    gathered = torch.zeros_like(value)
    for head in range(heads):
        for i in range(length):
            seen = [j for j in range(length) if sample_ids[j] == sample_ids[i]]
            scores = []
            for j in seen:
                distance = int(position_ids[i] - position_ids[j])
                between = attention.distance_embedding.weight[distance + farthest]
                scores.append(query[i, head] @ (key[j, head] + between))
            weights = (torch.stack(scores) / math.sqrt(query.shape[-1])).softmax(0)
            gathered[i, head] = sum(
                weight * value[j, head] for weight, j in zip(weights, seen, strict=True)
            )
    return attention.output(gathered.flatten(1))


def test_relative_positions_follow_the_paper_within_each_sample():
    config = make_config(position_embedding_type="relative_key", max_position_embeddings=8)
    attention = perturbed(SelfAttention(config, bias=True))
    # The row is longer than any sample may be.
    batch = packed_rows([[7, 2, 5], [8, 4]], row_length=16)
    hidden = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(4))
    context = attention_context(batch, config, torch.float32, dropout_prob=0.0)
    ours = attention(hidden, context)
    for row in range(2):
        expected = relative_attention(
            attention, hidden[row], batch.position_ids[row], batch.sample_ids[row], farthest=7
        )
        tokens = batch.sample_ids[row] > 0
        assert (ours[row] - expected)[tokens].abs().max() < 1e-5


def test_distances_are_those_of_positions_wherever_they_are_seen():
    batch = packed_rows([[7, 2, 5]], row_length=14)
    distances = relative_distances(14, 8, torch.device("cpu"))
    positions, samples = batch.position_ids[0], batch.sample_ids[0]
    same = samples[:, None] == samples[None, :]
    assert torch.equal(distances[same], (positions[:, None] - positions[None, :] + 7)[same])
    assert distances.min() == 0
    assert distances.max() == 14
