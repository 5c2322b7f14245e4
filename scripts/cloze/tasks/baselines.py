"""Baselines without an encoder: the majority class, and TF-IDF with a logistic regression."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import scipy.sparse
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier

from cloze.cli import progress
from cloze.errors import ClozeError
from cloze.tasks.hold_out import hold_out
from cloze.tasks.kind import Baseline, Outcome
from cloze.tasks.labels import labels_outcome
from cloze.tasks.task import Task, TaskSplit

REGULARISATIONS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
HOLD_OUT_FRACTION = 0.2
# Words of one letter and punctuation carry sentiment too ("i", "!", "?").
_TOKEN_PATTERN = r"\w+|[^\w\s]"
_NGRAM_RANGE = (1, 2)
_MAX_ITERATIONS = 1000


def majority_class(task: Task, train: TaskSplit, splits: Mapping[str, TaskSplit]) -> Baseline:
    """Predict for all rows of `splits` the most frequent label of the training split.

    Of several the first; of scores, their mean.
    """
    if train.labels.dtype.kind == "f":
        label: float = float(train.labels.mean())
    else:
        label = int(np.bincount(train.labels).argmax())
    outcomes = {
        name: labels_outcome(task, split.labels, np.full(len(split), label))
        for name, split in splits.items()
    }
    return Baseline(outcomes, {"label": label})


def tfidf_logistic_regression(
    train: TaskSplit,
    splits: Mapping[str, TaskSplit],
    seed: int,
    judge: Callable[[np.ndarray, np.ndarray], Outcome],
) -> Baseline:
    """Predict `splits` from TF-IDF features (words, word pairs; sublinear) by logistic regression.

    Scores get a ridge regression instead, several labels a regression each; `judge` measures
    predictions by labels. The features of a pair are those of either text,
    their absolute differences and their products. The inverse regularisation C is the one
    with the best score on a hold-out of the training split that shares nothing with the
    rest (`hold_out`), tried from the strongest until two in a row do worse; the model is then
    fitted again on all of the training split. Raises `ClozeError` if a label's rows do not
    allow that.
    """
    parts = hold_out(train, HOLD_OUT_FRACTION, seed)
    fitting, held_out = train.take(parts.train), train.take(parts.held_out)
    if not len(held_out) or len(np.unique(fitting.labels, axis=0)) < 2:
        raise ClozeError(
            f"the training split of {len(train)} rows is too small or too repetitive to hold out "
            "a part of it for the TF-IDF baseline; add rows"
        )
    scores = {}
    with progress(total=len(REGULARISATIONS) + 1, unit=" fits", description="TF-IDF") as bar:
        features = _Features(fitting)
        rows, held_out_rows = features.of(fitting), features.of(held_out)
        for regularisation in REGULARISATIONS:
            predictions = _fit(rows, fitting.labels, regularisation).predict(held_out_rows)
            measured = judge(held_out.labels, predictions).metrics
            scores[regularisation] = measured["score"]
            bar.update()
            if _is_past_its_best(list(scores.values())):
                break
        # Of equal scores the strongest regularisation, the first, is taken.
        best = max(scores, key=lambda regularisation: scores[regularisation])
        features = _Features(train)
        model = _fit(features.of(train), train.labels, best)
        bar.update()
    facts = {
        "C": best,
        "ngram_range": list(_NGRAM_RANGE),
        "num_features": features.number,
        "hold_out": {
            "rows_fitted": len(fitting),
            "rows_held_out": len(held_out),
            "rows_removed": int(parts.removed.size),
            f"{measured['metric']}_by_C": {str(key): value for key, value in scores.items()},
        },
    }
    outcomes = {
        name: judge(split.labels, model.predict(features.of(split)))
        for name, split in splits.items()
    }
    return Baseline(outcomes, facts)


def _is_past_its_best(scores: Sequence[float]) -> bool:
    """Were the last two lower than the best? The weaker the regularisation, the slower a fit."""
    return len(scores) > 2 and max(scores[-2:]) < max(scores[:-2])


class _Features:
    """TF-IDF features of rows, with the words and weights of one split."""

    def __init__(self, train: TaskSplit) -> None:
        self._vectorizer = TfidfVectorizer(
            token_pattern=_TOKEN_PATTERN, ngram_range=_NGRAM_RANGE, sublinear_tf=True
        )
        self._vectorizer.fit([*train.texts, *(train.pairs or ())])
        self.number = len(self._vectorizer.vocabulary_) * (1 if train.pairs is None else 4)

    def of(self, split: TaskSplit) -> csr_matrix:
        """Return the features, float64 [num_rows, number]."""
        first = self._vectorizer.transform(split.texts)
        if split.pairs is None:
            return first
        second = self._vectorizer.transform(split.pairs)
        parts = [first, second, abs(first - second), first.multiply(second)]
        return scipy.sparse.hstack(parts, format="csr")


def _fit(
    rows: csr_matrix, labels: np.ndarray, regularisation: float
) -> "LogisticRegression | Ridge | _OneForEach":
    if labels.dtype.kind == "f":
        return Ridge(alpha=1 / regularisation).fit(rows, labels)
    if labels.dtype.kind == "b":
        each = LogisticRegression(C=regularisation, max_iter=_MAX_ITERATIONS)
        return _OneForEach(OneVsRestClassifier(each).fit(rows, labels))
    return LogisticRegression(C=regularisation, max_iter=_MAX_ITERATIONS).fit(rows, labels)


class _OneForEach:
    """Regressions of several labels, whose predictions are bool [num_rows, num_labels]."""

    def __init__(self, fitted: OneVsRestClassifier) -> None:
        self._fitted = fitted

    def predict(self, rows: csr_matrix) -> np.ndarray:
        """Return the labels that are likelier than not."""
        return np.asarray(self._fitted.predict(rows), dtype=bool)
