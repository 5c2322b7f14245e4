import pytest

from cloze.errors import ClozeError
from cloze.objectives.truncation import check_max_length, truncate, truncate_pair

TEXT = list(range(600))


@pytest.mark.parametrize(
    ("truncation", "kept"),
    [
        ("head", TEXT[:510]),
        ("tail", TEXT[-510:]),
        ("head+tail", TEXT[:128] + TEXT[-382:]),
    ],
)
def test_each_way_keeps_its_part_of_a_long_text(truncation, kept):
    assert truncate(TEXT, 510, truncation) == kept


@pytest.mark.parametrize("truncation", ["head", "tail", "head+tail"])
def test_a_text_that_fits_is_kept_whole(truncation):
    assert truncate(TEXT[:5], 5, truncation) == TEXT[:5]


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [((3, 4), (3, 4)), ((20, 4), (6, 4)), ((4, 20), (4, 6)), ((20, 20), (5, 5)), ((6, 5), (5, 5))],
)
def test_the_longer_of_a_pair_is_cut_first(lengths, expected):
    first, second = truncate_pair(TEXT[: lengths[0]], TEXT[: lengths[1]], 10, "head")
    assert (len(first), len(second)) == expected


def test_an_odd_token_is_the_first_texts():
    assert tuple(map(len, truncate_pair(TEXT, TEXT, 11, "tail"))) == (6, 5)


def test_an_impossible_max_length_is_refused():
    check_max_length(4, 4)
    with pytest.raises(ClozeError, match=r"--max-length 3: leaves no room .* use 4 or more"):
        check_max_length(3, 512)
    with pytest.raises(ClozeError, match="--max-length 129: the encoder has 128 positions"):
        check_max_length(129, 128)
