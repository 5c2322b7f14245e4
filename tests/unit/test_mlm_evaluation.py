import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig
from cloze.model.heads import MaskedLM, MaskedLMWithNextSentence
from cloze.objectives.masking import Masker
from cloze.objectives.mlm_evaluation import (
    evaluate_mlm,
    masked_bits_per_byte,
    ordinary_tokens,
    unigram_entropy,
)
from cloze.objectives.rows import RowBatches
from tests.tiny import make_rows
from tests.tiny_pairs import make_pairs

VOCAB_SIZE = 64
CPU = Compute("cpu", "fp32", False, 1)


def make_batches(rows, next_sentence: bool = False) -> RowBatches:
    masker = Masker(
        vocab_size=VOCAB_SIZE,
        mask_token_id=4,
        special_token_ids=frozenset(range(5)),
        mlm_probability=0.15,
        max_length=16,
        seed=7,
    )
    return RowBatches(rows, masker, 0, next_sentence)


def test_scores_are_means_over_every_predicted_token():
    # 70 rows: more than two batches, the last one smaller.
    batches = make_batches(make_rows(70, 16, VOCAB_SIZE, seed=0))
    torch.manual_seed(0)
    config = EncoderConfig(vocab_size=VOCAB_SIZE, hidden_size=16, num_hidden_layers=1)
    model = MaskedLM(config).eval()
    scores = evaluate_mlm(model, batches, CPU)
    whole = next(iter(batches.evaluation_batches(32)))
    logits, labels = [], []
    for batch in batches.evaluation_batches(32):
        kept = batch.weights > 0
        logits.append(model(batch.packed, batch.positions)[kept])
        labels.append(batch.labels[kept])
    assert len(labels) == 3
    assert whole.packed.input_ids.shape == (32, 16)
    expected = F.cross_entropy(torch.cat(logits), torch.cat(labels))
    assert scores.validation_loss == pytest.approx(expected.item(), rel=1e-5)
    right = (torch.cat(logits).argmax(-1) == torch.cat(labels)).float().mean()
    assert scores.validation_accuracy == pytest.approx(right.item(), rel=1e-6)


def test_the_logits_of_a_batch_never_exist_all_at_once(monkeypatch):
    batches = make_batches(make_rows(70, 16, VOCAB_SIZE, seed=0))
    torch.manual_seed(0)
    config = EncoderConfig(vocab_size=VOCAB_SIZE, hidden_size=16, num_hidden_layers=1)
    model = MaskedLM(config).eval()
    whole = evaluate_mlm(model, batches, CPU)
    sizes, predict = [], model.predict

    def measured(states):
        logits = predict(states)
        sizes.append(logits.numel())
        return logits

    monkeypatch.setattr(model, "predict", measured)
    monkeypatch.setattr("cloze.objectives.mlm_evaluation._MAX_LOGITS", 32 * VOCAB_SIZE)
    parts = evaluate_mlm(model, batches, CPU)
    assert max(sizes) == 32 * VOCAB_SIZE
    assert len(sizes) > 3
    assert parts.validation_loss == pytest.approx(whole.validation_loss, rel=1e-6)
    assert parts.validation_accuracy == whole.validation_accuracy


def test_the_unigram_floor_is_what_token_frequencies_reach():
    train, validation = (make_rows(200, 16, VOCAB_SIZE, seed=s) for s in (0, 1))
    batches = make_batches(validation)
    floor = unigram_entropy(train, batches, frozenset(range(5)))
    counts = np.bincount(train.input_ids, minlength=VOCAB_SIZE) + 1
    counts[:5] = 1
    labels = torch.cat([b.labels[b.weights > 0] for b in batches.evaluation_batches(32)]).numpy()
    assert floor == pytest.approx(-np.log(counts / counts.sum())[labels].mean())
    # The 59 words are drawn almost evenly here, so little is known of them.
    assert floor == pytest.approx(math.log(59), abs=0.05)


def test_bits_per_byte():
    bits = masked_bits_per_byte(math.log(2), ordinary_tokens=100, text_bytes=400)
    assert bits == pytest.approx(0.25)


def test_next_sentence_is_scored_over_every_pair():
    batches = make_batches(make_pairs(70, 16, VOCAB_SIZE, seed=0), next_sentence=True)
    torch.manual_seed(0)
    config = EncoderConfig(vocab_size=VOCAB_SIZE, hidden_size=16, num_hidden_layers=1)
    model = MaskedLMWithNextSentence(config).eval()
    scores = evaluate_mlm(model, batches, CPU)
    logits, labels = [], []
    for batch in batches.evaluation_batches(32):
        pairs = model(batch.packed, batch.positions, batch.pairs.first_positions)[1]
        logits.append(pairs.flatten(0, 1))
        labels.append(batch.pairs.labels.flatten())
    right = (torch.cat(logits).argmax(-1) == torch.cat(labels)).float().mean()
    loss = F.cross_entropy(torch.cat(logits), torch.cat(labels))
    assert scores.validation_next_sentence_accuracy == pytest.approx(right.item(), rel=1e-6)
    assert scores.validation_next_sentence_loss == pytest.approx(loss.item(), rel=1e-5)
    alone = evaluate_mlm(model.masked_lm, batches, CPU)
    assert alone.validation_loss == pytest.approx(scores.validation_loss, rel=1e-6)
    assert alone.as_dict().keys() == {"validation_loss", "validation_accuracy"}


def test_ordinary_tokens_are_the_text_counted_once():
    single, pairs = (make(5, 16, VOCAB_SIZE, seed=0) for make in (make_rows, make_pairs))
    assert ordinary_tokens(single) == (single.input_ids >= 5).sum()
    # Three tokens of each second text that was drawn from elsewhere are counted there.
    drawn = int((~pairs.is_next).sum())
    assert ordinary_tokens(pairs) == (pairs.input_ids >= 5).sum() - 3 * drawn
