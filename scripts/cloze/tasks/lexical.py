"""How alike texts are by their words alone: what vectors of an encoder have to beat."""

import re
from collections.abc import Iterator, Mapping

import bm25s
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from cloze.cli import progress
from cloze.tasks.kind import Baseline, Outcome
from cloze.tasks.retrieval import Collection
from cloze.tasks.sentence_similarity import (
    collection_of,
    cosine_outcome,
    is_scored,
    ranking_outcome,
)
from cloze.tasks.task import Task, TaskSplit

_WORD = re.compile(r"\w+")
# Robertson's constants as Lucene has them, and with it most published figures.
_K1, _B = 1.2, 0.75


def tfidf_cosine(task: Task, train: TaskSplit, splits: Mapping[str, TaskSplit]) -> Baseline:
    """Compare texts by the cosine of their TF-IDF vectors (words; sublinear).

    The weights of words are those of the training texts and, in a search, of the documents, which
    anyone who searches has.
    """
    return Baseline({name: _tfidf_outcome(task, train, split) for name, split in splits.items()})


def _tfidf_outcome(task: Task, train: TaskSplit, split: TaskSplit) -> Outcome:
    vectorizer = TfidfVectorizer(token_pattern=_WORD.pattern, sublinear_tf=True)
    known = [*train.texts, *(train.pairs or ())]
    if is_scored(split):
        vectorizer.fit(known)
        first, second = (vectorizer.transform(texts) for texts in (split.texts, split.pairs))
        cosines = np.asarray(first.multiply(second).sum(axis=1)).ravel()
        return cosine_outcome(task, split.labels, cosines)
    collection = collection_of(split)
    vectorizer.fit([*known, *collection.documents.texts])
    documents = vectorizer.transform(collection.documents.texts).T.tocsc()
    queries = vectorizer.transform(collection.queries)
    scores = ((queries[row] @ documents).toarray()[0] for row in _rows(collection, "TF-IDF"))
    return ranking_outcome(task, collection, scores)


def bm25(task: Task, splits: Mapping[str, TaskSplit]) -> Baseline:
    """Rank documents by BM25 (Robertson et al. 1994) in Lucene's form, by `bm25s`.

    Words are case-folded runs of letters and digits; without a stemmer and stop words, so it is
    the same for every language.
    """
    outcomes = {}
    for name, split in splits.items():
        collection = collection_of(split)
        index = bm25s.BM25(method="lucene", k1=_K1, b=_B)
        documents = [_words(text) for text in collection.documents.texts]
        index.index(documents, show_progress=False)
        scores = (
            index.get_scores(_words(collection.queries[row])) for row in _rows(collection, "BM25")
        )
        outcomes[name] = ranking_outcome(task, collection, scores)
    return Baseline(outcomes, {"k1": _K1, "b": _B})


def _rows(collection: Collection, description: str) -> Iterator[int]:
    total = len(collection.queries)
    yield from progress(range(total), total=total, unit=" queries", description=description)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
