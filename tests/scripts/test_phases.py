"""A phase of pretraining after another: from its weights and heads, on longer texts."""

import pytest

import pretrain
import show_pretraining
from cloze.files import read_json, read_json_lines
from cloze.model.hf import load_masked_lm
from tests.tiny import write_dataset, write_tokenizer
from tests.tiny_pretraining import MACHINE, SHAPE

RECIPE = ["--eval-steps=30", "--warmup-steps=5", "--learning-rate=0.01"]
SHORT, LONG = 16, 32
MODERNBERT = ["--layout=modernbert", "--layer-norm-eps=1e-5"]


def write_inputs(folder, name, max_length):
    tokenizer = folder / "tokenizer" / "tokenizer.json"
    dataset = write_dataset(folder / name, tokenizer, max_length=max_length)
    return [f"--dataset={dataset}", f"--tokenizer={tokenizer}"]


def train(inputs, model, *more, steps=60):
    places = [f"--output={model}", f"--run-dir={model / '.runs'}"]
    return pretrain.main([*inputs, *places, *MACHINE, *RECIPE, f"--max-steps={steps}", *more])


def goes_on_from(model, trained_length):
    return [f"--init-from={model}", f"--trained-length={trained_length}"]


@pytest.fixture(scope="module", params=["bert", "modernbert"])
def first(request, tmp_path_factory):
    """A folder with both data sets, and an encoder that was trained on the short one."""
    folder = tmp_path_factory.mktemp(request.param)
    write_tokenizer(folder / "tokenizer")
    inputs = write_inputs(folder, "short", SHORT)
    layout = MODERNBERT if request.param == "modernbert" else []
    assert train(inputs, folder / "first", *SHAPE, *layout, steps=150) == 0
    return folder


def test_a_second_phase_reads_longer_texts_with_what_the_first_learned(first, tmp_path):
    inputs = write_inputs(first, "long", LONG)
    before = goes_on_from(first / "first", SHORT)
    log = tmp_path / "log.txt"
    assert train(inputs, tmp_path / "second", *before, f"--log={log}") == 0
    assert f"positions extended from {SHORT} to {LONG} tokens" in log.read_text()
    config = read_json(tmp_path / "second" / "config.json")
    assert config["max_position_embeddings"] == LONG
    # The head goes on, too: a new one would begin at ln 64.
    start = read_json_lines(tmp_path / "second" / "metrics.jsonl")[0]["initial_loss"]
    assert start < read_json(first / "first" / "metrics.json")["metrics"]["unigram_entropy"]
    assert load_masked_lm(tmp_path / "second").config.num_hidden_layers == 1


def test_a_third_phase_keeps_the_positions_of_the_second(first, tmp_path):
    inputs = write_inputs(first, "long", LONG)
    assert train(inputs, tmp_path / "second", *goes_on_from(first / "first", SHORT), steps=2) == 0
    short = write_inputs(first, "short", SHORT)
    assert train(short, tmp_path / "third", *goes_on_from(tmp_path / "second", LONG), steps=2) == 0
    shapes = [load_masked_lm(tmp_path / name).config for name in ("second", "third")]
    assert shapes[0] == shapes[1]


def test_the_same_texts_again_start_where_the_first_phase_ended(first, tmp_path):
    inputs = write_inputs(first, "short", SHORT)
    assert train(inputs, tmp_path / "again", *goes_on_from(first / "first", SHORT), steps=2) == 0
    start = read_json_lines(tmp_path / "again" / "metrics.jsonl")[0]["initial_loss"]
    ended = read_json(first / "first" / "metrics.json")["metrics"]["validation_loss"]
    assert start == pytest.approx(ended, abs=0.02)


def test_what_a_longer_text_brings_is_shown(first, tmp_path):
    inputs = write_inputs(first, "long", LONG)
    assert train(inputs, tmp_path / "second", *goes_on_from(first / "first", SHORT)) == 0
    shown = [*inputs, f"--model={tmp_path / 'second'}", f"--output={tmp_path}", "--device=cpu"]
    assert show_pretraining.main(shown) == 0
    metrics = read_json(tmp_path / "diagnosis.json")["metrics"]
    assert [part["first"] for part in metrics["loss_by_position"]] == list(
        range(0, LONG, LONG // 8)
    )
    assert metrics["loss_by_position"][-1]["last"] == LONG - 1


def test_a_length_without_an_encoder_is_told(first, tmp_path, capsys):
    inputs = write_inputs(first, "short", SHORT)
    assert train(inputs, tmp_path / "model", *SHAPE, "--trained-length=16") == 1
    message = "--trained-length 16: is about an encoder to start from; name its folder with --init"
    assert message in capsys.readouterr().err


def test_a_phase_with_another_tokenizer_is_refused(first, tmp_path, capsys):
    tokenizer = write_tokenizer(tmp_path / "tokenizer", num_words=40)
    dataset = write_dataset(tmp_path / "other", tokenizer, max_length=LONG)
    inputs = [f"--dataset={dataset}", f"--tokenizer={tokenizer}"]
    assert train(inputs, tmp_path / "second", *goes_on_from(first / "first", SHORT)) == 1
    assert "has another tokenizer than" in capsys.readouterr().err
