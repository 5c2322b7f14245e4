import json
import signal

import pytest

import pretrain
from cloze.files import read_json
from tests.tiny import write_tokenizer
from tests.tiny_pretraining import command, start, wait_for_checkpoint, weights, write_inputs


@pytest.fixture
def inputs(tmp_path) -> list[str]:
    return write_inputs(tmp_path)


def test_it_learns_and_says_how_well(inputs, tmp_path):
    assert pretrain.main(command(inputs, tmp_path / "model", 120)) == 0
    metrics = read_json(tmp_path / "model" / "metrics.json")["metrics"]
    assert metrics["validation_loss"] < metrics["unigram_entropy"] - 0.3
    assert metrics["steps"] == 120
    assert metrics["best_validation_loss"] <= metrics["validation_loss"]
    assert metrics["masked_bits_per_byte"] > 0
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {
        "config.json", "model.safetensors", "tokenizer.json", "metrics.json", "metrics.jsonl",
        "masked_examples.jsonl", "best",
    }  # fmt: skip


def test_it_is_watched_by_its_instruments(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr("cloze.train.pretraining._LEAST_MEASURED_FLOP", 0.0)
    monkeypatch.setattr("cloze.train.utilisation._SIZES", {"cpu": 128})
    monkeypatch.setattr("cloze.train.utilisation._SECONDS", 0.01)
    assert pretrain.main(command(inputs, tmp_path / "model", 60)) == 0
    metrics = read_json(tmp_path / "model" / "metrics.json")["metrics"]
    assert 0 < metrics["model_tflops"] < metrics["matmul_peak_tflops"]
    assert metrics["utilisation"] > 0
    assert metrics["peak_memory_bytes"] > 1e7
    log = [json.loads(line) for line in (tmp_path / "model" / "metrics.jsonl").open()]
    evaluations = [record for record in log if "validation_loss" in record]
    assert evaluations[-1]["validation_masked_bits_per_byte"] == metrics["masked_bits_per_byte"]
    assert [record["step"] for record in log if "initial_loss" in record] == [0]
    guesses = [json.loads(line) for line in (tmp_path / "model" / "masked_examples.jsonl").open()]
    assert [record["step"] for record in guesses] == [0, 20, 40, 60]


def test_a_plateau_is_told_while_it_lasts(inputs, tmp_path, capsys):
    # Counted embeddings are below the floor before the first step where words are this few.
    still = ["--learning-rate=1e-6", "--embedding-init=random"]
    assert pretrain.main(command(inputs, tmp_path / "model", 60, *still)) == 0
    said = capsys.readouterr().err
    assert "the encoder has learned nothing from context" in said
    assert "learning_rate 1e-06 is too low" in said


def test_a_finished_run_is_published_again_without_a_step(inputs, tmp_path, monkeypatch):
    assert pretrain.main(command(inputs, tmp_path / "model", 20)) == 0
    first = {p.name: p.read_bytes() for p in (tmp_path / "model").iterdir() if p.is_file()}
    for path in (tmp_path / "model").iterdir():
        if path.is_file():
            path.unlink()

    def step(self, number, span):
        raise AssertionError("a finished run took a step")

    monkeypatch.setattr("cloze.train.step.TrainingStep.__call__", step)
    assert pretrain.main(command(inputs, tmp_path / "model", 20)) == 0
    assert first == {p.name: p.read_bytes() for p in (tmp_path / "model").iterdir() if p.is_file()}


def test_killed_and_resumed_equals_uninterrupted(inputs, tmp_path):
    arguments = command(inputs, tmp_path / "killed", 600, "--checkpoint-seconds=0.05")
    process = start(arguments)
    wait_for_checkpoint(process, tmp_path / ".runs")
    process.kill()
    process.wait()
    assert not (tmp_path / "killed").exists()
    assert pretrain.main(arguments) == 0
    resumed = read_json(tmp_path / "killed" / "metrics.json")["metrics"]["resumed_from"]
    assert resumed
    assert 0 < resumed[0] < 600

    elsewhere = [*inputs[:2], f"--run-dir={tmp_path / '.other'}"]
    assert pretrain.main(command(elsewhere, tmp_path / "whole", 600)) == 0
    assert read_json(tmp_path / "whole" / "metrics.json")["metrics"]["resumed_from"] == []
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert weights(tmp_path / "killed" / "best") == weights(tmp_path / "whole" / "best")
    losses = [
        [
            (record["step"], record.get("loss"), record.get("validation_loss"))
            for record in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        ]
        for folder in (tmp_path / "killed", tmp_path / "whole")
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_says_how_to_go_on(inputs, tmp_path, number):
    process = start(command(inputs, tmp_path / "model", 100_000, "--checkpoint-seconds=0.05"))
    wait_for_checkpoint(process, tmp_path / ".runs")
    process.send_signal(number)
    message = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 1
    assert "run the same command again" in message


def test_a_changed_hyper_parameter_never_resumes_an_old_run(inputs, tmp_path):
    assert pretrain.main(command(inputs, tmp_path / "a", 20)) == 0
    assert pretrain.main(command(inputs, tmp_path / "b", 20, "--weight-decay=0.2")) == 0
    assert len(list((tmp_path / ".runs").iterdir())) == 2
    assert weights(tmp_path / "a") != weights(tmp_path / "b")
    assert pretrain.main(command(inputs, tmp_path / "c", 20)) == 0
    assert weights(tmp_path / "a") == weights(tmp_path / "c")


def test_it_starts_from_an_earlier_encoder(inputs, tmp_path):
    assert pretrain.main(command(inputs, tmp_path / "first", 100)) == 0
    further = command(inputs, tmp_path / "second", 20, f"--init-from={tmp_path / 'first'}")
    assert pretrain.main(further) == 0
    fresh = command(inputs, tmp_path / "fresh", 20)
    assert pretrain.main(fresh) == 0
    losses = [
        read_json(tmp_path / name / "metrics.json")["metrics"]["validation_loss"]
        for name in ("second", "fresh")
    ]
    assert losses[0] < losses[1]


def test_an_encoder_of_another_tokenizer_is_refused(inputs, tmp_path, capsys):
    assert pretrain.main(command(inputs, tmp_path / "first", 20)) == 0
    write_tokenizer(tmp_path / "first", num_words=40)
    further = command(inputs, tmp_path / "second", 20, f"--init-from={tmp_path / 'first'}")
    assert pretrain.main(further) == 1
    assert "has another tokenizer than" in capsys.readouterr().err


def test_samples_longer_than_the_positions_are_refused(inputs, tmp_path, capsys):
    arguments = command(inputs, tmp_path / "model", 20, "--max-position-embeddings=8")
    assert pretrain.main(arguments) == 1
    assert "max_position_embeddings: 8 is less than" in capsys.readouterr().err


def test_a_diverging_loss_stops_with_the_step(inputs, tmp_path, capsys):
    arguments = command(inputs, tmp_path / "model", 60, "--learning-rate=1e30")
    assert pretrain.main(arguments) == 1
    assert "lower learning_rate" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_compiled_and_bf16_runs_resume_to_the_bit(inputs, tmp_path):
    machine = ["--compile=on", "--precision=bf16", "--dropout=0.1"]
    arguments = command(inputs, tmp_path / "killed", 2000, *machine, "--checkpoint-seconds=0.05")
    process = start(arguments)
    wait_for_checkpoint(process, tmp_path / ".runs")
    process.kill()
    process.wait()
    assert pretrain.main(arguments) == 0
    elsewhere = [*inputs[:2], f"--run-dir={tmp_path / '.other'}"]
    assert pretrain.main(command(elsewhere, tmp_path / "whole", 2000, *machine)) == 0
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
