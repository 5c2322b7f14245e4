"""Going on from an encoder of another text: vectors for the pieces that are new to it.

A new piece starts from what is known of it. `mean`: the mean of the old pieces that it is made
of. `cooccurrence`: which tokens it stands near in the new text, mapped into the old vectors' space
by the linear map that does so best, by least squares, for the old pieces of that text (as word
vectors of two languages are, Mikolov et al. 2013). `random`: drawn as those of a new encoder are,
which is what adding rows to a table does elsewhere.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cloze.model.heads import MaskedLM
from cloze.objectives.initial_embeddings import cooccurrence_embeddings
from cloze.tokens.extension import Word
from cloze.tokens.shards import Rows

# An old piece that is rarer tells the map little of where it stands.
_FEWEST_OCCURRENCES = 10


def start_new_pieces(
    model: MaskedLM,
    parts: Sequence[Word],
    rows: Rows,
    special_token_ids: frozenset[int],
    method: str,
    seed: int,
) -> None:
    """Give the last tokens of a vocabulary their first vectors, and biases of the predictions.

    parts: the old pieces of each, in the order of the ids. rows: the text to learn. method: as
    above. The bias is the mean of those of the old pieces, with `random` 0.
    """
    first = rows.vocab_size - len(parts)
    vectors, biases = model.encoder.token_embedding.weight.data, model.decoder_bias.data
    new = slice(first, rows.vocab_size)
    if method == "random":
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn((len(parts), vectors.shape[1]), generator=generator)
        vectors[new], biases[new] = drawn * model.config.initializer_range, 0.0
        return
    biases[new] = torch.stack([biases[list(ids)].mean() for ids in parts])
    if method == "mean":
        vectors[new] = torch.stack([vectors[list(ids)].mean(0) for ids in parts])
    else:
        vectors[new] = _mapped(vectors[:first].cpu(), rows, special_token_ids, seed).to(vectors)


def _mapped(old: Tensor, rows: Rows, special_token_ids: frozenset[int], seed: int) -> Tensor:
    """Return vectors of the tokens after those of `old` [V, D], by least squares over these."""
    counted = cooccurrence_embeddings(rows, special_token_ids, old.shape[1], seed).double()
    counted = torch.cat([counted, torch.ones(len(counted), 1, dtype=torch.float64)], dim=1)
    occurrences = np.bincount(rows.input_ids, minlength=rows.vocab_size)
    occurrences[sorted(special_token_ids)] = 0
    known = torch.from_numpy(np.flatnonzero(occurrences[: len(old)] >= _FEWEST_OCCURRENCES))
    # The driver that does not mind fewer tokens than dimensions.
    found = torch.linalg.lstsq(counted[known], old[known].double(), driver="gelsd")
    return counted[len(old) :] @ found.solution
