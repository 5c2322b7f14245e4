import numpy as np
import pytest

from cloze.tokens.packing import pack_best_fit


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("max_length", [8, 128, 1000])
def test_every_sample_is_in_one_row_and_no_row_is_over_its_length(
    seed: int, max_length: int
) -> None:
    lengths = np.random.default_rng(seed).integers(1, max_length + 1, size=2000)
    rows = pack_best_fit(lengths, max_length)
    assert sorted(sample for row in rows for sample in row) == list(range(2000))
    totals = [int(lengths[row].sum()) for row in rows]
    assert max(totals) <= max_length
    assert sum(totals) / (len(rows) * max_length) > 0.95


def test_a_sample_goes_to_the_fullest_row_that_has_room() -> None:
    assert pack_best_fit(np.array([7, 6, 3]), 10) == [[0, 2], [1]]
    assert pack_best_fit(np.array([3, 6, 7]), 10) == [[0, 2], [1]]


def test_rows_keep_the_order_of_samples() -> None:
    rows = pack_best_fit(np.full(9, 3), 9)
    assert rows == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_no_samples_make_no_rows() -> None:
    assert pack_best_fit(np.array([], dtype=np.uint16), 8) == []


@pytest.mark.parametrize("length", [0, 9])
def test_a_length_that_no_row_can_hold_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 8"):
        pack_best_fit(np.array([3, length]), 8)
