"""How many of a task's evaluation rows stand in the text of a corpus, and which."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from cloze.corpus.contamination import MIN_ROW_WORDS, ContaminationIndex
from cloze.corpus.document_reader import DocumentBatch
from cloze.tasks.task import Task

_EXAMPLES = 10


def count_contamination(task: Task, batches: Iterable[DocumentBatch]) -> dict[str, dict[str, Any]]:
    """Return for each evaluation split how many rows were found in the documents, and examples.

    `rows`; `long_rows`: those of `MIN_ROW_WORDS` words or more; `exact`, `long_exact`: those
    that stand in a document as a whole; `ngram`: those that share 13 words in a row with one;
    `contaminated`: `long_exact` or `ngram`, as shorter rows stand anywhere by chance; `share`
    of the rows that are contaminated; `examples`: the longest texts found, each with its `row`,
    `text`, whether it is `exact`, and the first `document_id` that holds it. A row of two texts
    counts where either of them does.
    """
    names = task.evaluation_splits
    sizes = dict.fromkeys(names, 0)

    def texts() -> Iterator[str]:
        for name in names:
            for text in task.iterate_texts(name):
                sizes[name] += 1
                yield text

    index = ContaminationIndex(texts())
    num_texts = len(index.lengths)
    exact, ngram = np.zeros(num_texts, np.bool_), np.zeros(num_texts, np.bool_)
    documents = np.full(num_texts, -1, np.int64)
    for batch in batches:
        matches = index.find(_texts_of(batch))
        exact[matches.rows[matches.exact]] = True
        ngram[matches.rows[matches.ngram]] = True
        telling = matches.ngram | (index.lengths[matches.rows] >= MIN_ROW_WORDS)
        # Reversed, so that the first document is the one that stays.
        places = np.flatnonzero(telling & (documents[matches.rows] < 0))[::-1]
        documents[matches.rows[places]] = batch.ids[matches.texts[places]]
    stops = np.cumsum([sizes[name] for name in names])[:-1]
    found = (np.split(array, stops) for array in (index.lengths, exact, ngram, documents))
    return {
        name: _counts_of_split(task, name, *arrays)
        for name, *arrays in zip(names, *found, strict=True)
    }


def _counts_of_split(
    task: Task,
    name: str,
    lengths: np.ndarray,
    exact: np.ndarray,
    ngram: np.ndarray,
    documents: np.ndarray,
) -> dict[str, Any]:
    """Return the counts of one split; the arrays have an entry for each of its texts."""
    texts_per_row = len(task.text_columns(name))

    def rows_with(texts: np.ndarray) -> int:
        return int(texts.reshape(-1, texts_per_row).any(axis=1).sum())

    long = lengths >= MIN_ROW_WORDS
    contaminated = (exact & long) | ngram
    found = np.flatnonzero(contaminated)
    longest = found[np.lexsort((found, -lengths[found]))][:_EXAMPLES]
    texts = _chosen_texts(task, name, longest)
    num_rows = len(lengths) // texts_per_row
    return {
        "rows": num_rows,
        "long_rows": rows_with(long),
        "exact": rows_with(exact),
        "long_exact": rows_with(exact & long),
        "ngram": rows_with(ngram),
        "contaminated": rows_with(contaminated),
        "share": rows_with(contaminated) / max(num_rows, 1),
        "examples": [
            {
                "row": int(place) // texts_per_row,
                "text": texts[place],
                "exact": bool(exact[place]),
                "document_id": int(documents[place]),
            }
            for place in longest
        ],
    }


def _chosen_texts(task: Task, split: str, places: np.ndarray) -> dict[int, str]:
    wanted = set(places.tolist())
    texts = enumerate(task.iterate_texts(split) if wanted else ())
    return {place: text for place, text in texts if place in wanted}


def _texts_of(batch: DocumentBatch) -> Iterator[str]:
    text = batch.text.tobytes()
    for start, stop in zip(batch.offsets[:-1].tolist(), batch.offsets[1:].tolist(), strict=True):
        yield text[start:stop].decode()
