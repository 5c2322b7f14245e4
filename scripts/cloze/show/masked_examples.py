"""A page of masked sentences with the encoder's guesses, right and wrong ones coloured."""

import html
from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer

from cloze.files import resource, write_text
from cloze.model.device import Compute
from cloze.model.heads import MaskedLM
from cloze.objectives.prediction_history import NUM_ROWS, PredictionHistory, guess
from cloze.objectives.rows import MaskedBatch, RowBatches

_EVOLUTION = """<h2>How the guesses changed</h2>
<p>One row of text, a line for each gap, a column for each step of training at which the encoder
was asked. The more certain a guess, the stronger its colour.</p>
{}"""


def write_masked_examples(
    model: MaskedLM,
    batches: RowBatches,
    tokenizer: Tokenizer,
    compute: Compute,
    path: Path,
    history: PredictionHistory | None = None,
) -> None:
    """Write a self-contained page with the first rows of the validation split.

    Every predicted token is shown with the encoder's best guess and its probability, and
    the first row's also as they were before, if `history` has kept them.
    """
    batch = next(iter(batches.evaluation_batches(NUM_ROWS)))
    guesses = guess(model, batch, compute)
    rows, right, total = [], 0, 0
    for row, (token_ids, probabilities) in enumerate(
        zip(guesses.token_ids, guesses.probabilities, strict=True)
    ):
        shown, row_right, row_total = _row(batch, row, token_ids, probabilities, tokenizer)
        rows.append(f"<p>{shown}</p>")
        right, total = right + row_right, total + row_total
    page = resource("show/masked_examples.html").read_text(encoding="utf-8")
    page = page.replace("{{right}}", str(right)).replace("{{total}}", str(total))
    evolution = history.as_html(tokenizer) if history else ""
    page = page.replace("{{history}}", _EVOLUTION.format(evolution) if evolution else "")
    write_text(path, page.replace("{{rows}}", "\n".join(rows)))


def _row(
    batch: MaskedBatch,
    row: int,
    guesses: list[int],
    probabilities: list[float],
    tokenizer: Tokenizer,
) -> tuple[str, int, int]:
    """Return one row as HTML with how many guesses were right, of how many."""
    positions, labels = batch.positions[row].tolist(), batch.labels[row].tolist()
    predicted = {
        position: (labels[index], guesses[index], probabilities[index])
        for index, position in enumerate(positions)
        if batch.weights[row, index] > 0
    }
    pieces, right = [], 0
    for position, token_id in enumerate(batch.packed.input_ids[row].tolist()):
        if batch.packed.sample_ids[row, position] == 0:
            break
        if position not in predicted:
            pieces.append(_spaced(str(tokenizer.id_to_token(token_id)), _escape))
            continue
        label, guess, probability = predicted[position]
        right += label == guess
        pieces.append(
            _spaced(
                str(tokenizer.id_to_token(label)),
                _Guess(str(tokenizer.id_to_token(guess)), label == guess, probability).mark,
            )
        )
    return "".join(pieces), right, len(predicted)


class _Guess:
    """One guess beside the token it should have been."""

    def __init__(self, guess: str, right: bool, probability: float) -> None:
        self._guess, self._right, self._probability = guess, right, probability

    def mark(self, label: str) -> str:
        title = f"guess: {self._guess} ({100 * self._probability:.0f} %)"
        if self._right:
            return f'<span class="right" title="{_escape(title)}">{_escape(label)}</span>'
        return (
            f'<span class="wrong" title="{_escape(title)}">{_escape(self._guess)}</span>'
            f'<span class="truth">{_escape(label)}</span>'
        )


def _spaced(token: str, mark: Callable[[str], str]) -> str:
    """Join WordPiece continuations to the word before them, all else with a space."""
    return mark(token[2:]) if token.startswith("##") else " " + mark(token)


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
