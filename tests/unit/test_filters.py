"""Filters drop what repeats itself and what is noise, and leave prose of every script alone."""

import base64
import random

import pytest

from cloze.corpus.cleaning import Filters, compression_ratio, repeated_lines

PROSE = (
    "The lighthouse keeper wrote down the weather every evening, and when the storm had gone "
    "he read what he had written about others like it. Ships came by at night; he counted "
    "their lamps. In the morning a boat brought bread, letters and the news of the town, which "
    "he heard with patience and forgot at once, because nothing in it concerned the sea. "
)
NOISE = base64.b85encode(random.Random(0).randbytes(2000)).decode()


def test_without_bounds_only_empty_texts_go() -> None:
    filters = Filters()
    assert filters.reasons == ["empty", "too_short"]
    assert [filters.check(text) for text in (NOISE, "x", "a\n" * 500)] == [None] * 3
    assert filters.check("") == ("empty", "")


def test_repeated_lines_are_weighed_by_their_characters() -> None:
    assert repeated_lines("one\ntwo\nthree") == 0
    assert repeated_lines("abcd\nabcd\n abcd \nabcdefgh") == pytest.approx(8 / 20)
    assert repeated_lines("abcd\n\n\n\n") == 0
    assert repeated_lines("") == 0
    filters = Filters(max_repeated_lines=0.3)
    assert filters.check("\n".join([PROSE] * 2 + ["More."])).reason == "repeated_lines"  # type: ignore[union-attr]
    assert filters.check("\n".join([PROSE, "Yes.", "Yes."])) is None


def test_compression_tells_repetition_and_noise_from_prose() -> None:
    filters = Filters(min_compression_ratio=0.2, max_compression_ratio=0.75)
    assert filters.reasons == ["empty", "too_short", "repetitive", "incompressible"]
    again, noise = filters.check("Buy now, click here. " * 100), filters.check(NOISE)
    assert again
    assert again.reason == "repetitive"
    assert (
        again.detail == f"compression ratio {compression_ratio('Buy now, click here. ' * 100):.3f}"
    )
    assert noise
    assert noise.reason == "incompressible"
    assert filters.check(PROSE) is None
    assert 0.3 < compression_ratio(PROSE) < 0.7 < compression_ratio(NOISE)


def test_one_bound_alone_leaves_the_other_side_open() -> None:
    again = "Buy now, click here. " * 100
    assert Filters(min_compression_ratio=0.2).check(NOISE) is None
    assert Filters(max_compression_ratio=0.7).check(again) is None


def test_length_is_looked_at_first() -> None:
    verdict = Filters(min_characters=9, max_compression_ratio=0.1).check("too short"[:8])
    assert verdict == ("too_short", "8 characters")
