"""Answers to questions as spans of a context: where one starts and where it ends."""

import torch
from torch import Tensor

# Where a row has no n-th window; finite, so that a weight of 0 makes it 0.
_LOWEST = -1e30


def span_losses(logits_BL2: Tensor, sample_ids_BL: Tensor, columns_BN2: Tensor) -> Tensor:  # noqa: N803
    """Return each window's loss, float32 [B, N]: the mean of the cross-entropies of both ends.

    logits_BL2: of start and end at each token; sample_ids_BL: as in `PackedBatch`;
    columns_BN2: int64, the tokens of the row where each window's answer starts and ends. The
    softmax of a window is over its own tokens (Devlin et al. 2019, section 4.2), whatever else is
    in the row. What stands where a row has no n-th window means nothing.
    """
    logits = logits_BL2.float()
    numbers_N = torch.arange(1, columns_BN2.shape[1] + 1, device=logits.device)
    is_own_BNL = sample_ids_BL[:, None, :] == numbers_N[:, None]
    own_BN2L = logits.mT[:, None].masked_fill(~is_own_BNL[:, :, None], _LOWEST)
    chosen_BN2 = logits.gather(1, columns_BN2)
    return (own_BN2L.logsumexp(-1) - chosen_BN2).mean(-1)
