import numpy as np

from cloze.tasks.hold_out import hold_out
from cloze.tasks.task import TaskSplit


def split_of(groups):
    size = len(groups)
    return TaskSplit([f"text {n}" for n in range(size)], np.zeros(size, np.int64), None, groups)


def test_a_group_is_never_divided():
    groups = [f"g{number // 7}" for number in range(350)]
    parts = hold_out(split_of(groups), 0.2, seed=3)
    assert not {groups[row] for row in parts.train} & {groups[row] for row in parts.held_out}
    assert sorted([*parts.train, *parts.held_out]) == list(range(350))
    assert 70 <= len(parts.held_out) < 77
    again = hold_out(split_of(groups), 0.2, seed=3)
    assert np.array_equal(again.held_out, parts.held_out)
    assert not np.array_equal(hold_out(split_of(groups), 0.2, seed=4).held_out, parts.held_out)


def test_a_pair_is_held_out_as_one_row():
    texts = [f"w{number} w{number}x" for number in range(40)]
    pairs = ["the same for all"] * 40
    parts = hold_out(TaskSplit(texts, np.zeros(40, np.int64), pairs), 0.25, seed=0)
    assert (len(parts.train), len(parts.held_out), len(parts.removed)) == (30, 10, 0)
