"""The start of a run from what can be counted in its rows."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cloze.objectives import initial_embeddings
from cloze.objectives.initial_embeddings import (
    STANDARD_DEVIATION,
    cooccurrence_embeddings,
    unigram_log_probabilities,
)
from cloze.tokens.shards import Rows
from tests.tiny import make_rows
from tests.tiny_pretraining import CPU, make_objective

SPECIAL = frozenset(range(5))
CLS, SEP = 2, 3
# Tokens 10 and 11 stand in the same company, 12 in another; 19 never occurs.
LIKE, UNLIKE = (10, 11), 12


def rows_of_samples(samples: list[list[int]], vocab_size: int) -> Rows:
    """One sample a row."""
    offsets = np.cumsum([0, *map(len, samples)])
    input_ids = np.array([token for tokens in samples for token in tokens], dtype=np.uint16)
    longest = max(map(len, samples))
    starts = np.isin(np.arange(len(input_ids)), offsets)
    return Rows(
        max_length=longest,
        row_length=longest,
        vocab_size=vocab_size,
        input_ids=input_ids,
        row_offsets=offsets,
        sample_offsets=offsets,
        word_starts=np.ones(len(input_ids), dtype=bool),
        sentence_starts=starts,
        documents=np.arange(len(samples), dtype=np.uint32),
        second_lengths=np.zeros(len(samples), dtype=np.uint32),
        is_next=np.zeros(len(samples), dtype=bool),
    )


def sample(rng: np.random.Generator, word: int) -> list[int]:
    company = (13, 14, 15) if word in LIKE else (16, 17, 18)
    words = [int(rng.choice(company)), word, int(rng.choice(company))]
    return [CLS, *words, SEP]


@pytest.fixture
def rows() -> Rows:
    rng = np.random.default_rng(0)
    return rows_of_samples([sample(rng, int(rng.choice((*LIKE, UNLIKE)))) for _ in range(600)], 20)


def similarity(embeddings: Tensor, first: int, second: int) -> float:
    return float(F.cosine_similarity(embeddings[first], embeddings[second], dim=0))


def test_tokens_in_the_same_company_are_neighbours(rows: Rows) -> None:
    embeddings = cooccurrence_embeddings(rows, SPECIAL, 4, seed=0)
    assert similarity(embeddings, *LIKE) > 0.95
    assert similarity(embeddings, LIKE[0], UNLIKE) < 0.5


def test_counts_stop_at_the_bounds_of_a_sample() -> None:
    rows = rows_of_samples([[CLS, 10, SEP], [CLS, 11, SEP], [CLS, 12, 13, SEP]], 20)
    counts = initial_embeddings._count(rows, SPECIAL)
    assert counts.sum() == 2.0


def test_a_near_neighbour_counts_more_than_a_far_one() -> None:
    rows = rows_of_samples([[CLS, 10, 11, 12, SEP]], 20)
    counts = initial_embeddings._count(rows, SPECIAL)
    column = initial_embeddings._context_columns(rows, SPECIAL, 20)
    assert counts[10, column[11]] == 1.0
    assert counts[10, column[12]] == pytest.approx(0.8)


def test_the_scale_is_as_stated_and_every_token_has_an_embedding(rows: Rows) -> None:
    embeddings = cooccurrence_embeddings(rows, SPECIAL, 4, seed=0)
    assert embeddings.shape == (20, 4)
    assert float(embeddings.std()) == pytest.approx(STANDARD_DEVIATION, rel=1e-4)
    assert bool((embeddings.abs().sum(1) > 0).all())


def test_special_tokens_and_tokens_never_seen_are_drawn(rows: Rows) -> None:
    embeddings = cooccurrence_embeddings(rows, SPECIAL, 4, seed=0)
    counted = embeddings[10:19].norm(dim=1).mean()
    drawn = embeddings[[*SPECIAL, 5, 19]]
    assert bool((drawn.norm(dim=1) > 0.02 * counted).all())
    assert len(torch.unique(drawn.sign(), dim=0)) > 4


def test_without_neighbours_all_is_drawn() -> None:
    rows = rows_of_samples([[CLS, 10, SEP], [CLS, 11, SEP]], 20)
    embeddings = cooccurrence_embeddings(rows, SPECIAL, 4, seed=0)
    assert float(embeddings.std()) == pytest.approx(STANDARD_DEVIATION, rel=1e-4)


def test_directions_beyond_the_rank_are_drawn(rows: Rows) -> None:
    # Nine tokens have company, so the rank is at most nine.
    embeddings = cooccurrence_embeddings(rows, SPECIAL, 20, seed=0)
    drawn = float(embeddings[list(SPECIAL)].std())
    assert float(embeddings[10:19, 9:].std()) == pytest.approx(drawn, rel=0.3)


def test_more_dimensions_than_the_matrix_has_are_drawn(rows: Rows) -> None:
    embeddings = cooccurrence_embeddings(rows, SPECIAL, 32, seed=0)
    assert embeddings.shape == (20, 32)
    assert bool(embeddings.isfinite().all())


def test_the_same_rows_and_seed_give_the_same_bits(rows: Rows) -> None:
    first, second = (cooccurrence_embeddings(rows, SPECIAL, 4, seed=3) for _ in range(2))
    assert torch.equal(first, second)


SCRIPT = """
import hashlib, torch
from cloze.objectives.initial_embeddings import cooccurrence_embeddings
from tests.unit.test_initial_embeddings import SPECIAL, wide_rows
embeddings = cooccurrence_embeddings(wide_rows(), SPECIAL, 64, seed=3)
print(torch.get_num_threads(), hashlib.sha256(embeddings.numpy().tobytes()).hexdigest())
"""
ENVIRONMENTS = [
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "MKL_DYNAMIC": "FALSE"},
    # Other kernels than those made for this processor add in another order.
    {"OMP_NUM_THREADS": "2", "MKL_CBWR": "COMPATIBLE"},
]


def wide_rows() -> Rows:
    """Rows of 1,500 tokens, enough for a product to be worth several threads."""
    rng = np.random.default_rng(1)
    words = 5 + (rng.zipf(1.3, size=(3000, 12)) % 1495)
    return rows_of_samples([[CLS, *line, SEP] for line in words.tolist()], 1500)


@pytest.fixture
def busy_process() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        yield
        process.kill()


def test_neither_threads_nor_kernels_nor_load_change_a_bit(busy_process: None) -> None:
    folders = [str(Path(__file__).parents[2] / name) for name in (".", "scripts")]
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(folders), **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        for environment in ENVIRONMENTS
    ]
    threads, digests = zip(*(job.communicate(timeout=300)[0].split() for job in jobs), strict=True)
    assert threads == ("1", "2", "2")
    assert len(set(digests)) == 1


def test_the_number_of_threads_stays_as_it_was(rows: Rows) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        cooccurrence_embeddings(rows, SPECIAL, 4, seed=0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_few_contexts_still_tell_company_apart(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initial_embeddings, "_MATRIX_ENTRIES", 20 * 9)
    embeddings = cooccurrence_embeddings(rows, SPECIAL, 4, seed=0)
    assert similarity(embeddings, *LIKE) > similarity(embeddings, LIKE[0], UNLIKE)


def test_a_large_corpus_is_sampled_evenly(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initial_embeddings, "_COUNTED_TOKENS", 1000)
    monkeypatch.setattr(initial_embeddings, "_TOKENS_AT_ONCE", 50)
    counted = sum(len(ids) for ids, _ in initial_embeddings._ordinary_tokens(rows, SPECIAL))
    assert 400 < counted < 1000


def test_shares_of_the_ordinary_tokens_with_add_one_smoothing() -> None:
    rows = make_rows(50, 16, 64, seed=0)
    shares = np.exp(unigram_log_probabilities(rows, SPECIAL))
    ordinary = rows.input_ids[rows.input_ids >= len(SPECIAL)]
    assert shares.sum() == pytest.approx(1.0)
    assert shares[7] == pytest.approx((np.sum(ordinary == 7) + 1) / (len(ordinary) + 64))
    assert shares[:5] == pytest.approx(1 / (len(ordinary) + 64))


def zipf_rows(num_rows: int, max_length: int, vocab_size: int, seed: int) -> Rows:
    """Words as unevenly frequent as those of a language."""
    rng = np.random.default_rng(seed)
    words = 5 + (rng.zipf(1.5, size=(num_rows, max_length - 2)) - 1) % (vocab_size - 5)
    return rows_of_samples([[CLS, *line, SEP] for line in words.tolist()], vocab_size)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_first_guesses_are_by_frequency(seed: int) -> None:
    objective = make_objective(f"--seed={seed}", make_single=zipf_rows)
    drawn = objective.evaluate(CPU, 8)["validation_loss"]
    objective.initialize_embeddings()
    counted = objective.evaluate(CPU, 8)["validation_loss"]
    # The embeddings add logits with a standard deviation of 0.5, and so half its square.
    assert abs(counted - objective.unigram_entropy) < 0.3
    assert counted < drawn - 0.5
