import math

import torch

from cloze.model.attention import SelfAttention, attention_context
from cloze.model.positions import relative_distances
from tests.tiny_model import make_config, packed_rows, perturbed


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
