import re
from pathlib import Path

import torch
from torch import Tensor, nn

from cloze.files import read_json_lines
from cloze.model.device import Compute
from cloze.model.encoder import PackedBatch
from cloze.objectives.masking import Masker
from cloze.objectives.prediction_history import PredictionHistory
from cloze.objectives.rows import RowBatches
from cloze.show.masked_examples import masked_examples_page
from cloze.tokens.tokenizer import load_tokenizer
from tests.tiny import make_rows, write_tokenizer

CPU = Compute("cpu", "fp32", False, 1)


class AlwaysGuesses(nn.Module):
    """Gives one token 90 % at every position."""

    def __init__(self, token_id: int) -> None:
        super().__init__()
        self.token_id = token_id

    def forward(self, batch: PackedBatch, positions: Tensor) -> Tensor:
        logits = torch.zeros(*positions.shape, 64)
        logits[..., self.token_id] = 6.34
        return logits


def make_batches() -> RowBatches:
    masker = Masker(
        vocab_size=64, mask_token_id=4, special_token_ids=frozenset(range(5)),
        mlm_probability=0.4, max_length=16, seed=0,
    )  # fmt: skip
    return RowBatches(make_rows(8, 16, 64, seed=0), masker, pad_token_id=0)


def test_right_and_wrong_guesses_are_told_apart(tmp_path):
    tokenizer = load_tokenizer(write_tokenizer(tmp_path))
    batches = make_batches()
    batch = next(iter(batches.evaluation_batches(8)))
    labels = batch.labels[batch.weights > 0]
    guess = int(labels.mode().values)
    right = int((labels == guess).sum())
    page = masked_examples_page(AlwaysGuesses(guess), batches, tokenizer, CPU, [])
    word = tokenizer.id_to_token(guess)
    assert f"Right: {right} of {len(labels)}." in page
    assert page.count(f'class="right" title="guess: {word} (90 %)">{word}<') == right
    assert page.count('class="wrong" title=') == len(labels) - right
    assert "[MASK]" not in page.split("Right:")[1]
    assert "How the guesses changed" not in page


def evolution(tmp_path: Path) -> str:
    """What the page shows of the recorded guesses."""
    tokenizer = load_tokenizer(write_tokenizer(tmp_path))
    records = read_json_lines(tmp_path / "history.jsonl")
    page = masked_examples_page(AlwaysGuesses(7), make_batches(), tokenizer, CPU, records)
    return page.partition("How the guesses changed")[2]


def columns(page: str) -> list[str]:
    """The steps at the head of the table."""
    return re.findall(r"<th>([\d,]+)</th>", page.split("<tr>")[1])


def test_the_history_shows_the_guesses_of_every_step_for_the_same_gaps(tmp_path):
    batches = make_batches()
    history = PredictionHistory(tmp_path / "history.jsonl", batches, CPU)
    batch = next(iter(batches.evaluation_batches(8)))
    labels = batch.labels[0][batch.weights[0] > 0]
    truth = int(labels[0])
    history.record(AlwaysGuesses(7), 10)
    history.record(AlwaysGuesses(truth), 20)
    page = evolution(tmp_path)
    assert columns(page) == ["10", "20"]
    assert page.count("____<sup>") == len(labels)
    assert page.count('class="right"') == int((labels == 7).sum() + (labels == truth).sum())
    assert page.count('style="--sure:90%"') == 2 * len(labels)


def test_a_resumed_run_records_its_steps_once(tmp_path):
    history = PredictionHistory(tmp_path / "history.jsonl", make_batches(), CPU)
    for step in (10, 20, 30):
        history.record(AlwaysGuesses(7), step)
    with open(tmp_path / "history.jsonl", "a") as file:
        file.write('{"step": 40, "tok')
    history = PredictionHistory(tmp_path / "history.jsonl", make_batches(), CPU)
    history.rewind(20)
    history.record(AlwaysGuesses(8), 30)
    assert columns(evolution(tmp_path)) == ["10", "20", "30"]


def test_a_long_history_keeps_its_first_and_its_last_step(tmp_path):
    history = PredictionHistory(tmp_path / "history.jsonl", make_batches(), CPU)
    for step in range(1, 41):
        history.record(AlwaysGuesses(7), step)
    shown = columns(evolution(tmp_path))
    assert len(shown) == 8
    assert (shown[0], shown[-1]) == ("1", "40")


def test_a_training_model_is_left_in_training(tmp_path):
    model = AlwaysGuesses(7).train()
    PredictionHistory(tmp_path / "history.jsonl", make_batches(), CPU).record(model, 1)
    assert model.training


def test_tokens_are_text_and_never_markup(tmp_path):
    tokenizer = load_tokenizer(write_tokenizer(tmp_path))
    tokenizer.add_tokens(["<i>&"])
    batches, added = make_batches(), tokenizer.token_to_id("<i>&")
    record = {"step": 3, "token_ids": [added], "probabilities": [0.5]}
    page = masked_examples_page(AlwaysGuesses(7), batches, tokenizer, CPU, [record])
    assert 'title="50 %">&lt;i&gt;&amp;</td>' in page
    assert "<i>&" not in page
