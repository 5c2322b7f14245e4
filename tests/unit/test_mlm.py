"""Masked-language modelling: its evaluation and its first weights."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from cloze.objectives.masking import MaskedTokens, Masker
from cloze.objectives.mlm import masked_bits_per_byte, ordinary_tokens
from tests.tiny import make_rows
from tests.tiny_pairs import make_pairs
from tests.tiny_pretraining import CPU, VOCAB_SIZE, make_objective

# More than two batches, the last one smaller.
ROWS = 70


def test_scores_are_means_over_every_predicted_token():
    objective = make_objective(validation_rows=ROWS)
    scores = objective.evaluate(CPU, ROWS)
    model, logits, labels = objective.model.eval(), [], []
    for batch in objective.validation.evaluation_batches(32):
        kept = batch.weights > 0
        logits.append(model(batch.packed, batch.positions)[kept])
        labels.append(batch.labels[kept])
    assert len(labels) == 3
    expected = F.cross_entropy(torch.cat(logits), torch.cat(labels))
    assert scores["validation_loss"] == pytest.approx(expected.item(), rel=1e-5)
    right = (torch.cat(logits).argmax(-1) == torch.cat(labels)).float().mean()
    assert scores["validation_accuracy"] == pytest.approx(right.item(), rel=1e-6)
    tokens = ordinary_tokens(objective.data.validation_rows)
    bits = masked_bits_per_byte(scores["validation_loss"], tokens, objective.data.text_bytes)
    assert scores["validation_masked_bits_per_byte"] == bits


def test_the_logits_of_a_batch_never_exist_all_at_once(monkeypatch):
    objective = make_objective(validation_rows=ROWS)
    whole = objective.evaluate(CPU, ROWS)
    sizes, predict = [], objective.model.predict

    def measured(states):
        logits = predict(states)
        sizes.append(logits.numel())
        return logits

    monkeypatch.setattr(objective.model, "predict", measured)
    monkeypatch.setattr("cloze.objectives.mlm._MAX_LOGITS", 32 * VOCAB_SIZE)
    parts = objective.evaluate(CPU, ROWS)
    assert max(sizes) == 32 * VOCAB_SIZE
    assert len(sizes) > 3
    assert parts["validation_loss"] == pytest.approx(whole["validation_loss"], rel=1e-6)
    assert parts["validation_accuracy"] == whole["validation_accuracy"]


def rows_masked_by(objective, num_examples: int, monkeypatch) -> dict[int, MaskedTokens]:
    """Evaluate that many rows; return what was masked of each, by its number in the split."""
    seen: dict[int, MaskedTokens] = {}
    mask = Masker.mask

    def noted(self, input_ids, valid, step, first_row=0, word_starts=None):
        masked = mask(self, input_ids, valid, step, first_row, word_starts)
        for row in range(len(input_ids)):
            assert first_row + row not in seen
            seen[first_row + row] = MaskedTokens(*(value[row] for value in vars(masked).values()))
        return masked

    monkeypatch.setattr(Masker, "mask", noted)
    objective.evaluate(CPU, num_examples)
    monkeypatch.setattr(Masker, "mask", mask)
    return seen


def test_a_part_of_the_split_is_spread_over_it_and_masked_as_in_the_whole(monkeypatch):
    objective = make_objective(validation_rows=10 * 32)
    whole = rows_masked_by(objective, 10 * 32, monkeypatch)
    some = rows_masked_by(objective, 3 * 32 - 5, monkeypatch)
    assert sorted(whole) == list(range(10 * 32))
    assert len(some) == 3 * 32
    batches = sorted({row // 32 for row in some})
    assert np.diff(batches).min() > 1
    assert np.ptp(batches) >= 6
    for row, masked in some.items():
        for name, value in vars(masked).items():
            assert np.array_equal(value, getattr(whole[row], name)), (row, name)


@pytest.mark.parametrize("num_examples", [ROWS, 10_000])
def test_as_many_rows_as_there_are_is_all_of_them(num_examples, monkeypatch):
    objective = make_objective(validation_rows=ROWS)
    assert sorted(rows_masked_by(objective, num_examples, monkeypatch)) == list(range(ROWS))


def test_the_unigram_floor_is_what_token_frequencies_reach():
    objective = make_objective(validation_rows=200)
    floor = objective.unigram_entropy
    counts = np.bincount(objective.data.train_rows.input_ids, minlength=VOCAB_SIZE) + 1
    counts[:5] = 1
    batches = objective.validation.evaluation_batches(32)
    labels = torch.cat([batch.labels[batch.weights > 0] for batch in batches]).numpy()
    assert floor == pytest.approx(-np.log(counts / counts.sum())[labels].mean())
    # The 59 words are drawn almost evenly here, so little is known of them.
    assert floor == pytest.approx(math.log(59), abs=0.05)


def test_masked_bits_per_byte():
    bits = masked_bits_per_byte(math.log(2), ordinary_tokens=100, text_bytes=400)
    assert bits == pytest.approx(0.25)


def test_next_sentence_is_scored_over_every_pair():
    objective = make_objective("--next-sentence", validation_rows=ROWS)
    scores = objective.evaluate(CPU, ROWS)
    model, logits, labels, tokens, words = objective.model.eval(), [], [], [], []
    for batch in objective.validation.evaluation_batches(32):
        said, pairs = model(batch.packed, batch.positions, batch.pairs.first_positions)
        logits.append(pairs.flatten(0, 1))
        labels.append(batch.pairs.labels.flatten())
        tokens.append(said[batch.weights > 0])
        words.append(batch.labels[batch.weights > 0])
    right = (torch.cat(logits).argmax(-1) == torch.cat(labels)).float().mean()
    loss = F.cross_entropy(torch.cat(logits), torch.cat(labels))
    assert scores["validation_next_sentence_accuracy"] == pytest.approx(right.item(), rel=1e-6)
    assert scores["validation_next_sentence_loss"] == pytest.approx(loss.item(), rel=1e-5)
    alone = F.cross_entropy(torch.cat(tokens), torch.cat(words))
    assert scores["validation_loss"] == pytest.approx(alone.item(), rel=1e-5)


def test_without_the_objective_nothing_is_said_of_pairs():
    names = make_objective().evaluate(CPU, 8).keys()
    assert names == {"validation_loss", "validation_accuracy", "validation_masked_bits_per_byte"}


def test_ordinary_tokens_are_the_text_counted_once():
    single, pairs = (make(5, 16, VOCAB_SIZE, seed=0) for make in (make_rows, make_pairs))
    assert ordinary_tokens(single) == (single.input_ids >= 5).sum()
    # Three tokens of each second text that was drawn from elsewhere are counted there.
    drawn = int((~pairs.is_next).sum())
    assert ordinary_tokens(pairs) == (pairs.input_ids >= 5).sum() - 3 * drawn


@pytest.mark.parametrize("flags", [["--embedding-init=random"], ["--init-from=elsewhere"]])
def test_weights_that_were_chosen_otherwise_are_not_counted(flags, monkeypatch):
    # What is loaded is another test's matter.
    monkeypatch.setattr("cloze.objectives.mlm._check_same_tokenizer", lambda args: None)
    monkeypatch.setattr("cloze.objectives.mlm.load_matching", lambda *args, **more: "")
    objective = make_objective(*flags)
    before = {name: value.clone() for name, value in objective.model.state_dict().items()}
    objective.initialize_embeddings()
    after = objective.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
