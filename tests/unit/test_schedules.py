import itertools

import pytest

from cloze.settings.pretraining import SCHEDULES
from cloze.train.schedules import Span, factor_over, stage


def factors(schedule: str, steps: int, warmup: float, cooldown: float = 0.2) -> list[float]:
    spans = [Span(step / steps, (step + 1) / steps) for step in range(steps)]
    return [factor_over(schedule, span, warmup, cooldown) for span in spans]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_rise_to_the_peak_and_stay_within_it(schedule):
    values = factors(schedule, 100, 0.1)
    assert values[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert max(values) == pytest.approx(1.0)
    assert min(values) >= 0
    assert all(a >= b for a, b in itertools.pairwise(values[9:]))


def test_schedules_end_where_they_say():
    assert factors("linear", 100, 0.0)[99] == pytest.approx(0.01)
    assert factors("cosine", 100, 0.0)[99] < 0.001
    assert factors("constant", 100, 0.0)[99] == 1.0


def test_the_stable_schedule_falls_over_the_cooldown_only():
    values = factors("warmup_stable_decay", 100, 0.05, cooldown=0.4)
    assert values[5:61] == [1.0] * 56
    assert values[80] == pytest.approx(0.5)
    assert factors("warmup_stable_decay", 100, 0.0, cooldown=0.0) == [1.0] * 100


def test_without_warm_up_the_first_step_is_at_the_peak():
    assert factors("linear", 10, 0.0)[0] == 1.0


def test_a_run_that_is_all_warm_up_ends_at_the_peak():
    assert factors("linear", 10, 1.0)[-1] == pytest.approx(1.0)


def test_stages_are_equal_shares():
    assert [stage(3, step / 9) for step in range(9)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert stage(3, 1.0) == 2
