"""A part of a split held out so that the rest does not give it away.

What belongs together stays on one side: rows of one group, and rows that share a text. In
tasks of single texts without groups the rows may be sentences and phrases of them (SST-2), so
there a row that stands inside another one belongs to it too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cloze.corpus.contamination import ContainmentIndex, normalized_words
from cloze.tasks.task import TaskSplit

# Premises and questions have a handful, in QQP up to some 150.
_MOST_ROWS = 100


@dataclass(frozen=True)
class HoldOut:
    """Row numbers, int64, increasing: kept for training, held out, and in neither part.

    `num_groups`: how many groups were held out whole; `grouped_by`: what rows of a group have
    in common, None where each text is a group by itself. `one_sided`: classes with rows on one
    side only, as no more than one group has them.
    """

    train: np.ndarray
    held_out: np.ndarray
    removed: np.ndarray
    num_groups: int
    grouped_by: str | None
    one_sided: list[int]

    def describe(self, labels: Sequence[str]) -> str:
        """Return a sentence for the log: how many rows and groups, and what is amiss."""
        total = len(self.train) + len(self.held_out) + len(self.removed)
        found = f"held out {len(self.held_out):,} of {total:,} rows"
        if self.grouped_by:
            found += f" in {self.num_groups:,} groups of rows that share {self.grouped_by}"
        if len(self.removed):
            found += f"; {len(self.removed):,} rows that stand inside them are left out"
        if self.one_sided:
            names = ", ".join(labels[label] for label in self.one_sided)
            found += f"; rows of {names} are on one side only, as they cannot be divided"
        return found


def hold_out(split: TaskSplit, fraction: float, seed: int) -> HoldOut:
    """Hold out about a `fraction` (0..1) of a split; the seed draws it.

    Rows of pairs, and rows with a group, are joined by every text and group that they share (by
    second texts and groups alone unless the split joins first ones), also by way of other rows;
    such groups are drawn until they hold the fraction or more. Of single texts the fraction of
    the distinct ones that stand inside no other text is drawn, and rows inside a held-out one are
    in neither part. Each class is drawn to the same fraction as far as groups allow; then every
    class that has two groups gets one on each side where the others allow it. Nothing is held out
    where the rows are too few or all belong together.
    """
    if split.pairs is None and split.groups is None:
        return _hold_out_texts(split, fraction, seed)
    names, group_of_row = _joined_rows(split)
    sizes = np.bincount(group_of_row)
    wanted = round(fraction * len(split))
    # Larger ones would be more than was asked for; without them there may be too little.
    may_go = sizes <= wanted
    if sizes[may_go].sum() < wanted:
        may_go = 2 * sizes <= len(split)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[may_go[order]]
    is_chosen = np.zeros(len(sizes), dtype=bool)
    _draw_each_class(is_chosen, order, group_of_row, split.labels, fraction)
    others = order[~is_chosen[order]]
    before = sizes[is_chosen].sum() + np.cumsum(sizes[others]) - sizes[others]
    is_chosen[others[before < wanted]] = True
    _spread_classes(is_chosen, order, group_of_row, split.labels)
    is_held_out = is_chosen[group_of_row]
    nothing = np.zeros(len(split), dtype=bool)
    return _parts(split, is_held_out, nothing, int(is_chosen.sum()), names)


def _hold_out_texts(split: TaskSplit, fraction: float, seed: int) -> HoldOut:
    distinct, text_of_row = _numbered(" ".join(normalized_words(text)) for text in split.texts)
    index = ContainmentIndex(distinct)
    candidates = np.flatnonzero(~index.find_parts() & (index.lengths > 0))
    order = np.random.default_rng(seed).permutation(candidates)
    is_chosen = np.zeros(len(distinct), dtype=bool)
    is_candidate = np.isin(text_of_row, candidates)
    of_candidates = (text_of_row[is_candidate], split.labels[is_candidate])
    _draw_each_class(is_chosen, order, *of_candidates, fraction)
    missing = round(fraction * len(candidates)) - int(is_chosen.sum())
    is_chosen[order[~is_chosen[order]][: max(0, missing)]] = True
    _spread_classes(is_chosen, order, *of_candidates)
    is_inside = index.find(distinct[number] for number in np.flatnonzero(is_chosen)) & ~is_chosen
    is_held_out, is_removed = is_chosen[text_of_row], is_inside[text_of_row]
    return _parts(split, is_held_out, is_removed, int(is_chosen.sum()), None)


def _joined_rows(split: TaskSplit) -> tuple[str, np.ndarray]:
    """Return what joins rows, and int64 [num_rows]: the group of each row.

    Texts without a word join none, and neither do those that are categories rather than texts,
    such as an entity or a question that is put to all: they stand in more than half of the rows
    or in more than 100.
    """
    rows = np.arange(len(split))
    texts = [*(split.texts if split.joins_first_texts else ()), *(split.pairs or ())]
    distinct, node = _numbered(" ".join(normalized_words(text)) for text in texts)
    joins = np.bincount(node)[node] <= min(len(split) / 2, _MOST_ROWS)
    joins &= np.array([text != "" for text in distinct])[node]
    row_of_text = np.arange(len(texts)) % len(split)
    starts, ends, num_nodes = row_of_text[joins], node[joins], len(distinct)
    if split.groups is not None:
        names, group = _numbered(split.groups)
        # First, as a component has the number of its first node and is drawn by it.
        starts, ends = np.concatenate([rows, starts]), np.concatenate([group, ends + len(names)])
        num_nodes += len(names)
    component = _components(num_nodes + len(split), starts + num_nodes, ends)
    _, group_of_row = np.unique(component[num_nodes:], return_inverse=True)
    return "a text" if split.groups is None else "a text or a group", group_of_row


def _components(num_nodes: int, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the first node of each node's component, by union-find."""
    parents = list(range(num_nodes))

    def root_of(node: int) -> int:
        while (parent := parents[node]) != node:
            parents[node] = parents[parent]
            node = parent
        return node

    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        first, second = sorted((root_of(start), root_of(end)))
        parents[second] = first
    return np.array([root_of(node) for node in range(num_nodes)])


