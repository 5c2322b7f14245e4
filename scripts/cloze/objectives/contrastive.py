"""What a batch of vectors costs: pairs among the batch's other texts, and pairs with scores.

P pairs of a batch, C candidates, D hidden size. Vectors may have any length and type; costs are
float32.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def multiple_negatives_ranking_loss(
    anchors: Tensor, candidates: Tensor, is_false: Tensor, temperature: float
) -> Tensor:
    """Return the mean cross-entropy of each anchor's own candidate among all, a scalar.

    anchors [P, D]; candidates [C, D]: number p is the positive of anchor p, all others are its
    negatives, those from P on hard ones, apart from what `is_false`, bool [P, C], names.
    Logits are cosines over the temperature: InfoNCE (van den Oord et al. 2018) with the batch as
    negatives (Henderson et al. 2017, §4.4), as SimCSE has it too (Gao et al. 2021, eqs. 1 and 5).
    """
    with torch.autocast(anchors.device.type, enabled=False):
        anchors, candidates = (F.normalize(v.float(), dim=-1) for v in (anchors, candidates))
        logits = anchors @ candidates.T / temperature
    own = torch.arange(len(anchors), device=logits.device)
    return F.cross_entropy(logits.masked_fill(is_false, -torch.inf), own)


def false_negatives(anchor_ids: Tensor, candidate_ids: Tensor) -> Tensor:
    """Return bool [P, C]: which candidates answer an anchor though they are not its own positive.

    anchor_ids [P], candidate_ids [C]: int64, equal where texts are. What reads as the anchor's
    positive does, and so do the positives of anchors that read the same.
    """
    num_pairs = len(anchor_ids)
    own = torch.eye(num_pairs, len(candidate_ids), dtype=torch.bool, device=anchor_ids.device)
    is_same = candidate_ids[:num_pairs, None] == candidate_ids[None, :]
    is_same[:, :num_pairs] |= anchor_ids[:, None] == anchor_ids[None, :]
    return is_same & ~own


def cosent_loss(first: Tensor, second: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """Return log(1 + Σ exp((cos_j - cos_i) / temperature)) over pairs i that score above j.

    first, second [P, D]; scores float32 [P], of any scale: the order of the cosines is to be
    theirs, and equal ones ask for nothing (CoSENT, Su 2022).
    """
    cosines = F.cosine_similarity(first.float(), second.float(), dim=-1) / temperature
    differences = cosines[None, :] - cosines[:, None]
    is_above = scores[:, None] > scores[None, :]
    terms = differences.masked_fill(~is_above, -torch.inf).flatten()
    return torch.logsumexp(torch.cat([terms.new_zeros(1), terms]), dim=0)
