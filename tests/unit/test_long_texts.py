"""What is measured of an encoder on long texts."""

import math
from argparse import Namespace

import numpy as np
import pytest
import torch
from torch import nn

from cloze.objectives.mlm import PretrainingData
from cloze.show.figures import positions_figure
from cloze.show.long_texts import loss_by_position, repeated_words
from cloze.tokens.shards import Rows
from tests.tiny_pairs import make_pairs
from tests.tiny_pretraining import CPU, SPECIAL, make_objective

LENGTH, VOCAB_SIZE, FIRST_NEEDLE = 64, 60_000, 59_000
DISTANCES = (3, 16, 31, 40, 60)


def samples_with_needles(seed: int, repeats: int = 2) -> Rows:
    """Samples of words that stand once, and of a needle that stands so often in each of them."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(80):
        words = 5 + generator.permutation(FIRST_NEEDLE - 5)[: LENGTH - 2]
        distance = DISTANCES[number % len(DISTANCES)]
        words[[LENGTH - 3 - distance, LENGTH - 3]] = FIRST_NEEDLE + number
        if repeats == 3:
            words[0] = FIRST_NEEDLE + number
        rows.append([2, *words, 3])
    ids = np.concatenate(rows).astype(np.uint16)
    offsets = np.arange(0, len(ids) + 1, LENGTH)
    return Rows(
        max_length=LENGTH, row_length=LENGTH, vocab_size=VOCAB_SIZE, input_ids=ids,
        row_offsets=offsets, sample_offsets=offsets, word_starts=np.ones(len(ids), dtype=bool),
        sentence_starts=ids == 2, documents=np.arange(80, dtype=np.uint32),
        second_lengths=np.zeros(80, dtype=np.uint32), is_next=np.zeros(80, dtype=bool),
    )  # fmt: skip


def data_of(validation: Rows) -> PretrainingData:
    args = Namespace(seed=0, mask_whole_words=False, next_sentence=False)
    return PretrainingData.of_rows(samples_with_needles(1), validation, SPECIAL, args)


class Copier(nn.Module):
    """Guesses the needle where it can be seen, up to so many tokens away."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach

    def forward(self, packed, positions):
        away = (torch.arange(LENGTH) - positions).abs()
        is_seen = (packed.input_ids >= FIRST_NEEDLE) & (away <= self.reach)
        logits = torch.zeros(len(positions), 1, VOCAB_SIZE)
        row, column = is_seen.nonzero(as_tuple=True)
        logits[row, 0, packed.input_ids[row, column]] = 30.0
        return logits


def test_a_word_that_can_be_copied_is_a_gain_of_all_that_it_was_unknown_by():
    found = repeated_words(Copier(LENGTH), data_of(samples_with_needles(2)), CPU)
    assert [(part["first"], part["last"], part["pairs"]) for part in found] == [
        (16, 31, 32), (32, 63, 32),
    ]  # fmt: skip
    for part in found:
        assert (part["seen"], part["masked"]) == (1.0, 0.0)
        assert part["gain"] == pytest.approx(math.log(VOCAB_SIZE), abs=1e-6)


def test_an_encoder_that_sees_no_further_than_its_reach_gains_nothing_beyond():
    near, far = repeated_words(Copier(31), data_of(samples_with_needles(2)), CPU)
    assert near["seen"] == 1.0
    assert (far["seen"], far["gain"], far["ci95"]) == (0.0, 0.0, [0.0, 0.0])


def test_a_word_that_stands_a_third_time_is_no_pair():
    assert repeated_words(Copier(LENGTH), data_of(samples_with_needles(2, repeats=3)), CPU) == []


def test_samples_of_two_texts_have_no_pairs():
    assert repeated_words(Copier(LENGTH), data_of(make_pairs(8, 16, VOCAB_SIZE, 1)), CPU) == []


def test_losses_by_position_add_up_to_the_validation_loss():
    objective = make_objective()
    model = objective.masked_lm
    bins = loss_by_position(model, objective.validation, 16, CPU)
    assert [(part["first"], part["last"]) for part in bins] == [(n, n + 1) for n in range(0, 16, 2)]
    predictions = sum(part["predictions"] for part in bins)
    total = sum(part["loss"] * part["predictions"] for part in bins if part["predictions"])
    whole = objective.evaluate(CPU, objective.num_eval_examples)["validation_loss"]
    assert total / predictions == pytest.approx(whole, rel=1e-5)
    # Samples are half as long as they might be.
    assert bins[-1] == {"first": 14, "last": 15, "predictions": 0, "loss": None,
                        "standard_error": None}  # fmt: skip
    assert "position in a sample" in positions_figure(bins)


class Forgetful(nn.Module):
    """Is the surer of a wrong token, the later it stands."""

    def forward(self, packed, positions):
        logits = torch.zeros(*positions.shape, 64)
        logits[..., 0] = packed.position_ids.gather(1, positions).float()
        return logits


def test_a_loss_that_grows_with_the_position_is_seen_to():
    objective = make_objective(validation_rows=64)
    bins = loss_by_position(Forgetful(), objective.validation, 16, CPU)
    losses = [part["loss"] for part in bins if part["loss"] is not None]
    assert losses == sorted(losses)
    assert losses[0] < losses[-1] - 1
