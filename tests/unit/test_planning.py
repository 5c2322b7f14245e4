import dataclasses
from pathlib import Path

import pytest

import pretrain
from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig
from cloze.show.plan_table import as_json, duration_text, render_plans
from cloze.train.planning import (
    Corpus,
    Measurement,
    Plan,
    Preset,
    measure,
    plan_run,
    recommend,
)
from cloze.train.utilisation import Utilisation, training_flop
from tests.tiny_pretraining import arguments

CONFIG = EncoderConfig(
    vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
    intermediate_size=32, max_position_embeddings=16,
)  # fmt: skip
# Rows of 16 of which 12 are text.
CORPUS = Corpus(tokens=12_000, rows=1000, row_length=16)
MEASURED = Measurement(
    compute=Compute("cpu", "bf16", True, 2), train_batch_size=8, max_steps=500, flop=1e6,
    step_seconds=0.1, startup_seconds=20.0, tokens_per_second=1280.0,
    peak_memory_bytes=300_000_000, parameters=5000, layer_weights=2000,
    utilisation=Utilisation(1e9, 4e9),
)  # fmt: skip
BY_THE_CLOCK = dataclasses.replace(MEASURED, max_steps=None)


def preset(*recipe: str) -> Preset:
    unused = ["--dataset=-", "--tokenizer=-", "--run-dir=-"]
    flags = arguments(unused, Path("-"), *recipe)
    return Preset("tiny", pretrain.build_parser().parse_args(flags), vocab_size=64)


def plan(name: str, layer_weights: int, tokens: float, epochs: float = 1.0) -> Plan:
    measured = dataclasses.replace(MEASURED, layer_weights=layer_weights)
    named = dataclasses.replace(preset("--max-steps=10"), name=name)
    return Plan(named, measured, 10, 60.0, tokens, epochs, 1e12)


def test_a_run_of_steps_takes_its_start_and_its_steps():
    planned = plan_run(preset("--max-steps=500"), MEASURED, CORPUS)
    assert planned.seconds == pytest.approx(20 + 50)
    assert planned.tokens == 500 * 8 * 12
    assert planned.epochs == 4.0
    assert planned.flop == 500 * 8 * 1e6


def test_a_budget_in_time_buys_the_steps_that_fit_after_the_start():
    planned = plan_run(preset("--budget=60s"), BY_THE_CLOCK, CORPUS)
    assert planned.steps == 400
    assert planned.seconds == pytest.approx(60.0)


def test_a_budget_shorter_than_the_start_buys_nothing():
    assert plan_run(preset("--budget=10s"), BY_THE_CLOCK, CORPUS).steps == 0


def test_the_largest_encoder_that_sees_enough_text_is_recommended():
    plans = [plan("small", 100, 10_000), plan("middle", 400, 8_100), plan("large", 900, 3_000)]
    assert recommend(plans).startswith("middle: the largest that sees 20 tokens or more a weight")


def test_where_no_encoder_sees_enough_text_the_nearest_is_recommended():
    advice = recommend([plan("small", 100, 1_000), plan("large", 900, 3_000)])
    assert advice.startswith("small: none sees 20 tokens a weight")
    assert advice.endswith("(10)")


def test_many_epochs_are_mentioned():
    assert "100 epochs are many" in recommend([plan("small", 100, 10_000, epochs=100.0)])


def test_the_table_has_a_line_for_each_encoder():
    lines = render_plans([plan("small", 100, 10_000), plan("large", 900, 3_000)]).splitlines()
    assert lines[0].split()[:3] == ["encoder", "parameters", "step"]
    cells = ["small", "5", "k", "100.0", "ms", "1,280", "25", "%", "300", "MB", "60", "s", "10"]
    assert lines[1].split() == [*cells, "10", "k", "1.0", "100.0", "1e+12"]
    assert "(cpu, bf16, compiled, 2 threads)" in lines[-1]


def test_the_json_of_a_plan_is_made_of_plain_numbers():
    values = as_json(plan("small", 100, 10_000))
    assert values["tokens_per_weight"] == 100
    assert values["utilisation"] == 0.25
    assert {type(value) for value in values.values()} <= {str, bool, int, float}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(45, "45 s"), (720, "12 min"), (12_600, "3.5 h"), (181_440, "2.1 days")],
)
def test_times_are_told_in_the_unit_that_suits_them(seconds, text):
    assert duration_text(seconds) == text


def test_a_measurement_takes_real_steps_of_the_encoder():
    recipe = ["--max-steps=10", "--train-batch-size=8", "--mlm-probability=0.15"]
    measured = measure(preset(*recipe), CORPUS, 0.01)
    assert measured.compute == Compute("cpu", "fp32", False, 1)
    assert measured.step_seconds > 0
    assert measured.tokens_per_second == pytest.approx(8 * 16 / measured.step_seconds)
    # Queries, keys, values, output; up and down.
    assert measured.layer_weights == 4 * 16 * 16 + 2 * 16 * 32
    assert measured.utilisation.model_flops == pytest.approx(
        training_flop(CONFIG, 8 * 16, 16, 0.15) / measured.step_seconds
    )


def test_a_batch_size_left_open_is_fitted_to_the_clock():
    of_steps = measure(preset("--max-steps=10"), CORPUS, 0.01)
    by_the_clock = measure(preset("--budget=600s"), CORPUS, 0.01)
    assert of_steps.max_steps == 10
    assert by_the_clock.max_steps is None
    assert by_the_clock.train_batch_size > of_steps.train_batch_size


def test_a_budget_in_tokens_is_one_of_steps():
    recipe = ["--max-tokens=96000", "--train-batch-size=8"]
    # The rows that a trial draws are full.
    assert measure(preset(*recipe), CORPUS, 0.01).max_steps == 96_000 // (8 * 16)
