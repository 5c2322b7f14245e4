"""Any number of texts, a window of them at a time, as packed batches of like lengths."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np

from cloze.encoder.packed_batch import PackedBatch
from cloze.tasks.sentence_batches import EncodedTexts, pack_texts
from cloze.use.texts import Text

# A window is what is held in memory; the larger, the more alike the lengths in a batch.
WINDOW_TEXTS = 4096
_WINDOW_CHARACTERS = 1 << 23

# On a CPU what stays in its caches: twice as many were 8 to 30 % slower. A GPU wants more to do
# between two launches.
_BATCH_TOKENS = {"cpu": 1024, "mps": 8192, "cuda": 8192}


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

    A batch's rows are as long as its longest text, so texts are sorted by length: a long
    one costs the short ones nothing, and next to no row has padding. The longest come
    first, so that a lack of memory shows at once.
    """
    order = np.argsort(-encoded.lengths, kind="stable")
    batch_of = np.cumsum(encoded.lengths[order]) // _BATCH_TOKENS[device]
    bounds = [0, *(np.flatnonzero(np.diff(batch_of)) + 1), len(order)]
    for start, stop in pairwise(bounds):
        yield pack_texts(encoded, order[start:stop], multiple=1)
