"""Near-duplicates are found, named and measured; texts that only share a topic stay."""

import random

import numpy as np
import pytest

from cloze.corpus.duplicates import NUM_HASHES, NearDuplicates, band_bytes, signatures

DRAW = random.Random(0)


def text(words: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices("abcdefghij", k=5)) for _ in range(words)]


def changed(words: list[str], every: int) -> list[str]:
    return [f"other{n}" if n % every == every - 1 else word for n, word in enumerate(words)]


def jaccard(one: list[str], other: list[str]) -> float:
    sets = [{tuple(words[n : n + 5]) for n in range(len(words) - 4)} for words in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


@pytest.mark.parametrize("every", [11, 40, 150])
def test_signatures_estimate_how_much_texts_share(every: int) -> None:
    errors = []
    for seed in range(30):
        one = text(600, seed)
        other = changed(one, every)
        pair = signatures([" ".join(one), " ".join(other)])
        agreeing = (pair[0] == pair[1]).mean()
        errors.append((agreeing - 1 / 256) / (1 - 1 / 256) - jaccard(one, other))
    assert abs(np.mean(errors)) < 0.025
    assert np.abs(errors).max() < 0.16


def test_case_white_space_and_punctuation_do_not_count() -> None:
    one, other = signatures(["It was, he said, a fine day.", "it was he  said a FINE\nday"])
    assert (one == other).all()


def test_a_signature_does_not_depend_on_the_texts_beside_it_nor_on_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [" ".join(text(300, seed)) for seed in range(5)] + [
        "one two",
        "日本語の文書です。",
        "?!",
    ]
    together = signatures(texts)
    assert together.shape == (8, NUM_HASHES)
    assert all(
        (signatures([item])[0] == row).all() for item, row in zip(texts, together, strict=True)
    )
    monkeypatch.setattr("cloze.corpus.duplicates._PIECE_CHARACTERS", 50)
    assert (signatures(texts) == together).all()


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_what_was_kept_before_is_named(batch: int) -> None:
    originals = [text(400, seed) for seed in range(40)]
    copies = [changed(words, 150) for words in originals]
    marks = signatures([" ".join(words) for words in [*originals, *copies, *originals]])
    near = NearDuplicates(0.8)
    found = [near.add(marks[start : start + batch]) for start in range(0, 120, batch)]
    kept = np.concatenate([numbers for numbers, _ in found])
    similarity = np.concatenate([values for _, values in found])

    assert kept[:40].tolist() == list(range(40))
    assert kept[40:80].tolist() == list(range(40))
    assert kept[80:].tolist() == list(range(40))
    assert (similarity[80:] == 1).all()
    assert (similarity[40:80] >= 0.8).all()


def test_a_chain_of_small_changes_ends_where_the_first_is_no_longer_similar() -> None:
    chain = [text(400, 0)]
    for step in range(8):
        chain.append([f"new{n}" if n % 80 == step else word for n, word in enumerate(chain[-1])])
    marks = signatures([" ".join(words) for words in chain])
    kept, similarity = NearDuplicates(0.8).add(marks)

    assert len(set(kept.tolist())) >= 2
    for number, original in enumerate(kept.tolist()):
        assert kept[original] == original
        assert similarity[number] >= 0.8
        if original == number:
            assert all(
                (marks[number] == marks[other]).mean() < 0.8 + 1 / 128
                for other in set(kept[:number].tolist())
            )


def test_bands_find_pairs_at_the_threshold() -> None:
    assert band_bytes(0.8) == 8
    assert band_bytes(0.5) < band_bytes(0.8) < band_bytes(0.95) <= band_bytes(1)
    assert band_bytes(0) == 1


def test_different_texts_stay() -> None:
    marks = signatures([" ".join(text(100, seed)) for seed in range(300)])
    kept, _ = NearDuplicates(0.5).add(marks)
    assert kept.tolist() == list(range(300))
