"""Texts whose vectors are to be close: scored pairs, pairs that belong together, documents.

What a split holds follows from its file. A table with `label_column` has pairs with scores, judged
by the rank correlation of cosines and scores (STS-B); one without has pairs of a text and what
answers it, judged by how early the answer stands among those of all rows. The qrels of a
collection in BEIR's layout (`retrieval`) have queries, judged on all its documents.
"""

from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from cloze.errors import ClozeError
from cloze.settings.tasks import METRICS_OF, is_qrels
from cloze.tasks.kind import (
    Baseline,
    LeftOut,
    Outcome,
    TaskKind,
    UnlabelledError,
    read_table,
)
from cloze.tasks.labels import group_of, shown, text_of
from cloze.tasks.retrieval import (
    LONG_CUTOFF,
    Collection,
    best_documents,
    ranking_measures,
    read_collection,
)
from cloze.tasks.scores import metric_parts
from cloze.tasks.task import Documents, Task, TaskSplit

RANKING, COSENT, SIMCSE = "multiple_negatives_ranking", "cosent", "simcse"
_METRICS = METRICS_OF["sentence_similarity"]
_OF_SCORES, _OF_RANKINGS = _METRICS[:3], _METRICS[3:]
_RELEVANT = pa.list_(pa.struct([("document", pa.int32()), ("grade", pa.int32())]))


class SimilarityRow(NamedTuple):
    """One row of a source file; `place` says where, as a person would look it up.

    `pair`: the second text, `negative`: one that is not to be close, `score`: how alike the two
    are, as it is written; `relevant` and `documents` of a query, as in `retrieval.Collection`.
    """

    place: str
    text: str
    pair: str | None = None
    negative: str | None = None
    score: Any = None
    group: str | None = None
    relevant: dict[int, int] | None = None
    documents: Documents | None = None


