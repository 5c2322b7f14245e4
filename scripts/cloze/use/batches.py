"""Any number of texts, a window of them at a time, as packed batches of like lengths."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np

from cloze.model.encoder import PackedBatch
from cloze.objectives.texts import (
    ROW_TOKENS,
    EncodedTexts,
    pack_texts,
    packed_batches,
)
from cloze.use.texts import Text

# A window is what is held in memory; the larger, the more alike the lengths in a batch.
WINDOW_TEXTS = 4096
_WINDOW_CHARACTERS = 1 << 23

# On a CPU what stays in its caches: twice as many were 8 to 30 % slower. A GPU wants more to do
# between two launches.
_BATCH_TOKENS = {"cpu": 1024, "mps": 8192, "cuda": 8192}

# Of rows that are not full: of a lone short text, and of long ones.
_LENGTHS_MULTIPLE = 8


def windows(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Yield `WINDOW_TEXTS` texts at a time, fewer where they are long."""
    window, characters = list[Text](), 0
    for text in texts:
        window.append(text)
        characters += sum(map(len, text.parts))
        if len(window) == WINDOW_TEXTS or characters >= _WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window


def batches_by_length(
    encoded: EncodedTexts, device: str
) -> Iterator[tuple[PackedBatch, np.ndarray]]:
    """Yield every text once, as `pack_texts` does, in batches as large as suits the device.

    Texts of up to `ROW_TOKENS` tokens fill rows of that length together. Longer ones come
    before them, the longest first, so that a lack of memory shows at once; their rows are
    as long as the longest text of the batch. Next to nothing is padding either way, and
    batches of few shapes need few plans of matrix products.
    """
    order = np.argsort(-encoded.lengths, kind="stable")
    is_long = encoded.lengths[order] > ROW_TOKENS
    long, short = order[is_long], order[~is_long]
    batch_of = np.cumsum(encoded.lengths[long]) // _BATCH_TOKENS[device]
    bounds = [0, *(np.flatnonzero(np.diff(batch_of)) + 1), len(long)] if len(long) else []
    for start, stop in pairwise(bounds):
        yield pack_texts(encoded, long[start:stop], _LENGTHS_MULTIPLE)
    if len(short):
        rows = _BATCH_TOKENS[device] // ROW_TOKENS
        yield from packed_batches(encoded, rows, short, _LENGTHS_MULTIPLE)
