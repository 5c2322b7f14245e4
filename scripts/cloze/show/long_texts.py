"""What an encoder makes of long texts: its loss by position, and words it has seen far before.

Both are measured on the validation split, whose samples no training has seen.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cloze.model.device import Compute
from cloze.model.encoder import PackedBatch
from cloze.model.heads import MaskedLM
from cloze.objectives.initial_embeddings import unigram_log_probabilities
from cloze.objectives.mlm import PretrainingData
from cloze.objectives.rows import RowBatches, has_pairs
from cloze.tasks.statistics import summarise
from cloze.tokens.shards import Rows

_BINS = 8
# Enough for a standard error of some hundredths of a nat in each of eight bins.
_TOKENS = 1 << 18
_BATCH_TOKENS = 1 << 13
_NEAREST, _RARE = 16, 1e-4
_PAIRS, _SEARCHED_SAMPLES = 64, 1 << 14


def loss_by_position(
    model: MaskedLM, batches: RowBatches, max_length: int, compute: Compute
) -> list[dict[str, Any]]:
    """Return masked-LM losses in eight equal bins of the position in a sample.

    A bin has the positions `first` to `last`, the number of `predictions` there, their mean `loss`
    (nats) and its `standard_error`; None where no or one prediction tells none.
    """
    width = -(-max_length // _BINS)
    sums = np.zeros((3, _BINS))
    rows = -(-_TOKENS // batches.row_length)
    size = max(1, _BATCH_TOKENS // batches.row_length)
    for batch in batches.spread_rows(rows).evaluation_batches(size):
        asked = batch.weights > 0
        guessed = _guess(model, batch.packed, batch.positions, batch.labels, compute)
        losses = guessed.losses[asked].numpy()
        bins = batch.packed.position_ids.gather(1, batch.positions)[asked].numpy() // width
        for power in range(3):
            sums[power] += np.bincount(bins, losses**power, minlength=_BINS)
    return [
        {
            "first": number * width,
            "last": min((number + 1) * width, max_length) - 1,
            "predictions": int(count),
            "loss": total / count if count else None,
            "standard_error": _standard_error(count, total, squares) if count > 1 else None,
        }
        for number, (count, total, squares) in enumerate(sums.T.tolist())
        if number * width < max_length
    ]


def _standard_error(count: float, total: float, squares: float) -> float:
    """Return that of a mean, from the sums of so many values and of their squares."""
    variance = max(0.0, squares - total * total / count) / (count - 1)
    return math.sqrt(variance / count)


def repeated_words(
    model: MaskedLM, data: PretrainingData, compute: Compute
) -> list[dict[str, Any]]:
    """Return what it brings an encoder to have seen a rare word before, by how far before.

    Of a sample in which a rare word of one token stands exactly twice, the second one is masked and
    predicted: as the sample is, and with the first one masked as well, which takes it out of the
    context as Khandelwal et al. 2018 do. Rare is a word that makes up less than one in 10,000
    tokens of the training split. For each doubling of the distance, `first` to `last` tokens, there
    are up to 64 `pairs`, a fixed draw: the share guessed right where the first one is `seen` and
    where it is `masked`, and the mean `gain` of seeing it in nats, with its `ci95`, None for a
    single pair. Distances without a pair are left out, and samples that are two texts have none.
    """
    shown = []
    for nearest, pairs in sorted(_find_pairs(data).items()):
        seen = _guess_second(model, data, pairs, False, compute)
        masked = _guess_second(model, data, pairs, True, compute)
        gain = summarise((masked.losses - seen.losses).tolist())
        shown.append(
            {
                "first": nearest,
                "last": min(2 * nearest, data.validation_rows.max_length) - 1,
                "pairs": len(pairs),
                "seen": seen.right.double().mean().item(),
                "masked": masked.right.double().mean().item(),
                "gain": gain.mean,
                "ci95": None if gain.ci95 is None else list(gain.ci95),
            }
        )
    return shown


class _Pair(NamedTuple):
    """Where a word stands twice in a sample of the validation split."""

    sample: int
    first: int
    second: int


def _find_pairs(data: PretrainingData) -> dict[int, list[_Pair]]:
    """Return pairs by the power of 2 at or below their distance, one of a sample in each."""
    rows = data.validation_rows
    if has_pairs(rows):
        return {}
    is_rare = unigram_log_probabilities(data.train_rows, data.special.all) < math.log(_RARE)
    is_rare[sorted(data.special.all)] = False
    farthest = 1 << (rows.max_length - 1).bit_length() - 1
    distances = [_NEAREST << n for n in range((farthest // _NEAREST).bit_length())]
    found: dict[int, list[_Pair]] = {}
    generator = np.random.default_rng(0)
    for sample in generator.permutation(rows.num_samples)[:_SEARCHED_SAMPLES].tolist():
        for distance, pair in _pairs_of(rows, sample, is_rare, generator).items():
            pairs = found.setdefault(distance, [])
            pairs += [pair] if len(pairs) < _PAIRS else []
        if all(len(found.get(distance, ())) == _PAIRS for distance in distances):
            break
    return found


def _pairs_of(
    rows: Rows, sample: int, is_rare: np.ndarray, generator: np.random.Generator
) -> dict[int, _Pair]:
    start, stop = rows.sample_offsets[sample : sample + 2]
    ids, starts = rows.input_ids[start:stop], rows.word_starts[start:stop]
    is_whole = starts & np.append(starts[1:], True)
    tokens, counts = np.unique(ids, return_counts=True)
    pairs: dict[int, _Pair] = {}
    for token in generator.permutation(tokens[(counts == 2) & is_rare[tokens]]):
        first, second = np.flatnonzero(ids == token).tolist()
        if second - first >= _NEAREST and is_whole[first] and is_whole[second]:
            nearest = 1 << (second - first).bit_length() - 1
            pairs.setdefault(nearest, _Pair(sample, first, second))
    return pairs


class _Guesses(NamedTuple):
    """Losses in nats, float64, and whether the likeliest token is the right one, bool."""

    losses: Tensor
    right: Tensor


def _guess_second(
    model: MaskedLM, data: PretrainingData, pairs: Sequence[_Pair], hides: bool, compute: Compute
) -> _Guesses:
    """Predict the second word of each pair, [pairs], with the first one masked or not."""
    size = max(1, _BATCH_TOKENS // data.validation_rows.max_length)
    found = []
    for begin in range(0, len(pairs), size):
        packed, positions, labels = _masked_pairs(data, pairs[begin : begin + size], hides)
        found.append(_guess(model, packed, positions, labels, compute))
    return _Guesses(*(torch.cat(parts).flatten() for parts in zip(*found, strict=True)))


def _masked_pairs(
    data: PretrainingData, pairs: Sequence[_Pair], hides: bool
) -> tuple[PackedBatch, Tensor, Tensor]:
    """Return a sample a row, and position and label of its prediction, int64 [B, 1] each."""
    rows, shape = data.validation_rows, (len(pairs), data.validation_rows.max_length)
    input_ids = np.full(shape, data.special.pad, dtype=np.int64)
    is_text = np.zeros(shape, dtype=bool)
    for row, pair in enumerate(pairs):
        start, stop = rows.sample_offsets[pair.sample : pair.sample + 2]
        input_ids[row, : stop - start] = rows.input_ids[start:stop]
        is_text[row, : stop - start] = True
    positions = np.array([[pair.second] for pair in pairs])
    labels = np.take_along_axis(input_ids, positions, axis=1)
    hidden = np.array([[pair.first, pair.second] if hides else [pair.second] for pair in pairs])
    np.put_along_axis(input_ids, hidden, data.special.mask, axis=1)
    packed = PackedBatch(
        torch.from_numpy(input_ids),
        torch.from_numpy(np.where(is_text, np.arange(shape[1]), 0)),
        torch.from_numpy(is_text.astype(np.int64)),
        max_samples_per_row=1,
    )
    return packed, torch.from_numpy(positions), torch.from_numpy(labels)


@torch.no_grad()
def _guess(
    model: MaskedLM, packed: PackedBatch, positions: Tensor, labels: Tensor, compute: Compute
) -> _Guesses:
    """Predict the tokens at `positions`, int64 [B, M] like `labels`; both results are [B, M]."""
    model.eval()
    device = compute.torch_device
    with compute.autocast():
        logits = model(packed.to(device), positions.to(device)).float().cpu()
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return _Guesses(losses.view_as(labels).double(), logits.argmax(-1) == labels)
