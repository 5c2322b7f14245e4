import argparse
import itertools
import time

import pytest

from cloze.errors import ClozeError
from cloze.settings.fields import duration
from cloze.settings.pretraining import SCHEDULES
from cloze.train.budget import (
    Span,
    StepBudget,
    TimeBudget,
    learning_rate_factor,
    process_seconds,
)


class Machine:
    """A clock that a test turns; a step takes `step_seconds`, the first one longer."""

    def __init__(self, start_seconds: float, step_seconds: float, compile_seconds: float = 0.0):
        self.now = start_seconds
        self.step_seconds, self.compile_seconds = step_seconds, compile_seconds

    def train(self, budget: TimeBudget, steps_done: int = 0, at_most: int = 10**9) -> list[Span]:
        spans: list[Span] = []
        while len(spans) < at_most:
            span = budget.next_span(steps_done + len(spans), budget.readings())
            if span is None:
                break
            self.now += self.step_seconds + (0 if spans else self.compile_seconds)
            spans.append(span)
        return spans


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400), ("600", 600)]
)
def test_a_duration_has_a_unit_or_is_in_seconds(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-3s", "0s", "20 minutes", "1e3"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no time such as"):
        duration(text)


def test_the_clock_runs_from_the_start_of_the_process():
    first = process_seconds()
    time.sleep(0.05)
    assert 0.05 <= process_seconds() - first < 5
    assert first > 0.05


def test_steps_divide_the_progress_evenly():
    budget = StepBudget(4)
    spans = [budget.next_span(step, budget.readings()) for step in range(5)]
    assert spans == [Span(0, 0.25), Span(0.25, 0.5), Span(0.5, 0.75), Span(0.75, 1.0), None]


@pytest.mark.parametrize("step_seconds", [0.01, 0.3, 2.0])
def test_a_budget_in_time_ends_where_the_reserve_begins(step_seconds):
    machine = Machine(start_seconds=5, step_seconds=step_seconds, compile_seconds=20)
    budget = TimeBudget(100, clock=lambda: machine.now)
    budget.note_pauses(evaluation_seconds=6, save_seconds=0.5)
    machine.train(budget)
    reserve = budget.readings()[1]
    assert reserve == pytest.approx(6 + 4 * 0.5)
    assert abs(machine.now + reserve - 100) <= step_seconds


def test_progress_starts_after_compilation_and_reaches_the_end():
    machine = Machine(start_seconds=5, step_seconds=0.1, compile_seconds=30)
    budget = TimeBudget(100, clock=lambda: machine.now)
    spans = machine.train(budget)
    assert spans[0] == Span(0, 0)
    assert spans[1].start == 0
    assert spans[-1].end == pytest.approx(1.0, abs=0.005)
    assert all(a.start <= b.start for a, b in itertools.pairwise(spans))
    assert all(a.end == pytest.approx(b.start, abs=1e-6) for a, b in itertools.pairwise(spans[2:]))


def test_a_resumed_run_spends_what_is_left_and_no_more():
    machine = Machine(start_seconds=5, step_seconds=0.1)
    budget = TimeBudget(100, clock=lambda: machine.now)
    before = machine.train(budget, at_most=400)
    state = budget.state()
    assert state["spent_seconds"] == pytest.approx(45)

    later = Machine(start_seconds=10, step_seconds=0.1, compile_seconds=5)
    resumed = TimeBudget(100, clock=lambda: later.now)
    resumed.load_state(state)
    after = later.train(resumed, steps_done=400)
    assert after[0].start == before[-1].start
    assert after[-1].end == pytest.approx(1.0, abs=0.01)
    assert 45 + later.now + resumed.readings()[1] == pytest.approx(100, abs=0.2)


def test_a_slower_machine_takes_fewer_steps_in_the_same_time():
    spans = []
    for step_seconds in (0.1, 0.4):
        machine = Machine(start_seconds=5, step_seconds=step_seconds)
        spans.append(machine.train(TimeBudget(100, clock=lambda m=machine: m.now)))
    assert len(spans[0]) == pytest.approx(4 * len(spans[1]), rel=0.02)


def test_a_budget_too_short_to_train_is_refused():
    budget = TimeBudget(20, clock=lambda: 16.0)
    with pytest.raises(ClozeError, match="--budget 20s: starting took 16 s"):
        budget.next_span(0, budget.readings())


def factors(schedule: str, steps: int, warmup: float, cooldown: float = 0.2) -> list[float]:
    spans = [Span(step / steps, (step + 1) / steps) for step in range(steps)]
    return [learning_rate_factor(schedule, span, warmup, cooldown) for span in spans]


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
