"""How often each token occurs: what a model knows of a text before it reads any context."""

import numpy as np

from cloze.tokens.shards import Rows


def unigram_log_probabilities(rows: Rows, special_token_ids: frozenset[int]) -> np.ndarray:
    """Return float64 [V], the logarithm of each token's share of the rows' tokens.

    With add-one smoothing, and as if special tokens, which are never predicted, did not occur.
    """
    counts = np.bincount(rows.input_ids, minlength=rows.vocab_size) + 1.0
    counts[sorted(special_token_ids)] = 1.0
    return np.asarray(np.log(counts / counts.sum()))