def _numbered(values: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """Return the distinct values, sorted, and the place of each value among them."""
    values = list(values)
    distinct = sorted(set(values))
    places = {value: place for place, value in enumerate(distinct)}
    return distinct, np.array([places[value] for value in values], dtype=np.int64)


def _draw_each_class(
    is_chosen: np.ndarray,
    order: np.ndarray,
    group_of_row: np.ndarray,
    labels: np.ndarray,
    fraction: float,
) -> None:
    """Choose groups in their order, unless one has more of a class than its fraction allows.

    Arguments as of `_spread_classes`. Groups of several classes may leave some classes short.
    """
    if labels.dtype.kind != "i":
        return
    pairs, counts = np.unique(np.stack([group_of_row, labels]), axis=1, return_counts=True)
    bounds = np.searchsorted(pairs[0], np.arange(len(is_chosen) + 1))
    # Rounded to the nearest number of rows.
    left = np.floor(fraction * np.bincount(labels) + 0.5)
    for group in order:
        rows = slice(bounds[group], bounds[group + 1])
        after = left[pairs[1, rows]] - counts[rows]
        if (after >= 0).all():
            left[pairs[1, rows]] = after
            is_chosen[group] = True


def _spread_classes(
    is_chosen: np.ndarray, order: np.ndarray, group_of_row: np.ndarray, labels: np.ndarray
) -> None:
    """Move groups, in their order, until the classes have some on both sides.

    is_chosen: bool [num_groups], changed in place; order: the groups that may be chosen. No
    move takes the last group of a class from its side. Other tasks have no classes.
    """
    if labels.dtype.kind != "i" or not is_chosen.any():
        return
    group, label = np.unique(np.stack([group_of_row, labels]), axis=1)
    total = np.bincount(label)
    for side in (True, False):
        here = np.bincount(label, is_chosen[group] == side, len(total))
        for missing in np.flatnonzero((total >= 2) & (here == 0)):
            elsewhere = np.bincount(label, is_chosen[group] != side, len(total))
            for candidate in order[np.isin(order, group[label == missing])]:
                # A group that was moved for another class may have brought this one along.
                if is_chosen[candidate] == side:
                    break
                if (elsewhere[label[group == candidate]] > 1).all():
                    is_chosen[candidate] = side
                    break


def _parts(
    split: TaskSplit,
    is_held_out: np.ndarray,
    is_removed: np.ndarray,
    num_groups: int,
    grouped_by: str | None,
) -> HoldOut:
    is_train = ~is_held_out & ~is_removed
    one_sided = []
    if split.labels.dtype.kind == "i":
        trained, tested = (np.unique(split.labels[side]) for side in (is_train, is_held_out))
        one_sided = np.setxor1d(trained, tested).tolist()
    train, held_out, removed = map(np.flatnonzero, (is_train, is_held_out, is_removed))
    return HoldOut(train, held_out, removed, num_groups, grouped_by, one_sided)
