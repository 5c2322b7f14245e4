"""A few documents of a corpus with the samples that a data set made of them."""

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from cloze.corpus.documents import StoredDocument, read_documents
from cloze.show.corpus_statistics import own_text_lengths
from cloze.tokens.shards import Rows

# A short document, one in the middle, a long one.
_QUANTILES = (0.1, 0.5, 0.9)
_SHOWN_SAMPLES = 3
_SHOWN_CHARACTERS = 600
_ORDERED_CHARACTERS = 1 << 15
_PROBE_TOKENS = 16


def choose_examples(
    rows: Rows, documents: Path, tokenizer: Tokenizer, special: frozenset[int]
) -> list[dict[str, Any]]:
    """Return documents from the first rows of a split with the beginning of their samples.

    Each has `document_id`, `source`, `title`, `text` (its beginning), `characters`, `tokens`,
    `num_samples` and `samples`: the first in the order of the text, each with its `row`, its
    `place` in it, and `tokens`: a dictionary of `token`, `id`, and whether it `starts_word`,
    `starts_sentence`, `is_special`.
    """
    ids, numbers = np.unique(rows.documents, return_inverse=True)
    lengths = np.bincount(numbers, own_text_lengths(rows))
    by_length = np.lexsort((ids, lengths))
    chosen = {int(ids[by_length[int(share * (len(ids) - 1))]]) for share in _QUANTILES}
    examples = []
    for document in read_documents(documents):
        if document.document_id in chosen:
            chosen.remove(document.document_id)
            examples.append(_example(document, rows, tokenizer, special))
        if not chosen:
            break
    return sorted(examples, key=lambda example: example["tokens"])


def _example(
    document: StoredDocument, rows: Rows, tokenizer: Tokenizer, special: frozenset[int]
) -> dict[str, Any]:
    samples = np.flatnonzero(rows.documents == document.document_id)
    text_ids = tokenizer.encode(document.text[:_ORDERED_CHARACTERS], add_special_tokens=False).ids
    ordered = sorted(samples.tolist(), key=lambda sample: _place_in_text(sample, rows, text_ids))
    shown = [_sample(sample, rows, tokenizer, special) for sample in ordered[:_SHOWN_SAMPLES]]
    return {
        "document_id": document.document_id,
        "source": document.source,
        "title": document.title,
        "text": document.text[:_SHOWN_CHARACTERS],
        "characters": len(document.text),
        "tokens": int(own_text_lengths(rows)[samples].sum()),
        "num_samples": len(samples),
        "samples": shown,
    }


def _place_in_text(sample: int, rows: Rows, text_ids: list[int]) -> int:
    """Return where a sample's first tokens stand in the text; rows do not keep the order.

    The end of the text for tokens that are not found there.
    """
    start, stop = rows.sample_offsets[sample] + 1, rows.sample_offsets[sample + 1] - 1
    probe = rows.input_ids[start:stop][:_PROBE_TOKENS].astype("<u4").tobytes()
    text = np.array(text_ids, "<u4").tobytes()
    found = text.find(probe)
    while found % 4 and found >= 0:
        found = text.find(probe, found + 1)
    return found if found >= 0 else len(text)


def _sample(
    sample: int, rows: Rows, tokenizer: Tokenizer, special: frozenset[int]
) -> dict[str, Any]:
    start, stop = rows.sample_offsets[sample : sample + 2].tolist()
    row = int(np.searchsorted(rows.row_offsets, start, side="right")) - 1
    first = int(np.searchsorted(rows.sample_offsets, rows.row_offsets[row]))
    tokens = [
        {
            "token": tokenizer.id_to_token(token_id),
            "id": token_id,
            "starts_word": bool(rows.word_starts[start + place]),
            "starts_sentence": bool(rows.sentence_starts[start + place]),
            "is_special": token_id in special,
        }
        for place, token_id in enumerate(rows.input_ids[start:stop].tolist())
    ]
    return {"row": row, "place": sample - first, "tokens": tokens}
