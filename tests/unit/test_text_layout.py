import pytest

from cloze.show.text_layout import mean_count, short_number


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0"), (12.0, "12"), (1259 / 3, "419.7"), (10_312.0, "10,312"), (1e6 + 0.5, "1,000,000.5")],
)
def test_counts_are_never_shortened(count, shown):
    assert mean_count(count) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (12_345, "12,345"), (12_345.6, "12,346"), (-45_678.9, "-45,679"),
     (2.345678, "2.346"), (1e-4, "0.0001"), (2e-5, "2e-05")],
)  # fmt: skip
def test_numbers_keep_all_before_the_point(value, shown):
    assert short_number(value) == shown
