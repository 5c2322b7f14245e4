"""A part of a split held out so that the rest does not give it away."""

import numpy as np

from cloze.corpus.containment import HoldOut, grouped_hold_out
from cloze.tasks.task import TaskSplit


def hold_out(split: TaskSplit, fraction: float, seed: int) -> HoldOut:
    """Hold out about a `fraction` (0..1) of a split.

    Where its rows have groups, whole groups are drawn until they hold that many rows or
    more. Else rows are drawn as `grouped_hold_out` does; of pairs both texts are one row.
    """
    if split.groups is None:
        return grouped_hold_out(split.whole_texts, fraction, seed)
    names, group_of_row, sizes = np.unique(split.groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(sizes[order]) - sizes[order]
    is_held_out = np.zeros(len(names), dtype=bool)
    is_held_out[order[before < round(fraction * len(split))]] = True
    rows = is_held_out[group_of_row]
    return HoldOut(np.flatnonzero(~rows), np.flatnonzero(rows), np.empty(0, dtype=np.int64))
