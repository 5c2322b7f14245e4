import torch
from torch import Tensor, nn

from cloze.data.tokenizer import load_tokenizer
from cloze.encoder.device import Compute
from cloze.encoder.model import PackedBatch
from cloze.pretraining.batches import RowBatches
from cloze.pretraining.masked_examples import write_masked_examples
from cloze.pretraining.masking import Masker
from tests.tiny import make_rows, write_tokenizer


class AlwaysGuesses(nn.Module):
    """Gives one token 90 % at every position."""

    def __init__(self, token_id: int) -> None:
        super().__init__()
        self.token_id = token_id

    def forward(self, batch: PackedBatch, positions: Tensor) -> Tensor:
        logits = torch.zeros(*positions.shape, 64)
        logits[..., self.token_id] = 6.34
        return logits


def test_right_and_wrong_guesses_are_told_apart(tmp_path):
    tokenizer = load_tokenizer(write_tokenizer(tmp_path))
    rows = make_rows(8, 16, 64, seed=0)
    masker = Masker(
        vocab_size=64, mask_token_id=4, special_token_ids=frozenset(range(5)),
        mlm_probability=0.4, max_length=16, seed=0,
    )  # fmt: skip
    batches = RowBatches(rows, masker, pad_token_id=0)
    batch = next(iter(batches.evaluation_batches(8)))
    labels = batch.labels[batch.weights > 0]
    guess = int(labels.mode().values)
    right = int((labels == guess).sum())
    page_path = tmp_path / "page.html"
    compute = Compute("cpu", "fp32", False, 1)
    write_masked_examples(AlwaysGuesses(guess), batches, tokenizer, compute, page_path)
    page = page_path.read_text()
    word = tokenizer.id_to_token(guess)
    assert f"Right: {right} of {len(labels)}." in page
    assert page.count(f'class="right" title="guess: {word} (90 %)">{word}<') == right
    assert page.count('class="wrong" title=') == len(labels) - right
    assert "[MASK]" not in page.split("Right:")[1]
