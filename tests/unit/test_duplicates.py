"""Repeated texts are found wherever the first one was, and the first one is named."""

import numpy as np
import pytest

from cloze.corpus.duplicates import SeenTexts


@pytest.mark.parametrize("batch", [1, 7, 500, 12000])
def test_it_agrees_with_a_python_dictionary(batch: int) -> None:
    random = np.random.default_rng(0)
    keys = random.integers(0, 1 << 64, size=7000, dtype=np.uint64)[random.integers(0, 7000, 12000)]
    seen, known = SeenTexts(), dict[int, int]()

    for start in range(0, len(keys), batch):
        held = keys[start : start + batch]
        is_new, documents = seen.add(held, len(known))
        for key, new, document in zip(held.tolist(), is_new, documents, strict=True):
            assert new == (key not in known)
            assert document == known.setdefault(key, len(known))


def test_memory_is_twelve_bytes_a_document_in_few_runs() -> None:
    seen = SeenTexts()
    for start in range(0, 100_000, 1000):
        seen.add(np.arange(start, start + 1000, dtype=np.uint64), start)

    held = sum(array.nbytes for run in seen._runs for array in run)
    assert held == 12 * 100_000
    assert len(seen._runs) <= 7
