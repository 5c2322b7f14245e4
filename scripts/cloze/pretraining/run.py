"""One pretraining job from its arguments to its published model folder."""

import argparse
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch

from cloze.cli import available_cores, capped_threads, log
from cloze.codekey import code_key
from cloze.data.loading import load_rows
from cloze.data.manifest import MANIFEST, read_manifest
from cloze.data.shards import Rows
from cloze.data.tokenizer import load_tokenizer, special_ids
from cloze.encoder.device import Compute, device_is_present, resolve_compute
from cloze.encoder.flags import encoder_config
from cloze.encoder.model import EncoderConfig, MaskedLM
from cloze.encoder.model_io import load_encoder_into, save_model
from cloze.errors import ClozeError
from cloze.files import atomic_folder, require_file, sha256_file
from cloze.metrics import environment, write_metrics
from cloze.pretraining.batches import RowBatches
from cloze.pretraining.curves import draw_loss_curve
from cloze.pretraining.loop import Pretraining, PretrainingRecipe
from cloze.pretraining.masked_examples import write_masked_examples
from cloze.pretraining.masking import Masker
from cloze.pretraining.mlm_evaluation import bits_per_byte, unigram_entropy
from cloze.pretraining.optimization import training_flop
from cloze.pretraining.run_directory import RunDirectory, open_run

# The validation masks are one fixed draw, whatever the run's seed.
_VALIDATION_SEED = 1 << 32
_NOT_IN_RECIPE = frozenset(
    {"dataset", "tokenizer", "output", "run_dir", "init_from", "log", "device", "precision"}
    | {"compile", "threads", "checkpoint_seconds"}
)


def pretrain_and_publish(args: argparse.Namespace, script: Path) -> None:
    """Train to the end unless that is done already, then write the model folder.

    Raises `ClozeError` for inputs that do not belong together and for a run that
    another process is training.
    """
    with open_run(args.run_dir, _recipe(args, script)) as run:
        if run.final.is_dir():
            log.info("this very run is finished; publishing it again without a step")
        else:
            _train(args, script, run)
        run.publish(args.output)


def _recipe(args: argparse.Namespace, script: Path) -> dict[str, Any]:
    """Everything that decides the weights: flags, the bytes read, the code."""
    recipe: dict[str, Any] = {k: v for k, v in vars(args).items() if k not in _NOT_IN_RECIPE}
    recipe["tokenizer_sha256"] = sha256_file(require_file(args.tokenizer))
    recipe["manifest_sha256"] = sha256_file(require_file(args.dataset / MANIFEST))
    if args.init_from is not None:
        recipe["init_from_sha256"] = sha256_file(require_file(args.init_from / "model.safetensors"))
    recipe["code"] = code_key(script)
    return recipe


def _train(args: argparse.Namespace, script: Path, run: RunDirectory) -> None:
    train_rows = load_rows(args.dataset, "train", args.tokenizer)
    validation_rows = load_rows(args.dataset, "validation", args.tokenizer)
    _check_rows(args, train_rows, validation_rows)
    tokenizer = load_tokenizer(args.tokenizer)
    special = special_ids(tokenizer)
    recipe = PretrainingRecipe(
        **{field.name: getattr(args, field.name) for field in dataclasses.fields(PretrainingRecipe)}
    )
    config = encoder_config(args, train_rows.vocab_size, special.pad, args.dropout)

    def batches(rows: Rows, seed: int) -> RowBatches:
        masker = Masker(
            vocab_size=rows.vocab_size,
            mask_token_id=special.mask,
            special_token_ids=special.all,
            mlm_probability=recipe.mlm_probability,
            max_length=rows.row_length,
            seed=seed,
        )
        return RowBatches(rows, masker, special.pad)

    compute, warnings = _resolve_compute(args, config, recipe, train_rows.row_length, run)
    validation = batches(validation_rows, _VALIDATION_SEED)
    torch.manual_seed(recipe.seed)
    model = MaskedLM(config)
    if args.init_from is not None:
        _check_same_tokenizer(args)
        load_encoder_into(model, args.init_from)
    log.info(
        "%s parameters, %d rows, %s",
        f"{sum(p.numel() for p in model.parameters()):,}", train_rows.num_rows, compute,
    )  # fmt: skip
    training = Pretraining(
        model, batches(train_rows, recipe.seed), validation, recipe, compute, run,
        args.checkpoint_seconds,
    )  # fmt: skip
    training.train()

    floor = unigram_entropy(train_rows, validation, special.all)
    with atomic_folder(run.final) as folder:
        save_model(folder, model, args.tokenizer.parent)
        write_masked_examples(
            model, validation, tokenizer, compute, folder / "masked_examples.html"
        )
        records = run.read_log()
        draw_loss_curve(records, floor, folder / "loss_curve.svg")
        shutil.copyfile(run.log_path, folder / "metrics.jsonl")
        write_metrics(
            folder / "metrics.json",
            metrics={
                **_scores(records, floor, args.dataset, validation_rows),
                **_effort(training, train_rows, recipe, records),
                "compute": dataclasses.asdict(compute),
                "warnings": warnings,
            },
            args=args,
            inputs=[args.tokenizer, args.dataset / MANIFEST],
            script=script,
            seconds={"wall": round(training.train_seconds, 3)},
        )
        training.load_best()
        save_model(folder / "best", model, args.tokenizer.parent)
    run.discard_checkpoints()


