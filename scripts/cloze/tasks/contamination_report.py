"""How many of a task's evaluation rows stand in the text of a corpus, and which."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from cloze.corpus.document_reader import DocumentBatch
from cloze.tasks.contamination import MIN_ROW_WORDS, ContaminationIndex
from cloze.tasks.task import Task

_EVALUATION_SPLITS = ("validation", "test")
_EXAMPLES = 10


def count_contamination(task: Task, batches: Iterable[DocumentBatch]) -> dict[str, dict[str, Any]]:
    """Return for validation and test how many rows were found in the documents, and examples.

    `rows`; `long_rows`: those of `MIN_ROW_WORDS` words or more; `exact`, `long_exact`: those
    that stand in a document as a whole; `ngram`: those that share 13 words in a row with one;
    `contaminated`: `long_exact` or `ngram`, as shorter rows stand anywhere by chance; `share`
    of the rows that are contaminated; `examples`: the longest of these, each with its `row`,
    `text`, whether it is `exact`, and the first `document_id` that holds it.
    """
    names = [name for name in _EVALUATION_SPLITS if (task.folder / f"{name}.parquet").is_file()]
    sizes = dict.fromkeys(names, 0)

    def rows() -> Iterator[str]:
        for name in names:
            for text in task.iterate_texts(name):
                sizes[name] += 1
                yield text

    index = ContaminationIndex(rows())
    num_rows = len(index.lengths)
    exact, ngram = np.zeros(num_rows, np.bool_), np.zeros(num_rows, np.bool_)
    documents = np.full(num_rows, -1, np.int64)
    for batch in batches:
        matches = index.find(_texts_of(batch))
        exact[matches.rows[matches.exact]] = True
        ngram[matches.rows[matches.ngram]] = True
        telling = matches.ngram | (index.lengths[matches.rows] >= MIN_ROW_WORDS)
        # Reversed, so that the first document is the one that stays.
        places = np.flatnonzero(telling & (documents[matches.rows] < 0))[::-1]
        documents[matches.rows[places]] = batch.ids[matches.texts[places]]
    long = index.lengths >= MIN_ROW_WORDS
    contaminated = (exact & long) | ngram
    counts = {}
    start = 0
    for name in names:
        size = sizes[name]
        part = slice(start, start + size)
        start += size
        found = np.flatnonzero(contaminated[part])
        longest = found[np.lexsort((found, -index.lengths[part][found]))][:_EXAMPLES]
        texts = _texts_of_rows(task, name, longest)
        counts[name] = {
            "rows": size,
            "long_rows": int(long[part].sum()),
            "exact": int(exact[part].sum()),
            "long_exact": int((exact & long)[part].sum()),
            "ngram": int(ngram[part].sum()),
            "contaminated": len(found),
            "share": len(found) / max(size, 1),
            "examples": [
                {
                    "row": int(row),
                    "text": texts[row],
                    "exact": bool(exact[part][row]),
                    "document_id": int(documents[part][row]),
                }
                for row in longest
            ],
        }
    return counts


def _texts_of_rows(task: Task, split: str, rows: np.ndarray) -> dict[int, str]:
    wanted = set(rows.tolist())
    texts = enumerate(task.iterate_texts(split) if wanted else ())
    return {row: text for row, text in texts if row in wanted}


def _texts_of(batch: DocumentBatch) -> Iterator[str]:
    text = batch.text.tobytes()
    for start, stop in zip(batch.offsets[:-1].tolist(), batch.offsets[1:].tolist(), strict=True):
        yield text[start:stop].decode()
