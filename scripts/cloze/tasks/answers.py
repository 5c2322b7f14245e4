"""What an answer is worth: exact match and F1 as in SQuAD, by the answer's language.

English is normalised as by the evaluation script of SQuAD 2.0 (Rajpurkar et al. 2018), which
gives what that of SQuAD 1.1 gives; other languages as by that of MLQA (Lewis et al. 2020), which
counts the characters of scripts that are written without spaces as words.
"""

import re
import string
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

_ASCII_PUNCTUATION = frozenset(string.punctuation)
_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    # Also inside words, as in MLQA's script.
    "ar": "ال",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
}
# Chinese as in MLQA's script; elsewhere Thai, Lao, Burmese, Khmer, kana and ideographs.
_UNSPACED = {
    "zh": "\u4e00-\u9fa5",
    "other": "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff",
}


def normalize_answer(text: str, language: str = "en") -> str:
    """Return a text in lower case without punctuation and articles, its words parted by a space.

    language: one of `settings.tasks.ANSWER_LANGUAGES`. English loses the punctuation of ASCII,
    other languages that of Unicode.
    """
    kept = text.lower().translate(_punctuation(language))
    if language in _ARTICLES:
        kept = re.sub(_ARTICLES[language], " ", kept)
    if language in _UNSPACED:
        kept = re.sub(f"([{_UNSPACED[language]}])", r" \1 ", kept)
    return " ".join(kept.split())


@cache
def _punctuation(language: str) -> dict[int, None]:
    """Return the table by which `str.translate` drops punctuation."""
    if language == "en":
        return dict.fromkeys(map(ord, _ASCII_PUNCTUATION))
    return {
        code: None
        for code in range(sys.maxunicode + 1)
        if chr(code) in _ASCII_PUNCTUATION or unicodedata.category(chr(code)).startswith("P")
    }


def answer_scores(
    prediction: str, answers: Sequence[str], language: str = "en"
) -> tuple[float, float]:
    """Return exact match (0 or 1) and F1 (0..1) of an answer, each the best over the true ones.

    No answer is the empty text. Of a question without any answer, and of one whose answers
    consist of articles and punctuation alone, the empty text is the true one.
    """
    found = normalize_answer(prediction, language)
    true = [text for text in (normalize_answer(answer, language) for answer in answers) if text]
    true = true or [""]
    return float(found in true), max(_f1(found, text) for text in true)


def _f1(prediction: str, answer: str) -> float:
    """The harmonic mean of precision and recall over words, counted as often as they occur."""
    predicted, true = prediction.split(), answer.split()
    if not predicted or not true:
        return float(predicted == true)
    shared = (Counter(predicted) & Counter(true)).total()
    return 2 * shared / (len(predicted) + len(true))


def best_null_threshold(
    differences: np.ndarray, if_answered: np.ndarray, if_null: np.ndarray
) -> float:
    """Return the threshold that gives the highest mean score where all above it get no answer.

    differences: float [num_questions], the score of no answer less that of the best one;
    if_answered, if_null: float [num_questions], what a question's best answer and no answer are
    worth. The threshold lies half way between two differences; of equally good ones it is that
    nearest to 0, where no answer is as likely as the best one.
    """
    order = np.argsort(differences, kind="stable")
    levels = differences[order].astype(np.float64)
    gains = np.concatenate([[0.0], np.cumsum((if_answered - if_null)[order])])
    edges = np.concatenate([[levels[0] - 2.0], levels, [levels[-1] + 2.0]])
    # Between equal differences no threshold lies.
    between = np.flatnonzero(np.diff(edges) > 0)
    low, high = edges[between], edges[between + 1]
    is_best = gains[between] >= gains[between].max() - 1e-9
    thresholds = np.where((low < 0) & (high > 0), 0.0, (low + high) / 2)[is_best]
    return float(thresholds[np.abs(thresholds).argmin()])


def answer_metrics(scores: np.ndarray, is_answerable: np.ndarray) -> dict[str, Any]:
    """Return the means of exact match and F1, over all questions and where some have no answer.

    scores: float64 [num_questions, 2]; is_answerable: bool [num_questions]. Keys: `examples`,
    `exact_match`, `answer_f1`, and `answerable` and `unanswerable` with the same three where there
    are questions of both kinds.
    """

    def means(rows: np.ndarray) -> dict[str, Any]:
        exact, f1 = scores[rows].mean(axis=0).tolist()
        return {"examples": int(rows.sum()), "exact_match": exact, "answer_f1": f1}

    found = means(np.ones(len(scores), dtype=bool))
    if is_answerable.any() and not is_answerable.all():
        found |= {"answerable": means(is_answerable), "unanswerable": means(~is_answerable)}
    return found
