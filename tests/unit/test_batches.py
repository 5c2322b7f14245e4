from dataclasses import replace

import numpy as np
import pytest
import torch

from cloze.model.encoder import PackedBatch
from cloze.objectives.masking import Masker
from cloze.objectives.rows import RowBatches, describe_rows
from tests.tiny import make_rows
from tests.tiny_pairs import make_pairs

VOCAB_SIZE = 64


def make_masker(mlm_probability: float = 0.15, whole_words: bool = False) -> Masker:
    return Masker(
        vocab_size=VOCAB_SIZE,
        mask_token_id=4,
        special_token_ids=frozenset(range(5)),
        mlm_probability=mlm_probability,
        max_length=16,
        seed=7,
        whole_words=whole_words,
    )


def make_batches(num_rows: int = 13, mlm_probability: float = 0.15) -> RowBatches:
    rows = make_rows(num_rows, 16, VOCAB_SIZE, seed=0)
    return RowBatches(rows, make_masker(mlm_probability), pad_token_id=0)


def make_pair_batches(whole_words: bool = False) -> RowBatches:
    rows = make_pairs(13, 16, VOCAB_SIZE, seed=0)
    return RowBatches(rows, make_masker(whole_words=whole_words), 0, next_sentence=True)


def original_ids(batch) -> torch.Tensor:
    ids = batch.packed.input_ids.clone()
    return ids.scatter(1, batch.positions, batch.labels)


def test_an_epoch_visits_every_row_once_and_the_next_in_another_order():
    batches = make_batches()
    rows = [original_ids(batches.training_batch(3, step, 13)) for step in range(2)]
    first, second = ({tuple(row.tolist()) for row in epoch} for epoch in rows)
    assert len(first) == 13
    assert first == second
    assert not torch.equal(rows[0], rows[1])


def test_a_batch_may_span_epochs():
    batches = make_batches()
    steps = torch.cat([original_ids(batches.training_batch(3, step, 5)) for step in range(13)])
    counts = np.unique(steps.numpy(), axis=0, return_counts=True)[1]
    assert counts.tolist() == [5] * 13


def test_any_batch_is_found_without_those_before_it():
    wanted = make_batches().training_batch(3, 40, 4)
    batches = make_batches()
    for step in (90, 2, 40):
        got = batches.training_batch(3, step, 4)
    assert torch.equal(got.packed.input_ids, wanted.packed.input_ids)
    assert torch.equal(got.positions, wanted.positions)


def test_positions_and_samples_of_a_row():
    packed: PackedBatch = next(make_batches().evaluation_batches(4)).packed
    assert packed.position_ids[0, :8].tolist() == list(range(8))
    assert packed.position_ids[0, 8:12].tolist() == [0, 1, 2, 3]
    assert packed.sample_ids[0, :10].tolist() == [1] * 8 + [2] * 2
    padding = packed.sample_ids == 0
    assert (packed.input_ids[padding] == 0).all()
    assert int(packed.first_tokens().sum()) == 8


def test_evaluation_masks_never_change():
    batches = make_batches()
    first = [b.packed.input_ids for b in batches.evaluation_batches(5)]
    batches.training_batch(3, 9, 4)
    second = [b.packed.input_ids for b in batches.evaluation_batches(5)]
    assert sum(len(ids) for ids in first) == 13
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    whole = next(batches.evaluation_batches(13)).packed.input_ids
    assert torch.equal(torch.cat(first), whole)


def test_processes_share_a_global_batch_without_a_difference():
    whole = make_batches().training_batch(3, 4, 8)
    parts = [make_batches().training_batch(3, 4, 8, (start, start + 2)) for start in (0, 2, 4, 6)]
    for name in ("positions", "labels", "weights"):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(whole, name))
    assert torch.equal(torch.cat([p.packed.input_ids for p in parts]), whole.packed.input_ids)


def test_weights_of_a_training_batch_add_up_to_one():
    weights = make_batches().training_batch(3, 4, 8).weights
    assert abs(float(weights.sum()) - 1) < 1e-6
    assert len(weights[weights > 0].unique()) == 1


def test_another_rate_predicts_another_share_of_the_same_rows():
    batches = make_batches()
    few, many = batches.training_batch(3, 0, 8), batches.with_mlm_probability(0.5)
    more = many.training_batch(3, 0, 8)
    assert more.positions.shape[1] == 8
    assert torch.equal(original_ids(few), original_ids(more))


def test_the_first_rows_are_those_of_the_whole():
    batches = make_batches()
    few = [b.packed.input_ids for b in batches.first_rows(5).evaluation_batches(2)]
    assert torch.equal(torch.cat(few), next(batches.evaluation_batches(5)).packed.input_ids)


def test_a_batch_is_named_by_its_rows():
    numbers = make_batches().row_numbers(3, 4, 10)
    assert describe_rows(numbers).startswith("10 rows, digest ")
    assert describe_rows(numbers) != describe_rows(numbers[::-1])


def test_second_texts_have_another_type_than_first_ones():
    batch = next(make_pair_batches().evaluation_batches(13))
    types, samples = batch.packed.token_type_ids, batch.packed.sample_ids
    for row in range(13):
        for number in (1, 2):
            length = int((samples[row] == number).sum())
            expected = [0] * (length - 4) + [1] * 4
            assert types[row][samples[row] == number].tolist() == expected
    assert (types[samples == 0] == 0).all()


def test_single_texts_cost_no_types():
    assert next(make_batches().evaluation_batches(4)).packed.token_type_ids is None


def test_a_pair_is_labelled_where_its_sample_starts_0_for_what_follows():
    rows = make_pairs(13, 16, VOCAB_SIZE, seed=0)
    batch = next(make_pair_batches().evaluation_batches(13))
    starts = rows.sample_offsets[:-1].reshape(13, 2) - rows.row_offsets[:-1, None]
    assert batch.pairs.first_positions.tolist() == starts.tolist()
    assert batch.pairs.labels.tolist() == (1 - rows.is_next.reshape(13, 2)).tolist()
    assert (batch.pairs.weights == 1).all()


def test_a_row_with_fewer_samples_has_pairs_without_weight():
    rows = make_pairs(13, 16, VOCAB_SIZE, seed=0)
    # The second sample of the first row becomes a row of its own.
    offsets = np.concatenate([rows.row_offsets[:1], rows.sample_offsets[1:2], rows.row_offsets[1:]])
    rows = replace(rows, row_offsets=offsets)
    batches = RowBatches(rows, make_masker(), pad_token_id=0, next_sentence=True)
    weights = next(batches.evaluation_batches(3)).pairs.weights
    assert weights.tolist() == [[1, 0], [1, 0], [1, 1]]
    total = batches.training_batch(3, 0, 14).pairs.weights
    assert float(total.sum()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("whole_words", [False, True])
def test_processes_share_pairs_and_whole_words_without_a_difference(whole_words):
    whole = make_pair_batches(whole_words).training_batch(3, 4, 8)
    parts = [
        make_pair_batches(whole_words).training_batch(3, 4, 8, (start, start + 2))
        for start in (0, 2, 4, 6)
    ]
    assert torch.equal(torch.cat([p.weights for p in parts]), whole.weights)
    assert torch.equal(torch.cat([p.packed.input_ids for p in parts]), whole.packed.input_ids)
    for name in ("first_positions", "labels", "weights"):
        joined = torch.cat([getattr(part.pairs, name) for part in parts])
        assert torch.equal(joined, getattr(whole.pairs, name))
    assert torch.equal(whole.rows(2, 4).pairs.labels, parts[1].pairs.labels)
