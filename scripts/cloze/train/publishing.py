"""The files of a finished run: model, records, and what it came to in figures."""

import argparse
import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloze.files import atomic_folder
from cloze.metrics import write_metrics
from cloze.model.model_io import save_model
from cloze.objectives.inputs import Inputs
from cloze.objectives.prediction_history import GUESSES, PredictionHistory
from cloze.objectives.rows import RowBatches
from cloze.tokens.manifest import MANIFEST
from cloze.train.decisions import Decisions
from cloze.train.loop import Pretraining
from cloze.train.optimization import training_flop
from cloze.train.run_directory import RunDirectory
from cloze.train.utilisation import Utilisation, peak_memory_bytes


@dataclass(frozen=True)
class Instruments:
    """What watches a run: guesses, the floor of its loss, and the machine's measured peak.

    `validation`: the split at the recipe's last masking rate. `unigram_entropy` in nats a
    token. `matmul_peak`: operations a second, None where the run is too short to measure it.
    """

    validation: RowBatches
    history: PredictionHistory
    unigram_entropy: float
    matmul_peak: float | None


def write_results(
    args: argparse.Namespace,
    script: Path,
    run: RunDirectory,
    inputs: Inputs,
    training: Pretraining,
    decisions: Decisions,
    instruments: Instruments,
    processes: int,
) -> None:
    """Write the finished run's folder and forget its checkpoints."""
    records = run.metrics.read()
    floor = instruments.unigram_entropy
    with atomic_folder(run.final) as folder:
        save_model(folder, training.model, args.tokenizer.parent)
        shutil.copyfile(run.metrics.path, folder / "metrics.jsonl")
        shutil.copyfile(run.path / GUESSES, folder / GUESSES)
        write_metrics(
            folder / "metrics.json",
            metrics={
                **_scores(records, floor),
                **_effort(training, inputs, decisions, records),
                **_machine(training, inputs, decisions, instruments, processes),
                "recipe": decisions.recipe.as_json(),
                "compute": dataclasses.asdict(decisions.compute),
                "warnings": decisions.warnings,
            },
            args=args,
            inputs=[args.tokenizer, args.dataset / MANIFEST],
            script=script,
            seconds={"wall": round(training.train_seconds, 3)},
        )
        kept = {f"at-{percent}": run.kept_at(percent) for percent in args.keep_at}
        for name, weights in {**kept, "best": run.best}.items():
            training.load_weights(weights)
            save_model(folder / name, training.model, args.tokenizer.parent)
    run.discard_checkpoints()


def _scores(records: list[dict[str, Any]], floor: float) -> dict[str, Any]:
    evaluations = [record for record in records if "validation_loss" in record]
    last = evaluations[-1]
    best = min(evaluations, key=lambda record: record["validation_loss"])
    return {
        **{name: last[name] for name in last if name.startswith("validation_")},
        "best_validation_loss": best["validation_loss"],
        "best_step": best["step"],
        "unigram_entropy": floor,
        "masked_bits_per_byte": last["validation_masked_bits_per_byte"],
    }


def _effort(
    training: Pretraining, inputs: Inputs, decisions: Decisions, records: list[dict[str, Any]]
) -> dict[str, Any]:
    rows, row_visits = inputs.train_rows, _row_visits(training, decisions)
    losses = [record["loss"] for record in records if "loss" in record]
    return {
        "train_loss": losses[-1],
        "steps": training.steps_done,
        "tokens": round(row_visits * rows.num_tokens / rows.num_rows),
        "epochs": round(row_visits / rows.num_rows, 3),
        "train_seconds": round(training.train_seconds, 3),
        "tokens_per_second": round(row_visits * rows.row_length / training.train_seconds, 1),
        "num_parameters": sum(p.numel() for p in training.model.parameters()),
        "resumed_from": training.resumed_from,
    }


def _machine(
    training: Pretraining,
    inputs: Inputs,
    decisions: Decisions,
    instruments: Instruments,
    processes: int,
) -> dict[str, Any]:
    """Return the memory of the main process and, where the peak was measured, utilisation."""
    memory = {"peak_memory_bytes": peak_memory_bytes(decisions.compute.device)}
    if instruments.matmul_peak is None:
        return memory
    length, rates = inputs.train_rows.row_length, decisions.recipe.mlm_probability
    places = _row_visits(training, decisions) * length
    flop = training_flop(training.model.config, places, length, sum(rates) / len(rates))
    each = flop / training.train_seconds / processes
    return {**memory, **Utilisation(each, instruments.matmul_peak).as_dict()}


def _row_visits(training: Pretraining, decisions: Decisions) -> int:
    return training.steps_done * decisions.recipe.train_batch_size
