"""A page of masked sentences with the encoder's guesses, at the end and while it learned."""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from cloze.files import resource
from cloze.model.device import Compute
from cloze.model.heads import MaskedLM
from cloze.objectives.prediction_history import NUM_ROWS, FilledMasks, fill_masks
from cloze.objectives.rows import MaskedBatch, RowBatches
from cloze.pages import render

_MAX_COLUMNS = 8

# Its text, whether it is joined to the one before and, of a gap, `guess`, `right` and `sure`.
Piece = dict[str, Any]


def masked_examples_page(
    model: MaskedLM,
    batches: RowBatches,
    tokenizer: Tokenizer,
    compute: Compute,
    history: Sequence[Mapping[str, Any]],
) -> str:
    """Return a self-contained page with the first rows of the validation split.

    Every predicted token is shown with the encoder's best guess and its probability, and the
    first row's also as they were before: `history` holds the lines of `masked_examples.jsonl`,
    as `cloze.objectives.prediction_history` writes them.
    """
    batch = next(iter(batches.evaluation_batches(NUM_ROWS)))
    guesses = fill_masks(model, batch, compute)
    rows = [_row(batch, row, guesses, tokenizer) for row in range(len(batch.positions))]
    gaps = [piece for row in rows for piece in row if "guess" in piece]
    columns = _spread(history)
    shown = len(columns[0]["token_ids"]) if columns else 0
    return render(
        resource("show/masked_examples.html"),
        rows=rows,
        right=sum(gap["right"] for gap in gaps),
        total=len(gaps),
        first_row=_up_to_gap(rows[0], shown),
        steps=[record["step"] for record in columns],
        gaps=[
            {"text": gap["token"], "guesses": [_guess(r, n, gap, tokenizer) for r in columns]}
            for n, gap in enumerate(gaps[:shown])
        ],
    )


def _row(batch: MaskedBatch, row: int, guesses: FilledMasks, tokenizer: Tokenizer) -> list[Piece]:
    """Return one row up to its padding."""
    gaps = {
        int(position): index
        for index, position in enumerate(batch.positions[row])
        if batch.weights[row, index] > 0
    }
    pieces = []
    for position, token_id in enumerate(batch.packed.input_ids[row].tolist()):
        if batch.packed.sample_ids[row, position] == 0:
            break
        index = gaps.get(position)
        label = token_id if index is None else int(batch.labels[row, index])
        token = str(tokenizer.id_to_token(label))
        piece = {
            "token": token,
            "text": token.removeprefix("##"),
            "is_joined": token.startswith("##"),
        }
        if index is not None:
            guessed = guesses.token_ids[row][index]
            piece |= {
                "label": label,
                "guess": str(tokenizer.id_to_token(guessed)),
                "right": guessed == label,
                "sure": 100 * guesses.probabilities[row][index],
            }
        pieces.append(piece)
    return pieces


def _spread(records: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return at most eight records, the first and the last among them, evenly in between."""
    if len(records) <= _MAX_COLUMNS:
        return records
    last = len(records) - 1
    return [records[round(column * last / (_MAX_COLUMNS - 1))] for column in range(_MAX_COLUMNS)]


def _up_to_gap(row: list[Piece], number: int) -> list[Piece]:
    places = [place for place, piece in enumerate(row) if "guess" in piece]
    return row[: places[number - 1] + 1] if number else []


def _guess(record: Mapping[str, Any], number: int, gap: Piece, tokenizer: Tokenizer) -> Piece:
    token_id = record["token_ids"][number]
    return {
        "guess": str(tokenizer.id_to_token(token_id)),
        "right": token_id == gap["label"],
        "sure": 100 * record["probabilities"][number],
    }
