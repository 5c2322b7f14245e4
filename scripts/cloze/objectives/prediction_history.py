"""How an encoder's guesses for the same few gaps change while it learns: what is recorded."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from cloze.files import read_records, write_text
from cloze.model.device import Compute
from cloze.model.heads import MaskedLM
from cloze.objectives.rows import MaskedBatch, RowBatches

MASKED_EXAMPLES = "masked_examples.jsonl"
NUM_ROWS = 8
_MAX_GAPS = 24


@dataclass(frozen=True)
class FilledMasks:
    """The best guess for every prediction of a batch, [B, M] each, and its probability."""

    token_ids: list[list[int]]
    probabilities: list[list[float]]


@torch.no_grad()
def fill_masks(model: MaskedLM, batch: MaskedBatch, compute: Compute) -> FilledMasks:
    """Return what an encoder reads into the gaps of a batch."""
    was_training = model.training
    model.eval()
    on_device = batch.to(compute.torch_device)
    with compute.autocast():
        logits = model(on_device.packed, on_device.positions).float().cpu()
    model.train(was_training)
    probabilities, token_ids = logits.softmax(-1).max(-1)
    return FilledMasks(token_ids.tolist(), probabilities.tolist())


class PredictionHistory:
    """FilledMasks for the first gaps of the validation split, step by step, kept in a file.

    The file holds one JSON object a line: `step`, `token_ids` and `probabilities`, a
    number for each of the first 24 gaps of the first row.
    """

    def __init__(self, path: Path, batches: RowBatches, compute: Compute) -> None:
        self._path, self._compute = path, compute
        self._batch = next(iter(batches.evaluation_batches(NUM_ROWS)))
        self._gaps = first_gaps(self._batch)

    def rewind(self, step: int) -> None:
        """Forget guesses after `step`, which a resumed run makes again."""
        kept = [record for record in read_records(self._path) if record["step"] <= step]
        write_text(self._path, "".join(json.dumps(record) + "\n" for record in kept))

    def record(self, model: MaskedLM, step: int) -> None:
        """Keep what the encoder guesses after `step` steps."""
        guesses = fill_masks(model, self._batch, self._compute)
        record = {
            "step": step,
            "token_ids": [guesses.token_ids[0][index] for index, _ in self._gaps],
            "probabilities": [round(guesses.probabilities[0][index], 4) for index, _ in self._gaps],
        }
        with open(self._path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")


def first_gaps(batch: MaskedBatch) -> list[tuple[int, int]]:
    """Return (index of the prediction, position) of the first row's first 24 gaps, in order."""
    kept = [
        (index, int(position))
        for index, position in enumerate(batch.positions[0])
        if batch.weights[0, index] > 0
    ]
    return sorted(kept, key=lambda gap: gap[1])[:_MAX_GAPS]
