"""Positions that attention applies itself: rotary, and relative to each other.

Shape suffixes: B rows, L tokens a row, H heads, K head size.
"""

import torch
from torch import Tensor

from cloze.model.config import EncoderConfig


def rotary_angles(position_ids: Tensor, config: EncoderConfig) -> Tensor:
    """Return cosine and sine of every angle (Su et al. 2021, §3.2), float32 [2, B, 1, L, K]."""
    features = torch.arange(0, config.head_size, 2, device=position_ids.device).float()
    inverse_frequency = 1.0 / (config.rope_theta ** (features / config.head_size))
    angles = position_ids[:, None, :, None].float() * inverse_frequency
    angles = torch.cat((angles, angles), dim=-1)
    return torch.stack((angles.cos(), angles.sin()))


def rotate(states_BHLK: Tensor, rotary: Tensor) -> Tensor:
    """Apply rotary position embeddings to queries or keys; keeps shape and dtype."""
    cosine, sine = rotary
    states = states_BHLK.float()
    first, second = states.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return (states * cosine + turned * sine).to(states_BHLK.dtype)


def relative_distances(length: int, max_position_embeddings: int, device: torch.device) -> Tensor:
    """Return which distance embedding each pair of tokens takes, int64 [L, L].

    Query i and key j take number i - j + max_position_embeddings - 1, as in Hugging Face's
    BERT. In a packed row the difference of two columns is that of their positions where
    both belong to one sample; where they do not, the mask hides whatever stands there.
    """
    column = torch.arange(length, device=device)
    farthest = max_position_embeddings - 1
    return (column[:, None] - column[None, :]).clamp(-farthest, farthest) + farthest


def relative_scores(query_BHLK: Tensor, embedding_LLK: Tensor) -> Tensor:
    """Return q_i · a_ij, float [B, H, L, L]: the second term of Shaw et al. 2018, eq. 5."""
    return torch.einsum("bhik,ijk->bhij", query_BHLK, embedding_LLK)