def _check_rows(args: argparse.Namespace, train: Rows, validation: Rows) -> None:
    if train.max_length > args.max_position_embeddings:
        raise ClozeError(
            f"max_position_embeddings: {args.max_position_embeddings} is less than the data set's "
            f"max_length {train.max_length}; raise it, or build the data set with a lower one"
        )
    for name, rows in (("training", train), ("validation", validation)):
        if rows.num_rows == 0:
            raise ClozeError(
                f"{args.dataset}: the {name} split has no rows; give the corpus more text or a "
                "larger validation_fraction"
            )


def _check_same_tokenizer(args: argparse.Namespace) -> None:
    theirs = require_file(args.init_from / "tokenizer.json")
    if sha256_file(theirs) != sha256_file(args.tokenizer):
        raise ClozeError(
            f"{theirs}: is another tokenizer than {args.tokenizer}, so the weights of "
            f"{args.init_from} would mean other words; build the data set with that tokenizer"
        )


def _resolve_compute(
    args: argparse.Namespace,
    config: EncoderConfig,
    recipe: PretrainingRecipe,
    length: int,
    run: RunDirectory,
) -> tuple[Compute, list[str]]:
    """Decide `auto` once for a run; a resumed one computes as it began, if it can.

    Returns the decision and the warnings to keep in metrics.json if the run goes on
    in another way than it began, which changes its weights in the last digits.
    """
    tokens = recipe.max_steps * recipe.train_batch_size * length
    flop = training_flop(config, tokens, length, recipe.mlm_probability)
    begun = run.read_run()
    if not begun:
        compute = resolve_compute(
            args.device, args.precision, args.compile, capped_threads(args), flop
        )
        run.write_run(_how(compute, []))
        return compute, []
    compute = resolve_compute(*_as_begun(args, Compute(**begun["compute"])), flop)
    warnings = list(begun["warnings"])
    for key, value in _how(compute, warnings).items():
        if begun[key] != value:
            differing = sorted(name for name in value if begun[key].get(name) != value[name])
            warnings.append(f"resumed with another {key} ({', '.join(differing)}) than it began")
            log.warning("warning: %s; the weights will differ in the last digits", warnings[-1])
    run.write_run(_how(compute, warnings))
    return compute, warnings


def _how(compute: Compute, warnings: list[str]) -> dict[str, Any]:
    return {
        "compute": dataclasses.asdict(compute),
        "environment": environment(),
        "warnings": warnings,
    }


def _as_begun(args: argparse.Namespace, begun: Compute) -> tuple[str, str, str, int]:
    """What to ask for on resume: explicit flags as given, `auto` as it was resolved before."""
    device = args.device if args.device != "auto" else begun.device
    if device == begun.device and not device_is_present(device):
        device = "auto"
    return (
        device,
        args.precision if args.precision != "auto" else begun.precision,
        args.compile if args.compile != "auto" else ("on" if begun.compile else "off"),
        begun.threads if begun.threads <= available_cores() else capped_threads(args),
    )


def _scores(
    records: list[dict[str, Any]], floor: float, dataset: Path, validation: Rows
) -> dict[str, Any]:
    evaluations = [record for record in records if "validation_loss" in record]
    last = evaluations[-1]
    best = min(evaluations, key=lambda record: record["validation_loss"])
    ordinary_tokens = validation.num_tokens - 2 * validation.num_samples
    text_bytes = read_manifest(dataset).splits["validation"].text_bytes
    return {
        "validation_loss": last["validation_loss"],
        "validation_accuracy": last["validation_accuracy"],
        "best_validation_loss": best["validation_loss"],
        "best_step": best["step"],
        "unigram_entropy": floor,
        "bits_per_byte": bits_per_byte(last["validation_loss"], ordinary_tokens, text_bytes),
    }


def _effort(
    training: Pretraining, rows: Rows, recipe: PretrainingRecipe, records: list[dict[str, Any]]
) -> dict[str, Any]:
    row_visits = training.steps_done * recipe.train_batch_size
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
