import numpy as np

from cloze.pretraining.masking import Masker

SPECIAL = frozenset({0, 1, 2, 3, 4})
VOCAB_SIZE, MASK = 1000, 4


def make_masker(seed: int = 0, mlm_probability: float = 0.15, max_length: int = 128) -> Masker:
    return Masker(
        vocab_size=VOCAB_SIZE,
        mask_token_id=MASK,
        special_token_ids=SPECIAL,
        mlm_probability=mlm_probability,
        max_length=max_length,
        seed=seed,
    )


def make_rows(num_rows: int = 200, length: int = 128) -> tuple[np.ndarray, np.ndarray]:
    ids = np.random.default_rng(0).integers(5, VOCAB_SIZE, (num_rows, length))
    ids[:, 0], ids[:, -1] = 2, 3
    valid = np.ones(ids.shape, dtype=bool)
    valid[::2, 100:] = False
    return np.where(valid, ids, 0), valid


def test_shares_are_those_of_bert():
    ids, valid = make_rows(num_rows=2000)
    masked = make_masker().mask(ids, valid, step=0)
    chosen = masked.weights > 0
    eligible = (valid & ~np.isin(ids, list(SPECIAL))).sum(axis=1)
    assert (chosen.sum(axis=1) == np.rint(0.15 * eligible)).all()
    after = np.take_along_axis(masked.input_ids, masked.positions, axis=1)[chosen]
    labels = masked.labels[chosen]
    share = (after == MASK).mean(), (after == labels).mean()
    assert abs(share[0] - 0.8) < 0.01
    assert abs(share[1] - 0.1) < 0.01


def test_special_tokens_are_never_predicted_nor_drawn():
    ids, valid = make_rows()
    for step in range(20):
        masked = make_masker(mlm_probability=0.5).mask(ids, valid, step)
        chosen = masked.weights > 0
        assert not np.isin(masked.labels[chosen], list(SPECIAL)).any()
        changed = masked.input_ids != ids
        assert set(masked.input_ids[changed & (masked.input_ids < 5)]) <= {MASK}
        assert not changed[~valid].any()


def test_only_chosen_positions_change_and_labels_are_the_original():
    ids, valid = make_rows()
    masked = make_masker().mask(ids, valid, step=3)
    chosen = np.zeros(ids.shape, dtype=bool)
    np.put_along_axis(chosen, masked.positions, masked.weights > 0, axis=1)
    assert (masked.input_ids == ids)[~chosen].all()
    assert (np.take_along_axis(ids, masked.positions, axis=1) == masked.labels).all()


def test_masks_are_a_function_of_seed_and_step():
    ids, valid = make_rows()
    first = make_masker(seed=1).mask(ids, valid, step=5)
    assert (first.input_ids == make_masker(seed=1).mask(ids, valid, step=5).input_ids).all()
    assert (first.input_ids != make_masker(seed=1).mask(ids, valid, step=6).input_ids).any()
    assert (first.input_ids != make_masker(seed=2).mask(ids, valid, step=5).input_ids).any()


def test_a_rank_gets_its_rows_of_the_global_batch():
    ids, valid = make_rows()
    whole = make_masker().mask(ids, valid, step=5)
    part = make_masker().mask(ids, valid, step=5, row_slice=slice(50, 100))
    assert (whole.input_ids[50:100] == part.input_ids).all()
    assert (whole.positions[50:100] == part.positions).all()


def test_a_row_of_special_tokens_has_no_prediction():
    ids = np.full((1, 16), 2)
    masked = make_masker(max_length=16).mask(ids, np.ones(ids.shape, bool), step=0)
    assert masked.weights.sum() == 0
    assert (masked.input_ids == ids).all()
