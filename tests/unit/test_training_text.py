import random
from pathlib import Path

import numpy as np
import pytest

from cloze.tokens.training_text import (
    PASSAGE_CHARACTERS,
    choose,
    default_training_bytes,
    open_training_text,
    split_passages,
)
from tests.texts import write_documents


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        "word " * 20_000,
        "x" * (3 * PASSAGE_CHARACTERS + 1),
        ("é" * 1000 + "\n") * 100,
        " " + "x" * (2 * PASSAGE_CHARACTERS),
    ],
)
def test_passages_are_short_and_joined_give_the_text(text: str) -> None:
    passages = list(split_passages(text))
    assert "".join(passages) == text
    assert max(map(len, passages)) <= PASSAGE_CHARACTERS


def test_passages_end_before_white_space() -> None:
    passages = list(split_passages("word " * 20_000))
    assert len(passages) == 4
    assert all(passage[0] == " " for passage in passages[1:])
    assert sum(passage.count("word") for passage in passages) == 20_000


def test_the_choice_is_spread_evenly_and_fits() -> None:
    sizes = np.random.default_rng(0).integers(1, 2000, 10_000)
    is_chosen = choose(sizes, 1_000_000)
    chosen = int(sizes[is_chosen].sum())
    assert 998_000 < chosen <= 1_000_000
    per_tenth = is_chosen.reshape(10, -1).sum(axis=1)
    assert per_tenth.min() > 0.95 * per_tenth.max()


def test_everything_is_chosen_where_it_fits_or_there_is_no_limit() -> None:
    sizes = np.array([10, 20, 30])
    assert choose(sizes, 60).all()
    assert choose(sizes, 0).all()
    assert choose(np.empty(0, np.int64), 0).shape == (0,)
    assert choose(sizes, 59).sum() < 3


def test_one_passage_at_least_is_chosen() -> None:
    assert choose(np.array([100, 200]), 1).sum() == 1


def test_training_text_of_a_file(tmp_path: Path) -> None:
    texts = [f"document {number} " * 100 for number in range(50)]
    write_documents(tmp_path / "train.parquet", texts)
    total = sum(map(len, texts))
    every = open_training_text(tmp_path / "train.parquet")
    assert list(every.passages("read")) == texts
    assert every.sample == tuple(texts[i] for i in (0, 1, 2, 4, 8, 16, 32))
    assert (every.num_documents, every.text_bytes, every.training_bytes) == (50, total, total)
    some = every.capped(total // 4)
    passages = list(some.passages("read"))
    assert 10 <= len(passages) <= 13
    assert [text for text in texts if text in passages] == passages
    assert some.training_bytes == sum(map(len, passages)) <= total // 4
    assert some.text_bytes == total


def test_parts_of_a_long_document_are_chosen(tmp_path: Path) -> None:
    lines = [f"{number:07d} " + "x" * 992 for number in range(1000)]
    write_documents(tmp_path / "train.parquet", ["\n".join(lines)])
    text = open_training_text(tmp_path / "train.parquet").capped(250_000)
    found = "".join(text.passages("read"))
    assert 200_000 < len(found) <= 250_000
    numbers = [number for number, line in enumerate(lines) if line[:8] in found]
    assert min(numbers) < 300
    assert max(numbers) > 700


@pytest.mark.parametrize("model", ["wordpiece", "bpe", "byte-level-bpe", "unigram"])
def test_less_text_is_trained_on_where_words_hardly_repeat(model: str) -> None:
    draw = random.Random(0)
    words = ["".join(draw.choices("กขคงจฉช", k=5)) for _ in range(2000)]
    spaced = " ".join(draw.choices(words, k=20_000))
    most, least = (10, 1) if model == "unigram" else (20, 3)
    assert default_training_bytes(model, [spaced]) == most * 1_000_000
    unspaced = ["".join(draw.choices(words, k=20)) for _ in range(400)]
    assert default_training_bytes(model, unspaced) == least * 1_000_000
    assert default_training_bytes(model, []) == most * 1_000_000


def test_han_are_words_of_their_own_where_the_model_says_so() -> None:
    draw = random.Random(0)
    characters = [chr(0x4E00 + number) for number in range(500)]
    text = "".join(draw.choices(characters, k=20_000))
    assert default_training_bytes("wordpiece", [text]) == 20_000_000
    assert default_training_bytes("byte-level-bpe", [text]) == 3_000_000
