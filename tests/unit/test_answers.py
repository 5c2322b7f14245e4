"""Exact match and F1 of answers, with numbers worked out by hand from the official scripts."""

import numpy as np
import pytest

from cloze.tasks.answers import (
    answer_metrics,
    answer_scores,
    best_null_threshold,
    normalize_answer,
)


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The Beatles!", "beatles"),
        ("  an   apple a day\n", "apple day"),
        # Punctuation goes before the articles are looked for, and leaves no space behind.
        ("the-end", "theend"),
        ("U.S.A.", "usa"),
        ("a.m.", "am"),
        ("Athena", "athena"),
        ("$1,000.50", "100050"),
        # Only the punctuation of ASCII.
        ("“The War”", "“ war”"),
        ("“the", "“"),
        ("THE", ""),
        ("Ｔhe", "ｔhe"),
    ],
)
def test_english_is_normalized_as_by_the_script_of_squad(text, normalized):
    assert normalize_answer(text) == normalized


@pytest.mark.parametrize(
    ("language", "text", "normalized"),
    [
        ("de", "Der „Eine“ Ring", "ring"),
        ("de", "The Ring", "the ring"),
        ("es", "¿La casa de los ríos?", "casa de ríos"),
        ("ar", "الكتاب", "كتاب"),
        ("vi", "Những ngôi nhà", "ngôi nhà"),
        ("hi", "दिल्ली।", "दिल्ली"),
        ("zh", "第 24 次NFL。", "第 24 次 nfl"),
        ("zh", "黑豹队", "黑 豹 队"),
        ("other", "ラジオ、東京", "ラ ジ オ 東 京"),
        ("other", "a cat", "a cat"),
    ],
)
def test_other_languages_are_normalized_as_by_the_script_of_mlqa(language, text, normalized):
    assert normalize_answer(text, language) == normalized


@pytest.mark.parametrize(
    ("prediction", "answers", "exact_match", "f1"),
    [
        ("Denver Broncos", ["Denver Broncos", "The Denver Broncos"], 1, 1),
        ("the Denver Broncos", ["denver broncos."], 1, 1),
        # Two of three words predicted, two of two true ones: 2 * 2 / (3 + 2).
        ("Denver Broncos team", ["Denver Broncos"], 0, 0.8),
        # The best of several answers, for each measure by itself.
        ("new york city", ["york", "New York"], 0, 0.8),
        # Words count as often as they stand there: 1 shared of 1 and 2.
        ("ha", ["ha ha"], 0, 2 / 3),
        ("ha ha ha", ["ha ha"], 0, 0.8),
        ("Paris", ["London"], 0, 0),
        # Of SQuAD 2.0: no answer is right where there is none, and only there.
        ("", [], 1, 1),
        ("Paris", [], 0, 0),
        ("", ["Paris"], 0, 0),
        # What is an article alone is no answer, as the script has it.
        ("the", [], 1, 1),
        ("", ["The"], 1, 1),
        ("x", ["The"], 0, 0),
        ("x", ["The", "x"], 1, 1),
    ],
)
def test_scores_are_those_of_the_script_of_squad(prediction, answers, exact_match, f1):
    assert answer_scores(prediction, answers) == (exact_match, pytest.approx(f1))


def test_characters_are_words_in_chinese():
    # Three of four characters: 2 * 3 / (3 + 4).
    assert answer_scores("黑豹队", ["黑豹球队"], "zh") == (0, pytest.approx(6 / 7))
    assert answer_scores("黑豹队", ["黑豹球队"], "en") == (0, 0)


def test_measures_tell_the_two_kinds_of_questions_apart():
    scores = np.array([[1, 1], [0, 0.5], [1, 1], [0, 0]])
    found = answer_metrics(scores, np.array([True, True, False, False]))
    assert found == {
        "examples": 4,
        "exact_match": 0.5,
        "answer_f1": 0.625,
        "answerable": {"examples": 2, "exact_match": 0.5, "answer_f1": 0.75},
        "unanswerable": {"examples": 2, "exact_match": 0.5, "answer_f1": 0.5},
    }
    assert answer_metrics(scores, np.ones(4, dtype=bool)) == {
        "examples": 4,
        "exact_match": 0.5,
        "answer_f1": 0.625,
    }


class TestNullThreshold:
    def score(self, threshold, differences, if_answered, if_null):
        return np.where(differences > threshold, if_null, if_answered).mean()

    @pytest.mark.parametrize("seed", range(20))
    def test_no_other_threshold_is_better(self, seed):
        generator = np.random.default_rng(seed)
        # Few values, so that several questions have the same.
        differences = generator.integers(-4, 5, size=30).astype(float)
        if_null = generator.integers(0, 2, size=30).astype(float)
        if_answered = (1 - if_null) * generator.random(30).round(1)
        chosen = best_null_threshold(differences, if_answered, if_null)
        scores = [
            self.score(threshold, differences, if_answered, if_null)
            for threshold in np.arange(-6, 7) + 0.5
        ]
        found = self.score(chosen, differences, if_answered, if_null)
        assert found == pytest.approx(max(scores))

    def test_it_lies_half_way_between_two_questions(self):
        differences = np.array([1.0, 3.0, 5.0])
        answered, null = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 1.0])
        assert best_null_threshold(differences, answered, null) == 2.0

    def test_nothing_is_moved_without_need(self):
        differences = np.array([-3.0, 5.0])
        answered, null = np.array([1.0, 0.0]), np.array([0.0, 1.0])
        assert best_null_threshold(differences, answered, null) == 0.0

    def test_all_or_none_may_be_answered(self):
        differences, ones, zeros = np.array([-1.0, 2.0]), np.ones(2), np.zeros(2)
        assert best_null_threshold(differences, ones, zeros) > 2
        assert best_null_threshold(differences, zeros, ones) < -1
