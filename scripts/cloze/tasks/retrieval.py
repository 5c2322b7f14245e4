"""Documents searched by queries: a folder in BEIR's layout, rankings, what they are worth.

BEIR (Thakur et al. 2021) lays a collection out as `corpus.jsonl` (`_id`, `title`, `text`),
`queries.jsonl` (`_id`, `text`), both perhaps compressed, and `qrels/SPLIT.tsv` (query-id,
corpus-id, score). The qrels of a split name it, and what they judge lies in the folder above.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cloze.corpus.tables import json_object, read_values
from cloze.corpus.text_streams import read_lines, require_text
from cloze.errors import ClozeError
from cloze.fetch.archives import open_members
from cloze.settings.tasks import collection_files
from cloze.tasks.task import Documents

CUTOFF, LONG_CUTOFF = 10, 100
_QRELS_COLUMNS = ("query-id", "corpus-id", "score")
_NAMED = 5


@dataclass(frozen=True)
class Collection:
    """The queries of a split, what they search, and the documents that answer each.

    `relevant`: of each query document number to grade, 1 or more. `left_out`: queries without
    a relevant document that were left out.
    """

    queries: list[str]
    documents: Documents
    relevant: list[dict[int, int]]
    left_out: int = 0


def read_collection(qrels: Path, *, leave_out: bool = False) -> Collection:
    """Read the queries that a file of qrels judges, and all documents of its collection.

    A document is its title and its text with a space between, as in BEIR. `leave_out`: leave
    out queries without a document of grade 1 or more; else they raise `ClozeError`, as do
    files that are absent or malformed and ids that stand twice or nowhere.
    """
    folder = qrels.parent.parent
    files = collection_files(qrels)
    documents, queries = (_texts(folder, files, name) for name in ("corpus.jsonl", "queries.jsonl"))
    numbers = {name: number for number, name in enumerate(documents)}
    relevant: dict[str, dict[int, int]] = {}
    for where, query, document, grade in _judgements(qrels):
        if query not in queries:
            raise ClozeError(f"{where}: query {query!r} does not stand in queries.jsonl; add it")
        if document not in numbers:
            raise ClozeError(
                f"{where}: document {document!r} does not stand in corpus.jsonl; add it"
            )
        grades = relevant.setdefault(query, {})
        if grade > 0:
            grades[numbers[document]] = grade
    unanswered = [query for query, grades in relevant.items() if not grades]
    if unanswered and not leave_out:
        more = f" and {len(unanswered) - _NAMED} more" if len(unanswered) > _NAMED else ""
        raise ClozeError(
            f"{qrels}: no document is relevant to query {', '.join(unanswered[:_NAMED])}{more}, "
            "so no ranking can be right; mend the file, or set leave_out_unanswered_queries to "
            "count them and leave them out"
        )
    kept = [query for query in relevant if relevant[query]]
    if not kept:
        raise ClozeError(f"{qrels}: names no query with a relevant document")
    return Collection(
        [queries[query] for query in kept],
        Documents(list(documents), list(documents.values())),
        [relevant[query] for query in kept],
        len(unanswered),
    )


def _texts(folder: Path, files: Sequence[Path], name: str) -> dict[str, str]:
    """Return the texts of a file by id; raises `ClozeError` for lines that are none, and twins."""
    path = next((path for path in files if path.name.startswith(name)), None)
    if path is None:
        raise ClozeError(
            f"{folder}: has no {name}; a collection in BEIR's layout holds corpus.jsonl, "
            "queries.jsonl and qrels/SPLIT.tsv"
        )
    texts: dict[str, str] = {}
    for place, line in _lines(path):
        record = json_object(line, place)
        require_text(record, place)
        key = record.get("_id")
        if not isinstance(key, str | int) or not isinstance(record.get("text"), str):
            raise ClozeError(f"{place}: needs an id under '_id' and a text under 'text'")
        if str(key) in texts:
            raise ClozeError(f"{place}: the id {key!r} stands there twice; give each its own")
        texts[str(key)] = f"{record.get('title') or ''} {record['text']}".strip()
    return texts


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for _, stream in open_members(path):
        for number, line in enumerate(read_lines(stream, str(path)), start=1):
            if line.strip():
                yield f"{path}: line {number}", line


def _judgements(path: Path) -> Iterator[tuple[str, str, str, int]]:
    """Yield place, query id, document id and grade of each line."""
    for _, stream in open_members(path):
        for place, values in read_values(stream, str(path), "tsv", _QRELS_COLUMNS):
            query, document, grade = values
            try:
                yield f"{path}: {place}", query, document, int(grade)
            except ValueError as error:
                raise ClozeError(
                    f"{path}: {place}: score {grade!r} is no whole number; 0 says irrelevant, 1 "
                    "and more how relevant"
                ) from error


def best_documents(scores: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers of the highest scores, the highest first, int64 [count or fewer].

    scores: [num_documents]. Of equal ones the earlier document comes first, so that a ranking
    is a function of its scores.
    """
    count = min(count, len(scores))
    lowest = np.partition(scores, -count)[-count]
    candidates = np.flatnonzero(scores >= lowest)
    return candidates[np.argsort(-scores[candidates], kind="stable")][:count]


def ranking_measures(
    rankings: Sequence[np.ndarray], relevant: Sequence[dict[int, int]]
) -> dict[str, np.ndarray]:
    """Return each query's `ndcg_at_10`, `recall_at_10`, `recall_at_100` and `mrr_at_10`.

    rankings: of each query document numbers, the best first; relevant: as in `Collection`, at
    least one a query. Values float64 [num_queries], of 0 to 1. nDCG is that of trec_eval, and so
    of BEIR: the gain of a document is its grade (Järvelin and Kekäläinen 2002), computed by
    scikit-learn; recall is the share of all relevant documents that stand among the first.
    """
    measures = {
        "ndcg_at_10": [_ndcg(*pair) for pair in zip(rankings, relevant, strict=True)],
        "recall_at_10": [_recall(*pair, CUTOFF) for pair in zip(rankings, relevant, strict=True)],
        "recall_at_100": [
            _recall(*pair, LONG_CUTOFF) for pair in zip(rankings, relevant, strict=True)
        ],
        "mrr_at_10": [_reciprocal_rank(*pair) for pair in zip(rankings, relevant, strict=True)],
    }
    return {name: np.array(values, dtype=np.float64) for name, values in measures.items()}


def _ndcg(ranking: np.ndarray, grades: dict[int, int]) -> float:
    from sklearn.metrics import ndcg_score

    gains = [grades.get(document, 0) for document in ranking.tolist()]
    # The best ranking that there could be knows the relevant documents that were not found; they
    # stand behind all that were, and behind the cutoff.
    missing = [0] * max(0, CUTOFF - len(gains))
    gains += [*missing, *(grades[document] for document in grades.keys() - set(ranking.tolist()))]
    places = -np.arange(len(gains))
    return float(ndcg_score([gains], [places], k=CUTOFF, ignore_ties=True))


def _recall(ranking: np.ndarray, grades: dict[int, int], cutoff: int) -> float:
    return len(grades.keys() & set(ranking[:cutoff].tolist())) / len(grades)


def _reciprocal_rank(ranking: np.ndarray, grades: dict[int, int]) -> float:
    ranks = (rank for rank, number in enumerate(ranking[:CUTOFF].tolist(), 1) if number in grades)
    return 1 / next(ranks, np.inf)
