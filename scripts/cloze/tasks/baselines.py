"""What a task gives away without an encoder: the majority class, and counted words."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from cloze.cli import progress
from cloze.errors import ClozeError
from cloze.tasks.containment import grouped_hold_out
from cloze.tasks.task import TaskSplit

REGULARISATIONS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
HOLD_OUT_FRACTION = 0.2
# Words of one letter and punctuation carry sentiment too ("i", "!", "?").
_TOKEN_PATTERN = r"\w+|[^\w\s]"
_NGRAM_RANGE = (1, 2)
_MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class Baseline:
    """Predictions, int64 [num_validation], and the facts a report tells about them."""

    predictions: np.ndarray
    facts: dict[str, Any]


def majority_class(train: TaskSplit, validation: TaskSplit) -> Baseline:
    """Predict the most frequent label of the training split, the first of several, for all."""
    label = int(np.bincount(train.labels).argmax())
    return Baseline(np.full(len(validation), label), {"label": label})


def tfidf_logistic_regression(train: TaskSplit, validation: TaskSplit, seed: int) -> Baseline:
    """Fit TF-IDF features (words and word pairs, sublinear) and a logistic regression.

    The inverse regularisation C is chosen on a hold-out of the training split that shares
    no part of a row with the rest (`grouped_hold_out`); the model is then fitted again on
    all of the training split. Raises `ClozeError` if a label's rows do not allow that.
    """
    parts = grouped_hold_out(train.texts, HOLD_OUT_FRACTION, seed)
    fitting, held_out = train.take(parts.train), train.take(parts.held_out)
    if not len(held_out) or len(np.unique(fitting.labels)) < 2:
        raise ClozeError(
            f"the training split of {len(train)} rows is too small or too repetitive to hold out "
            "a part of it for the TF-IDF baseline; add rows"
        )
    scores = {}
    with progress(total=len(REGULARISATIONS) + 1, unit=" fits", description="TF-IDF") as bar:
        for regularisation in REGULARISATIONS:
            model = _fit(fitting, regularisation)
            scores[regularisation] = float(
                (model.predict(held_out.texts) == held_out.labels).mean()
            )
            bar.update()
        # Of equal scores the strongest regularisation, the first, is taken.
        best = max(scores, key=lambda regularisation: scores[regularisation])
        model = _fit(train, best)
        bar.update()
    facts = {
        "C": best,
        "ngram_range": list(_NGRAM_RANGE),
        "num_features": len(model["tfidf"].vocabulary_),
        "hold_out": {
            "rows_fitted": len(fitting),
            "rows_held_out": len(held_out),
            "rows_removed": int(parts.removed.size),
            "accuracy_by_C": {str(key): value for key, value in scores.items()},
        },
    }
    return Baseline(model.predict(validation.texts), facts)


def _fit(train: TaskSplit, regularisation: float) -> Pipeline:
    features = TfidfVectorizer(
        token_pattern=_TOKEN_PATTERN, ngram_range=_NGRAM_RANGE, sublinear_tf=True
    )
    classifier = LogisticRegression(C=regularisation, max_iter=_MAX_ITERATIONS)
    model = Pipeline([("tfidf", features), ("regression", classifier)])
    return model.fit(train.texts, train.labels)
