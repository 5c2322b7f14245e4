"""What `pretrain.py` has an encoder predict besides single tokens: whole words, next sentences."""

import json
from pathlib import Path

import pytest
import torch
from transformers import BertForPreTraining

import pretrain
from cloze.files import read_json
from cloze.model.hf import load_encoder, load_masked_lm_with_next_sentence
from tests.tiny import write_dataset, write_tokenizer
from tests.tiny_model import draw_ids, single_samples
from tests.tiny_pairs import write_pairs
from tests.tiny_pretraining import command, start, wait_for_checkpoint, weights


@pytest.fixture
def inputs(tmp_path) -> list[str]:
    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    pairs = write_pairs(tmp_path / "pairs", tokenizer, vocab_size=64)
    return [f"--dataset={pairs}", f"--tokenizer={tokenizer}", f"--run-dir={tmp_path / '.runs'}"]


def metrics(folder: Path) -> dict:
    return read_json(folder / "metrics.json")["metrics"]


def test_an_encoder_learns_to_tell_what_follows(inputs, tmp_path):
    arguments = command(inputs, tmp_path / "model", 150, "--next-sentence")
    assert pretrain.main(arguments) == 0
    found = metrics(tmp_path / "model")
    assert found["validation_next_sentence_accuracy"] > 0.9
    assert found["validation_next_sentence_loss"] < 0.4
    log = [json.loads(line) for line in (tmp_path / "model" / "metrics.jsonl").open()]
    assert [record["step"] for record in log if "validation_next_sentence_loss" in record] == [
        20, 40, 60, 80, 100, 120, 140, 150,
    ]  # fmt: skip


def test_both_heads_are_what_transformers_reads(inputs, tmp_path):
    assert pretrain.main(command(inputs, tmp_path / "model", 20, "--next-sentence")) == 0
    config = read_json(tmp_path / "model" / "config.json")
    assert config["architectures"] == ["BertForPreTraining"]
    ours = load_masked_lm_with_next_sentence(tmp_path / "model").eval()
    theirs, report = BertForPreTraining.from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert not report["missing_keys"]
    ids = draw_ids(2, 12)
    types = (torch.arange(12) > 6).long().expand(2, -1).contiguous()
    everywhere = torch.arange(12).expand(2, -1)
    with torch.no_grad():
        tokens, pairs = ours(single_samples(ids, types), everywhere, torch.zeros(2, 1).long())
        expected = theirs.eval()(input_ids=ids, token_type_ids=types)
    torch.testing.assert_close(tokens, expected.prediction_logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(pairs[:, 0], expected.seq_relationship_logits, atol=1e-5, rtol=1e-4)
    assert load_encoder(tmp_path / "model").config.hidden_size == 16


@pytest.mark.slow
def test_a_killed_run_with_both_objectives_resumes_to_the_bit(inputs, tmp_path):
    arguments = command(
        inputs, tmp_path / "killed", 400, "--next-sentence", "--checkpoint-seconds=0.05"
    )
    process = start(arguments)
    wait_for_checkpoint(process, tmp_path / ".runs")
    process.kill()
    process.communicate()
    assert pretrain.main(arguments) == 0
    elsewhere = [*inputs[:2], f"--run-dir={tmp_path / '.other'}"]
    assert pretrain.main(command(elsewhere, tmp_path / "whole", 400, "--next-sentence")) == 0
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_pairs_that_are_not_learned_from_are_told(inputs, tmp_path, capsys):
    assert pretrain.main(command(inputs, tmp_path / "model", 10)) == 0
    assert "pairs of texts, half of them unrelated" in capsys.readouterr().err
    assert "validation_next_sentence_loss" not in metrics(tmp_path / "model")


def test_next_sentence_needs_pairs(inputs, tmp_path, capsys):
    single = write_dataset(tmp_path / "single", tmp_path / "tokenizer" / "tokenizer.json")
    arguments = command([f"--dataset={single}", *inputs[1:]], tmp_path / "m", 10, "--next-sentence")
    assert pretrain.main(arguments) == 1
    assert f"--next-sentence: the samples of {single} are single texts" in capsys.readouterr().err


def test_next_sentence_needs_the_layout_bert(inputs, tmp_path, capsys):
    more = ["--next-sentence", "--layout=modernbert"]
    assert pretrain.main(command(inputs, tmp_path / "model", 10, *more)) == 1
    assert "layout: modernbert has no next-sentence head" in capsys.readouterr().err


def test_whole_words_make_another_run(inputs, tmp_path):
    tokenizer = tmp_path / "tokenizer" / "tokenizer.json"
    dataset = write_dataset(tmp_path / "single", tokenizer)
    inputs = [f"--dataset={dataset}", *inputs[1:]]
    assert pretrain.main(command(inputs, tmp_path / "words", 60, "--mask-whole-words")) == 0
    assert pretrain.main(command(inputs, tmp_path / "tokens", 60)) == 0
    found = metrics(tmp_path / "words")
    assert found["validation_loss"] < found["unigram_entropy"]
    assert len(list((tmp_path / ".runs").iterdir())) == 2