class SentenceSimilarity(TaskKind):
    """Vectors of texts; labels are float64 scores, NaN where there are none, or relevant documents.

    Relevant documents of a query: document number to grade, an object a row.
    """

    metrics = _METRICS
    columns: ClassVar[Mapping[str, pa.DataType]] = {"negative": pa.string()}

    def __init__(self) -> None:
        self._is_ranked = False
        self._left_out: dict[Path, int] = {}

    def _check(self, settings: Namespace) -> None:
        """Raise `ClozeError` for settings that exclude each other or lack a column."""
        loss = _loss(settings)
        self._is_ranked = _is_ranked(settings)
        evaluated = [path for split, path in _sources(settings) if split != "train"]
        if evaluated and len({is_qrels(path) for path in evaluated}) > 1:
            raise ClozeError(
                "a task has one measure: name qrels for every evaluation split, or tables for all "
                f"({', '.join(map(str, evaluated))})"
            )
        tables = [path for _, path in _sources(settings) if not is_qrels(path)]
        if tables and settings.text_column is None:
            raise ClozeError(f"--text-column: missing; {tables[0]} is a table, which needs it")
        only_texts = loss == SIMCSE and all(path in settings.train for path in tables)
        if tables and settings.text_pair_column is None and not only_texts:
            raise ClozeError(
                f"--text-pair-column: missing; {tables[-1]} is a table, whose pairs it names"
            )
        if loss == COSENT and settings.label_column is None:
            raise ClozeError("--label-column: missing; similarity_loss cosent learns from scores")
        if loss != RANKING and settings.negative_column is not None:
            raise ClozeError(
                f"--negative-column: similarity_loss {loss} reads no negatives; leave it out, or "
                f"set similarity_loss {RANKING}"
            )
        if settings.hold_out_fraction is not None and loss == SIMCSE:
            raise ClozeError(
                "--hold-out-fraction: texts alone cannot be judged; give a validation file of "
                "pairs or qrels"
            )

    def read(self, settings: Namespace, path: Path, left_out: LeftOut) -> Iterator[SimilarityRow]:
        """Yield the rows of a table, or the queries that qrels judge."""
        self._check(settings)
        if is_qrels(path):
            found = read_collection(path, leave_out=settings.leave_out_unanswered_queries)
            self._left_out[path] = found.left_out
            for number, (query, relevant) in enumerate(
                zip(found.queries, found.relevant, strict=True)
            ):
                yield SimilarityRow(
                    f"query {number}", query, relevant=relevant, documents=found.documents
                )
            return
        names = {"text": settings.text_column, **_columns(settings, path)}
        present = {key: name for key, name in names.items() if name is not None}
        for place, values in read_table(settings, path, list(present.values()), left_out):
            where = f"{path}: {place}"
            with left_out.row(path, place):
                row: dict[str, Any] = {
                    key: _READ[key](values[name], name, where) for key, name in present.items()
                }
                yield SimilarityRow(place, **row)

    def label_names(self, settings: Namespace, train: Sequence[SimilarityRow]) -> list[str]:
        """Return no name: neither a score nor a document is a class."""
        return []

    def encode(self, path: Path, rows: Sequence[SimilarityRow], names: Sequence[str]) -> TaskSplit:
        """Return the rows with what is known of them; raises `ClozeError` if there are none."""
        if not rows:
            raise ClozeError(f"{path}: has no rows")
        first = rows[0]
        labels = np.array([np.nan if row.score is None else row.score for row in rows])
        label_type = None
        if first.documents is not None:
            labels = np.empty(len(rows), dtype=object)
            labels[:] = [_as_structs(row.relevant) for row in rows]
            label_type = _RELEVANT
        return TaskSplit(
            [row.text for row in rows],
            labels,
            None if first.pair is None else [str(row.pair) for row in rows],
            None if first.group is None else [str(row.group) for row in rows],
            {"negative": pa.array([row.negative for row in rows], pa.string())},
            label_type,
            documents=first.documents,
        )

    def describe(self, split: TaskSplit, names: Sequence[str]) -> dict[str, Any]:
        """Return range and mean of the scores, or the number of documents and of relevant ones."""
        if split.documents is not None:
            return {
                "documents": len(split.documents.ids),
                "relevant_documents": sum(len(relevant) for relevant in split.labels),
            }
        if not is_scored(split):
            return {}
        low, high, mean = split.labels.min(), split.labels.max(), split.labels.mean()
        return {"scores": {"min": float(low), "max": float(high), "mean": float(mean)}}

    def facts(self, settings: Namespace) -> dict[str, Any]:
        """Return the loss that the training split is for, and queries that were left out."""
        counts = Counter[str]()
        for split, path in _sources(settings):
            counts[split] += self._left_out.get(path, 0)
        return {
            "similarity_loss": _loss(settings),
            "left_out_queries": {split: count for split, count in counts.items() if count},
        }

    def default_metric(self, settings: Namespace, names: Sequence[str]) -> str:
        """Return `spearman` where pairs have scores and `ndcg_at_10` where answers are ranked."""
        return "ndcg_at_10" if self._is_ranked else "spearman"

    def check_metric(self, metric: str, names: Sequence[str]) -> None:
        """Raise `ClozeError` if the evaluation files cannot be judged by `metric`."""
        known = _OF_RANKINGS if self._is_ranked else _OF_SCORES
        if metric not in known:
            what = "rankings" if self._is_ranked else "pairs with scores"
            raise ClozeError(
                f"--metric {metric}: does not measure {what}; use one of {', '.join(known)}"
            )

    def labels_from_arrow(self, column: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
        """Return float64 [num_rows], or an object [num_rows] of relevant documents."""
        if pa.types.is_floating(column.type):
            return column.to_numpy()
        labels = np.empty(len(column), dtype=object)
        labels[:] = column.cast(_RELEVANT).to_pylist()
        return labels

    def baselines(
        self, task: Task, train: TaskSplit, splits: Mapping[str, TaskSplit], seed: int
    ) -> dict[str, Baseline]:
        """Return cosines of TF-IDF vectors and, where answers are ranked, BM25."""
        from cloze.tasks.lexical import bm25, tfidf_cosine

        found = {"tfidf_cosine": tfidf_cosine(task, train, splits)}
        if task.metric in _OF_RANKINGS:
            found["bm25"] = bm25(task, splits)
        return found


def _sources(settings: Namespace) -> list[tuple[str, Path]]:
    named = [(split, getattr(settings, split) or ()) for split in ("train", "validation", "test")]
    named += [(name, map(Path, files)) for name, *files in settings.split]
    return [(split, path) for split, paths in named for path in paths]


def _is_ranked(settings: Namespace) -> bool:
    """Whether what the task is judged on has answers to rank, and not scores."""
    return is_qrels((settings.validation or settings.train)[0]) or settings.label_column is None


def _loss(settings: Namespace) -> str:
    """Return the loss of the settings or, unset, the one that the columns are for."""
    if settings.similarity_loss is not None:
        return str(settings.similarity_loss)
    if is_qrels(settings.train[0]):
        return RANKING
    if settings.label_column is not None:
        return COSENT
    return RANKING if settings.text_pair_column is not None else SIMCSE


def _columns(settings: Namespace, path: Path) -> dict[str, str | None]:
    """Return the columns that a table is to have besides its texts.

    What is only trained on needs no more than the loss reads.
    """
    evaluated = [file for split, file in _sources(settings) if split != "train"]
    loss = _loss(settings) if path not in evaluated else None
    return {
        "pair": None if loss == SIMCSE else settings.text_pair_column,
        "negative": settings.negative_column if loss == RANKING else None,
        "score": None if loss in (SIMCSE, RANKING) else settings.label_column,
        "group": settings.group_column,
    }


def _score(value: Any, column: str, where: str) -> float:
    if value is None or value != value or (isinstance(value, str) and value.strip() in ("", "-")):
        raise UnlabelledError(
            f"{where}: the score is missing; add it, or leave such rows out with --unlabelled drop"
        )
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = np.nan
    if not np.isfinite(score) or isinstance(value, bool):
        raise ClozeError(
            f"{where}: column {column!r} holds {shown(value)}, no number that says how alike the "
            "texts are; mend the row or leave it out"
        )
    return score


_READ = {
    **dict.fromkeys(("text", "pair", "negative"), text_of),
    **{"score": _score, "group": group_of},
}


def _as_structs(relevant: Mapping[int, int] | None) -> list[dict[str, int]]:
    return [{"document": number, "grade": grade} for number, grade in (relevant or {}).items()]


def is_scored(split: TaskSplit) -> bool:
    """Whether the rows of a split are pairs with scores."""
    return split.documents is None and bool(np.isfinite(split.labels).all())


def negatives_of(split: TaskSplit) -> list[str]:
    """Return the hard negatives of a split in the order of its rows; none where it has none."""
    column = split.columns["negative"]
    return [] if column.null_count else list(column.to_pylist())


def collection_of(split: TaskSplit) -> Collection:
    """Return what the rows of a split search, and what answers them.

    Of pairs the documents are the distinct second texts and negatives, under the number of the
    first row that has them; what any row of the same text has is relevant to it.
    """
    if split.documents is not None:
        relevant = [{part["document"]: part["grade"] for part in row} for row in split.labels]
        return Collection(split.texts, split.documents, relevant)
    assert split.pairs is not None
    numbers: dict[str, int] = {}
    ids: list[str] = []
    for prefix, texts in (("", split.pairs), ("negative-", negatives_of(split))):
        for row, text in enumerate(texts):
            if text not in numbers:
                numbers[text] = len(numbers)
                ids.append(f"{prefix}{row}")
    answers: dict[str, dict[int, int]] = {}
    for text, pair in zip(split.texts, split.pairs, strict=True):
        answers.setdefault(text, {})[numbers[pair]] = 1
    return Collection(
        split.texts, Documents(ids, list(numbers)), [answers[text] for text in split.texts]
    )


def cosine_outcome(task: Task, labels: np.ndarray, cosines: np.ndarray) -> Outcome:
    """Return what cosines of pairs are worth beside their scores, both float64 [num_rows]."""
    from cloze.tasks.scores import regression_metrics

    measured = regression_metrics(labels, cosines)
    kept = {key: measured[key] for key in ("examples", "spearman", "pearson")}
    score = float(np.mean([kept[part] for part in metric_parts(task.metric)]))
    columns = {
        "label": pa.array(labels, pa.float64()),
        "prediction": pa.array(cosines, pa.float64()),
        "probabilities": pa.array([[]] * len(labels), pa.list_(pa.float32())),
    }
    return Outcome({"metric": task.metric, "score": score, **kept}, columns)


def ranking_outcome(
    task: Task, collection: Collection, scores: Iterator[np.ndarray] | Sequence[np.ndarray]
) -> Outcome:
    """Return what a ranking of the documents for each query is worth.

    scores: of each query [num_documents], the higher the better; only the 100 best are kept.
    """
    rankings, kept = [], []
    for row in scores:
        best = best_documents(row, LONG_CUTOFF)
        rankings.append(best)
        kept.append(row[best])
    values = ranking_measures(rankings, collection.relevant)
    means = {name: float(measure.mean()) for name, measure in values.items()}
    ids = np.array(collection.documents.ids, dtype=object)
    strings = pa.list_(pa.string())
    columns = {
        "label": pa.array([list(ids[list(found)]) for found in collection.relevant], strings),
        "prediction": pa.array([list(ids[ranking]) for ranking in rankings], strings),
        "scores": pa.array(kept, pa.list_(pa.float32())),
    }
    score = means[task.metric]
    statistics = np.stack([values[task.metric], np.ones(len(rankings))], axis=1)
    return Outcome(
        {"metric": task.metric, "score": score, "examples": len(rankings), **means},
        columns,
        statistics,
    )
