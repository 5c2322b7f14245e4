import numpy as np
import pytest

from cloze.tasks.hold_out import hold_out
from cloze.tasks.task import TaskSplit
from tests.unit.test_containment import random_texts, stands_inside


def split_of(texts, *, labels=None, pairs=None, groups=None):
    labels = np.zeros(len(texts), np.int64) if labels is None else np.array(labels)
    return TaskSplit(list(texts), labels, pairs, groups)


def numbered(count):
    return [f"text {number}" for number in range(count)]


def sides(parts, values):
    return ({values[row] for row in part} for part in (parts.train, parts.held_out))


def test_a_group_is_never_divided():
    groups = [f"g{number // 7}" for number in range(350)]
    split = split_of(numbered(350), groups=groups)
    parts = hold_out(split, 0.2, seed=3)
    train, held_out = sides(parts, groups)
    assert not train & held_out
    assert sorted([*parts.train, *parts.held_out]) == list(range(350))
    assert 70 <= len(parts.held_out) < 77
    again = hold_out(split, 0.2, seed=3)
    assert np.array_equal(again.held_out, parts.held_out)
    assert not np.array_equal(hold_out(split, 0.2, seed=4).held_out, parts.held_out)


def test_a_question_put_to_all_rows_joins_none_of_them():
    texts = [f"w{number} w{number}x" for number in range(40)]
    parts = hold_out(split_of(texts, pairs=["the same for all"] * 40), 0.25, seed=0)
    assert (len(parts.train), len(parts.held_out), len(parts.removed)) == (30, 10, 0)


def test_entities_beside_the_texts_join_no_groups():
    groups = [f"tweet {number // 2}" for number in range(600)]
    entities = [f"entity {number % 4}" for number in range(600)]
    parts = hold_out(split_of(numbered(600), pairs=entities, groups=groups), 0.1, seed=0)
    assert (len(parts.held_out), parts.num_groups) == (60, 30)


@pytest.mark.parametrize("seed", range(5))
def test_pairs_that_share_either_text_stay_together(seed):
    rng = np.random.default_rng(seed)
    # Three hypotheses a premise; some of them are premises elsewhere, in other case.
    premises = [f"premise {number // 3}" for number in range(300)]
    others = [
        f"PREMISE  {rng.integers(100)}" if rng.random() < 0.1 else f"hypothesis {number}"
        for number in range(300)
    ]
    parts = hold_out(split_of(premises, pairs=others), 0.1, seed)
    train, held_out = sides(parts, list(zip(premises, others, strict=True)))
    texts = [
        {" ".join(t.lower().split()) for row in side for t in row} for side in (train, held_out)
    ]
    assert not texts[0] & texts[1]
    assert 30 <= len(parts.held_out) <= 60
    assert not len(parts.removed)
    assert parts.describe(["no", "yes"]) == (
        f"held out {len(parts.held_out)} of 300 rows in {parts.num_groups} groups of rows that "
        "share a text"
    )


def test_groups_that_share_a_text_are_one_group():
    texts = [f"text {number % 60}" for number in range(120)]
    groups = [f"g{number // 4}" for number in range(120)]
    parts = hold_out(split_of(texts, groups=groups), 0.2, seed=0)
    for values in (texts, groups):
        train, held_out = sides(parts, values)
        assert not train & held_out
    assert parts.describe(["a"]).endswith("groups of rows that share a text or a group")


def test_rows_without_a_word_do_not_join_groups():
    groups = [f"g{number // 4}" for number in range(120)]
    texts = ["..." if number % 40 == 0 else f"text {number}" for number in range(120)]
    texts[1] = texts[41] = ""
    assert hold_out(split_of(texts, groups=groups), 0.2, seed=0).num_groups == 6


def test_where_all_rows_belong_together_none_is_held_out():
    chain = [f"text {number}" for number in range(20)]
    parts = hold_out(split_of(chain[:-1], pairs=chain[1:]), 0.2, seed=0)
    assert not len(parts.held_out)


def in_groups(count):
    return {"groups": [f"g{number // 2}" for number in range(count)]}


@pytest.mark.parametrize("more", [{}, in_groups(300)])
def test_a_rare_class_is_on_both_sides(more):
    labels = [1] * 6 + [2] * 2 + [0] * 292
    for seed in range(50):
        parts = hold_out(split_of(numbered(300), labels=labels, **more), 0.1, seed)
        train, held_out = sides(parts, labels)
        # Two rows of one group cannot be divided, two texts can.
        assert train >= {0, 1}
        assert held_out >= {0, 1}
        assert (train & held_out == {0, 1, 2}) == (not more)
        assert parts.one_sided == ([2] if more else [])
        assert 30 <= len(parts.held_out) <= 34


def test_a_class_on_one_side_is_named():
    labels = [1] + [0] * 99
    parts = hold_out(split_of(numbered(100), labels=labels), 0.1, seed=0)
    assert parts.describe(["common", "rare"]) == (
        "held out 10 of 100 rows; rows of rare are on one side only, as they cannot be divided"
    )


def test_scores_have_no_classes():
    labels = np.linspace(0, 1, 100)
    parts = hold_out(split_of(numbered(100), labels=labels), 0.1, seed=0)
    assert (len(parts.held_out), parts.one_sided) == (10, [])


def test_no_text_stands_inside_one_of_the_other_side():
    texts = [*random_texts(150, 7), "", "a", "A"]
    parts = hold_out(split_of(texts), 0.3, seed=1)
    train, held_out = ([texts[row] for row in part] for part in (parts.train, parts.held_out))
    assert held_out
    assert train
    for held in held_out:
        for row in train:
            assert row == "" or not stands_inside(row, held)
            assert not stands_inside(held, row)
    everything = np.concatenate([parts.train, parts.held_out, parts.removed])
    assert sorted(everything) == list(range(len(texts)))
    for row in parts.removed:
        assert any(stands_inside(texts[row], held) for held in held_out)


def test_equal_rows_are_held_out_together():
    texts = ["one two", "three four", "One  Two", "five six", "three four"]
    for seed in range(6):
        parts = hold_out(split_of(texts), 0.34, seed)
        assert [texts[row].casefold().split() for row in parts.held_out] in (
            [["one", "two"]] * 2,
            [["three", "four"]] * 2,
            [["five", "six"]],
        ), parts


def test_the_seed_decides_what_is_held_out():
    texts = [f"row number {index}" for index in range(100)]
    first = hold_out(split_of(texts), 0.2, seed=0).held_out
    assert first.size == 20
    assert first.tolist() == hold_out(split_of(texts), 0.2, seed=0).held_out.tolist()
    assert first.tolist() != hold_out(split_of(texts), 0.2, seed=1).held_out.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_held_out_to_the_same_fraction(seed):
    labels = np.repeat([0, 1, 2], [700, 250, 50])
    parts = hold_out(split_of(numbered(1000), labels=labels), 0.1, seed)
    assert np.bincount(labels[parts.held_out]).tolist() == [70, 25, 5]
    # Groups of two rows, most of them of one class.
    groups = [f"g{number // 2}" for number in range(1000)]
    parts = hold_out(split_of(numbered(1000), labels=labels, groups=groups), 0.1, seed)
    assert abs(np.bincount(labels[parts.held_out]) - [70, 25, 5]).max() <= 2
