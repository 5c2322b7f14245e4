"""How an encoder's guesses for the same few gaps change while it learns."""

import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from cloze.files import read_records, write_text
from cloze.model.device import Compute
from cloze.model.heads import MaskedLM
from cloze.objectives.rows import MaskedBatch, RowBatches

NUM_ROWS = 8
_MAX_GAPS, _MAX_COLUMNS = 24, 8


@dataclass(frozen=True)
class Guesses:
    """The best guess for every prediction of a batch, [B, M] each, and its probability."""

    token_ids: list[list[int]]
    probabilities: list[list[float]]


@torch.no_grad()
def guess(model: MaskedLM, batch: MaskedBatch, compute: Compute) -> Guesses:
    """Return what an encoder reads into the gaps of a batch."""
    was_training = model.training
    model.eval()
    on_device = batch.to(compute.torch_device)
    with compute.autocast():
        logits = model(on_device.packed, on_device.positions).float().cpu()
    model.train(was_training)
    probabilities, token_ids = logits.softmax(-1).max(-1)
    return Guesses(token_ids.tolist(), probabilities.tolist())


class PredictionHistory:
    """Guesses for the first gaps of the validation split, step by step, kept in a file.

    The file holds one JSON object a line: `step`, `token_ids` and `probabilities`, a
    number for each of the first 24 gaps of the first row.
    """

    def __init__(self, path: Path, batches: RowBatches, compute: Compute) -> None:
        self._path, self._compute = path, compute
        self._batch = next(iter(batches.evaluation_batches(NUM_ROWS)))
        self._gaps = _gaps(self._batch)

    def rewind(self, step: int) -> None:
        """Forget guesses after `step`, which a resumed run makes again."""
        kept = [record for record in read_records(self._path) if record["step"] <= step]
        write_text(self._path, "".join(json.dumps(record) + "\n" for record in kept))

    def record(self, model: MaskedLM, step: int) -> None:
        """Keep what the encoder guesses after `step` steps."""
        guesses = guess(model, self._batch, self._compute)
        record = {
            "step": step,
            "token_ids": [guesses.token_ids[0][index] for index, _ in self._gaps],
            "probabilities": [round(guesses.probabilities[0][index], 4) for index, _ in self._gaps],
        }
        with open(self._path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def as_html(self, tokenizer: Tokenizer) -> str:
        """Return the text with numbered gaps and a table: a gap a line, a step a column.

        An empty text where nothing was recorded.
        """
        columns = _spread(read_records(self._path))
        if not columns:
            return ""
        numbers = {position: number for number, (_, position) in enumerate(self._gaps, start=1)}
        text = _text(self._batch, numbers, tokenizer)
        head = "".join(f"<th>{record['step']:,}</th>" for record in columns)
        lines = [
            f"<tr><th>{number}</th><td>{_name(label, tokenizer)}</td>"
            + "".join(_cell(record, number - 1, label, tokenizer) for record in columns)
            + "</tr>"
            for number, (index, _) in enumerate(self._gaps, start=1)
            for label in [int(self._batch.labels[0, index])]
        ]
        return (
            f"<p>{text}</p>\n<div class='wide'><table>\n"
            f"<tr><th></th><th>hidden</th>{head}</tr>\n" + "\n".join(lines) + "\n</table></div>"
        )


def _gaps(batch: MaskedBatch) -> list[tuple[int, int]]:
    """Return (number of the prediction, position) of the first row's first gaps, in order."""
    kept = [
        (index, int(position))
        for index, position in enumerate(batch.positions[0])
        if batch.weights[0, index] > 0
    ]
    return sorted(kept, key=lambda gap: gap[1])[:_MAX_GAPS]


def _spread(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return at most eight records, the first and the last among them, evenly in between."""
    if len(records) <= _MAX_COLUMNS:
        return records
    last = len(records) - 1
    return [records[round(column * last / (_MAX_COLUMNS - 1))] for column in range(_MAX_COLUMNS)]


def _text(batch: MaskedBatch, numbers: dict[int, int], tokenizer: Tokenizer) -> str:
    """Return the first row up to its last gap, each gap a blank with its number."""
    pieces = []
    for position, token_id in enumerate(batch.packed.input_ids[0].tolist()[: max(numbers) + 1]):
        number = numbers.get(position)
        name = str(tokenizer.id_to_token(token_id))
        if number is not None:
            pieces.append(f" ____<sup>{number}</sup>")
        elif name.startswith("##"):
            pieces.append(html.escape(name[2:]))
        else:
            pieces.append(" " + html.escape(name))
    return "".join(pieces)


def _cell(record: dict[str, Any], gap: int, label: int, tokenizer: Tokenizer) -> str:
    token_id, probability = record["token_ids"][gap], record["probabilities"][gap]
    kind = "right" if token_id == label else "miss"
    share = f"{100 * probability:.0f}"
    return (
        f'<td class="{kind}" style="--sure:{share}%" title="{share} %">'
        f"{_name(token_id, tokenizer)}</td>"
    )


def _name(token_id: int, tokenizer: Tokenizer) -> str:
    return html.escape(str(tokenizer.id_to_token(token_id)))
