"""Next-sentence pairs: half true, half from elsewhere, nothing lost."""

import numpy as np
import pytest

from cloze.errors import ClozeError
from cloze.tokens.samples import Spans, pair_documents


def _corpus(seed: int, num_documents: int = 40) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    units, documents = [0], [0]
    for _ in range(num_documents):
        for _ in range(int(generator.integers(0, 30))):
            units.append(units[-1] + int(generator.integers(1, 20)))
        documents.append(units[-1])
    return np.array(units), np.array(documents)


def _pairs(seed: int, capacity: int = 61) -> tuple[Spans, np.ndarray, np.ndarray]:
    units, documents = _corpus(seed)
    return pair_documents(units, documents, capacity, np.random.default_rng(seed)), units, documents


@pytest.mark.parametrize("seed", range(5))
def test_first_texts_and_true_seconds_are_the_corpus_in_order(seed: int) -> None:
    pairs, units, documents = _pairs(seed)
    ends = np.where(pairs.is_next, pairs.second_stops, pairs.stops)
    assert pairs.starts[0] == 0
    assert pairs.starts[1:].tolist() == ends[:-1].tolist()
    assert ends[-1] == documents[-1]
    assert (pairs.second_starts == pairs.stops)[pairs.is_next].all()
    assert set(pairs.starts.tolist()) <= set(units.tolist())


@pytest.mark.parametrize("seed", range(5))
def test_other_seconds_are_from_other_documents(seed: int) -> None:
    pairs, units, documents = _pairs(seed)

    def document_of(tokens: np.ndarray) -> np.ndarray:
        return np.searchsorted(documents, tokens, side="right") - 1

    other = ~pairs.is_next
    assert (document_of(pairs.starts) == document_of(pairs.stops - 1)).all()
    assert (document_of(pairs.second_starts) == document_of(pairs.second_stops - 1)).all()
    assert (document_of(pairs.starts) != document_of(pairs.second_starts))[other].all()
    assert (document_of(pairs.starts) == document_of(pairs.second_starts))[~other].all()
    assert set(pairs.second_starts.tolist()) <= set(units.tolist())


@pytest.mark.parametrize("capacity", [21, 61, 125])
def test_pairs_fit_and_every_sample_has_a_second_text(capacity: int) -> None:
    pairs, _, _ = _pairs(1, capacity)
    assert pairs.lengths.max() <= capacity
    assert pairs.second_lengths.min() >= 1


def test_half_of_the_choices_are_true() -> None:
    share = np.mean([_pairs(seed)[0].is_next.mean() for seed in range(20)])
    # A text of one sentence that ends its document has no true second.
    assert 0.42 < share < 0.52


def test_the_generator_decides() -> None:
    first, again, other = _pairs(1)[0], _pairs(1)[0], _pairs(2)[0]
    assert first.second_starts.tolist() == again.second_starts.tolist()
    assert first.second_starts.tolist() != other.second_starts.tolist()


def test_documents_before_the_first_only_lend() -> None:
    units, documents = np.array([0, 5, 9, 12, 20]), np.array([0, 9, 20])
    pairs = pair_documents(units, documents, 17, np.random.default_rng(0), first_document=1)
    assert pairs.starts.min() == 9
    assert (pairs.second_stops <= 9)[~pairs.is_next].all()


def test_one_document_has_no_other() -> None:
    with pytest.raises(ClozeError, match="a shard has only one; lower num_shards"):
        pair_documents(np.array([0, 4, 8]), np.array([0, 0, 8]), 9, np.random.default_rng(0))
