"""The start of a run from how often each token occurs."""

from pathlib import Path

import numpy as np
import pytest

import pretrain
from cloze.model.device import Compute
from cloze.objectives.inputs import load_inputs, new_model, start_from_counts
from cloze.objectives.mlm_evaluation import evaluate_mlm, unigram_entropy
from cloze.objectives.token_frequencies import unigram_log_probabilities
from tests.tiny import make_rows
from tests.tiny_pretraining import command, write_inputs

SPECIAL = frozenset(range(5))


def test_shares_of_the_ordinary_tokens_with_add_one_smoothing() -> None:
    rows = make_rows(50, 16, 64, seed=0)
    shares = np.exp(unigram_log_probabilities(rows, SPECIAL))
    ordinary = rows.input_ids[rows.input_ids >= len(SPECIAL)]
    assert shares.sum() == pytest.approx(1.0)
    assert shares[7] == pytest.approx((np.sum(ordinary == 7) + 1) / (len(ordinary) + 64))
    assert shares[:5] == pytest.approx(1 / (len(ordinary) + 64))


def test_the_first_guesses_are_by_frequency(tmp_path: Path) -> None:
    line = command(write_inputs(tmp_path), tmp_path / "model", 1)
    args = pretrain.build_parser().parse_args(line)
    inputs = load_inputs(args)
    model = new_model(args, inputs)
    compute = Compute("cpu", "fp32", False, 1)
    drawn = evaluate_mlm(model, inputs.validation, compute).validation_loss
    start_from_counts(model, inputs, args.seed)
    counted = evaluate_mlm(model, inputs.validation, compute).validation_loss
    floor = unigram_entropy(inputs.train_rows, inputs.validation, inputs.special.all)
    # The embeddings add logits with a standard deviation of 0.5, and so half its square.
    assert abs(counted - floor) < 0.2
    assert counted < drawn - 0.1
