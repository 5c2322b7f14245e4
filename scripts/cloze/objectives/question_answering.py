"""Answers to questions as spans of a context: where one starts and where it ends."""

import torch
from torch import Tensor

# Where a row has no n-th window; finite, so that a weight of 0 makes it 0.
_LOWEST = -1e30


def span_losses(logits: Tensor, sample_ids: Tensor, columns: Tensor) -> Tensor:
    """Return each window's loss, float32 [B, N]: the mean of the cross-entropies of both ends.

    logits: [B, L, 2], of start and end at each token; sample_ids: [B, L] as in `PackedBatch`;
    columns: int64 [B, N, 2], the tokens of the row where each window's answer starts and ends.
    The softmax of a window is over its own tokens (Devlin et al. 2019, section 4.2), whatever
    else is in the row. What stands where a row has no n-th window means nothing.
    """
    logits = logits.float()
    numbers = torch.arange(1, columns.shape[1] + 1, device=logits.device)
    is_own = sample_ids[:, None, :] == numbers[:, None]
    own = logits.mT[:, None].masked_fill(~is_own[:, :, None], _LOWEST)
    return (own.logsumexp(-1) - logits.gather(1, columns)).mean(-1)
