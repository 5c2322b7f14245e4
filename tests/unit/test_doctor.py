from dataclasses import replace

import numpy as np
import pytest

from cloze.objectives.masking import Masker
from cloze.objectives.rows import RowBatches
from cloze.show.doctor import RunFacts, diagnose, duplicate_share, predicted_share
from tests.tiny import make_rows

FLOOR = 6.5
SOUND = RunFacts(
    unigram_entropy=FLOOR, layout="modernbert", warmup=0.1, learning_rate=1e-3,
    usual_learning_rate=1e-3, mlm_probability=0.15, predicted_share=0.15, duplicate_share=0.0,
)  # fmt: skip
MAX_STEPS = 10_000


def history(
    validation: list[float],
    *,
    done: float = 1.0,
    max_steps: int = MAX_STEPS,
    training: list[float] | None = None,
    norms: list[float] | None = None,
) -> list[dict]:
    """A run's records: validations at equal distances over the first share `done` of it."""
    records: list[dict] = []
    count = len(validation)
    for index, loss in enumerate(validation):
        share = done * (index + 1) / count
        step = round(share * max_steps)
        records += [
            {
                "step": step,
                "loss": training[index] if training else loss,
                "grad_norm": norms[index] if norms else 0.5,
                "progress": share - 0.001,
            },
            {"step": step, "validation_loss": loss},
        ]
    return records


def flat(**options) -> list[dict]:
    return history([6.6, 6.53, 6.52, 6.52], **options)


def test_before_the_first_validation_there_is_nothing_to_say():
    assert diagnose([{"step": 0, "initial_loss": 9.0}], SOUND) == []


def test_the_floor_is_no_plateau_in_the_first_quarter_of_a_run():
    assert diagnose(flat(done=0.2), SOUND) == []


def test_a_falling_loss_is_told_to_go_on():
    (line,) = diagnose(history([6.5, 5.5, 5.0, 4.6]), SOUND)
    assert line == (
        "validation loss 4.600, 1.90 below the unigram floor and still falling: "
        "more steps would lower it further"
    )


def test_a_loss_that_has_settled_below_the_floor_is_no_plateau():
    (line,) = diagnose(history([5.0, 4.02, 4.0, 3.99]), SOUND)
    assert line.endswith("below the unigram floor and falling no more")


def test_a_loss_that_rises_again_speaks_for_memorised_text():
    (line,) = diagnose(history([5.0, 4.0, 4.2]), SOUND)
    assert "risen since step 6667 (4.000)" in line


def test_a_plateau_says_where_the_loss_stands():
    first, *causes = diagnose(flat(done=0.4), SOUND)
    assert first.startswith("after 40 % of the run (step 4000) the validation loss, 6.520, is ")
    assert "still at the unigram floor of 6.500" in first
    assert causes == [
        "- no figure of this run points to one; try half the learning rate, and if that changes "
        "nothing, look at the text in the data set's corpus.html"
    ]


@pytest.mark.parametrize(
    ("facts", "records", "cause"),
    [
        (replace(SOUND, learning_rate=1e-2), flat(), "- learning_rate 0.01 is 10 times what"),
        (replace(SOUND, learning_rate=2e-5), flat(), "- learning_rate 2e-05 is too low:"),
        (
            SOUND,
            flat(training=[6.0, 5.8, 6.5, 6.5]),
            "- learning_rate 0.001 is too high: the training loss rose from 5.80 to 6.50 after",
        ),
        (
            SOUND,
            flat(norms=[0.5, 1.0, 20.0, 40.0]),
            "- learning_rate 0.001 may be too high: the gradient's norm grew to 40.0",
        ),
        (
            replace(SOUND, learning_rate=5e-4),
            history([8.0, 7.6, 7.3, 7.0]),
            "- learning_rate 0.0005 may be too low: the loss falls steadily",
        ),
        (replace(SOUND, duplicate_share=0.32), flat(), "- duplicate lines: 32 % of the training"),
        (
            SOUND,
            flat(training=[6.5, 6.0, 5.0, 4.0]),
            "- the training loss, 4.00, is 2.52 below that of validation",
        ),
        (
            replace(SOUND, predicted_share=0.05),
            flat(),
            "- masks: 5.0 % of the ordinary tokens are predicted where mlm_probability asks for",
        ),
        (
            replace(SOUND, mlm_probability=0.9, predicted_share=0.9),
            flat(),
            "- masks: mlm_probability is 0.9; too little is left to read",
        ),
        (replace(SOUND, warmup=0.6), flat(done=0.5), "- the warm-up takes the first 60 %"),
        (SOUND, flat(max_steps=500), "- too few steps: 500 so far"),
    ],
)
def test_a_plateau_names_the_cause_that_the_figures_speak_for(facts, records, cause):
    _, *causes = diagnose(records, facts)
    assert len(causes) == 1
    assert causes[0].startswith(cause)


def test_a_loss_above_the_floor_is_a_plateau_too():
    first, *_ = diagnose(history([9.0, 8.9, 8.9]), SOUND)
    assert "is still above the unigram floor" in first


def test_duplicates_are_counted_by_sample():
    rows = make_rows(20, 16, 64, seed=0)
    ids = rows.input_ids.copy()
    assert duplicate_share(rows) < 0.2
    first = ids[:8].copy()
    for start, stop in zip(rows.sample_offsets[:-1], rows.sample_offsets[1:], strict=True):
        if stop - start == 8:
            ids[start:stop] = first
    same = int((np.diff(rows.sample_offsets) == 8).sum())
    found = duplicate_share(replace(rows, input_ids=ids))
    assert (same - 1) / rows.num_samples <= found < 1.0


def test_the_predicted_share_is_of_ordinary_tokens():
    masker = Masker(
        vocab_size=64, mask_token_id=4, special_token_ids=frozenset(range(5)),
        mlm_probability=0.25, max_length=16, seed=0,
    )  # fmt: skip
    batches = RowBatches(make_rows(40, 16, 64, seed=0), masker, pad_token_id=0)
    batch = next(iter(batches.evaluation_batches(40)))
    assert predicted_share(batch, frozenset(range(5))) == pytest.approx(0.25, abs=0.03)
