"""Keys that occurred before are found wherever they were, with their first number."""

import numpy as np
import pytest

from cloze.corpus.duplicates import FirstOccurrences


@pytest.mark.parametrize("batch", [1, 7, 500, 12000])
@pytest.mark.parametrize("kind", [np.uint64, np.uint8])
def test_it_agrees_with_a_python_dictionary(batch: int, kind: type) -> None:
    random = np.random.default_rng(0)
    keys = random.integers(0, 1 << 64, size=7000, dtype=np.uint64)[random.integers(0, 7000, 12000)]
    keys = keys.astype(kind)
    first, known = FirstOccurrences(), dict[int, int]()

    for start in range(0, len(keys), batch):
        held = keys[start : start + batch]
        assert [first.find(held)[0]] == [known.get(int(held[0]), -1)]
        numbers = first.add(held, np.arange(start, start + len(held), dtype=np.uint32))
        for place, (key, number) in enumerate(zip(held.tolist(), numbers, strict=True), start):
            assert number == known.setdefault(key, place)


def test_memory_is_twelve_bytes_a_document_in_few_runs() -> None:
    first = FirstOccurrences()
    for start in range(0, 100_000, 1000):
        numbers = np.arange(start, start + 1000)
        first.add(numbers.astype(np.uint64), numbers.astype(np.uint32))

    held = sum(array.nbytes for run in first._runs for array in run)
    assert held == 12 * 100_000
    assert len(first._runs) <= 7
