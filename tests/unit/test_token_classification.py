"""Sentences of words as tokens, windows of long ones, and batches of them."""

from argparse import Namespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from cloze.model.heads import TokenClassifier
from cloze.model.hf_config import config_from_folder
from cloze.objectives.task import TrainingRows
from cloze.objectives.token_classification import (
    TokenClassification,
    _windows,
    encode_words,
    tags_of_words,
)
from cloze.tasks.task import Task, TaskSplit
from cloze.tokens.tokenizer import load_tokenizer
from tests.tiny_pretraining import CPU
from tests.tiny_task import write_encoder

LABELS = ["O", "B-x", "I-x"]


def sentences(count: int, seed: int = 0, longest: int = 40) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    return [
        [f"w{rng.integers(1, 59)}" for _ in range(rng.integers(1, longest))] for _ in range(count)
    ]


@pytest.fixture
def tokenizer(tmp_path):
    return load_tokenizer(write_encoder(tmp_path / "encoder") / "tokenizer.json")


def test_each_word_is_judged_once_whatever_the_length(tokenizer):
    words = sentences(50)
    for max_length in (8, 16, 64):
        encoded = encode_words(tokenizer, words, max_length)
        assert encoded.lengths.max() <= max_length
        texts = np.arange(len(encoded.lengths))
        judged = [
            (row, word)
            for row, word in zip(
                np.repeat(encoded.row_of(texts), encoded.lengths), encoded.words, strict=True
            )
            if word >= 0
        ]
        assert len(judged) == len(set(judged)) == sum(map(len, words))


def test_a_word_is_judged_where_it_has_most_context():
    is_first = np.ones(20, dtype=bool)
    windows = _windows(is_first, 8)
    context = {}
    for window, judged in windows:
        for place in np.flatnonzero(judged):
            before = place if window.start else 99
            after = window.stop - window.start - 1 - place if window.stop < 20 else 99
            context[window.start + place] = min(before, after)
    assert sorted(context) == list(range(20))
    # Windows begin every four pieces: in the middle the shorter side never has fewer than two.
    assert min(context.values()) >= 2


def test_windows_begin_with_words_and_a_longer_word_than_a_window_is_cut():
    is_first = np.array([True, False, True, False, False, True, False, False, True])
    assert all(is_first[window.start] for window, _ in _windows(is_first, 6))
    one_word = np.array([True] + [False] * 19)
    judged = np.concatenate([judged for _, judged in _windows(one_word, 8)])
    assert judged.sum() == 1


def test_what_is_predicted_at_tokens_is_put_together_by_word(tokenizer):
    words = [*sentences(5), [" "], []]
    encoded = encode_words(tokenizer, words, 12)
    found = tags_of_words(encoded, encoded.words + 1, [len(row) for row in words])
    for row, tags in zip(words, found, strict=True):
        if row and row != [" "]:
            assert tags.tolist() == list(range(1, len(row) + 1))
    # What the tokenizer makes nothing of has the first tag.
    assert found[5].tolist() == [0]
    assert found[6].tolist() == []


@pytest.fixture
def objective(tmp_path) -> TokenClassification:
    folder = write_encoder(tmp_path / "encoder")
    words = sentences(21)
    rng = np.random.default_rng(1)
    labels = np.empty(len(words), dtype=object)
    for row, found in enumerate(words):
        labels[row] = rng.integers(0, 3, len(found))
    split = TaskSplit(
        [" ".join(row) for row in words], labels, columns={"tokens": pa.array(words)},
        label_type=pa.list_(pa.int32()),
    )  # fmt: skip
    facts = {"scheme": "bio", "metric": "entity_f1", "objective": "token_classification"}
    settings = Namespace(class_weights="none", seed=0, max_length=16, classifier_dropout=0.1)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    encoded = TokenClassification.encode(tokenizer, split, settings, 64)
    rows = np.arange(len(words))
    data = TrainingRows(Task(tmp_path, "t", LABELS, facts), split, encoded, rows[:18], rows[18:])
    torch.manual_seed(0)
    model = TokenClassifier(config_from_folder(folder), 3).eval()
    return TokenClassification(model, data, settings)


def test_a_batch_costs_the_mean_of_its_words_and_so_do_its_parts(objective):
    texts = objective._texts_of_batch(0, 8)
    encoded, split = objective.data.encoded, objective.data.split
    expected, count = 0.0, 0
    for text in texts:
        batch, _ = pack_one(objective, text)
        logits = objective.model(batch)[0].float()
        here = slice(encoded.offsets[text], encoded.offsets[text + 1])
        row = encoded.row_of(np.array([text]))[0]
        for place, word in enumerate(encoded.words[here]):
            if word >= 0:
                expected -= float(logits[place].log_softmax(-1)[split.labels[row][word]].detach())
                count += 1

    def loss(part):
        return float(objective.loss(objective.model, objective.batch(0, 8, 0.0, part)).detach())

    assert loss(None) == pytest.approx(expected / count, rel=1e-5)
    parts = sum(loss((start, start + 2)) for start in range(0, 8, 2))
    assert parts == pytest.approx(expected / count, rel=1e-5)


def pack_one(objective, text):
    from cloze.objectives.texts import pack_texts

    return pack_texts(objective.data.encoded, np.array([text]))


def test_held_out_sentences_are_judged_whole_and_none_of_them_is_trained_on(objective):
    found = objective.evaluate(CPU, 0)
    assert 0 <= found["held_out_score"] <= 1
    rows = objective.data.encoded.row_of(objective._texts)
    assert set(rows.tolist()) == set(range(18))
