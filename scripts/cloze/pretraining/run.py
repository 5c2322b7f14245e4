"""One pretraining job from its arguments to its published model folder."""

import argparse
import contextlib
import dataclasses
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from cloze.cli import log
from cloze.codekey import code_key
from cloze.data.loading import load_rows
from cloze.data.manifest import MANIFEST, read_manifest
from cloze.data.shards import Rows
from cloze.data.tokenizer import SpecialIds, load_tokenizer, special_ids
from cloze.encoder.flags import encoder_config
from cloze.encoder.heads import MaskedLM
from cloze.encoder.model_io import load_encoder_into, save_model
from cloze.errors import ClozeError
from cloze.files import atomic_folder, require_file, sha256_file
from cloze.metrics import write_metrics
from cloze.pretraining.batches import RowBatches
from cloze.pretraining.cooccurrence import cooccurrence_embeddings
from cloze.pretraining.curves import draw_loss_curve
from cloze.pretraining.decisions import Decisions, decide, decide_micro_batch_size
from cloze.pretraining.distributed import World, open_world
from cloze.pretraining.loop import Pretraining, Routine
from cloze.pretraining.masked_examples import write_masked_examples
from cloze.pretraining.masking import Masker
from cloze.pretraining.mlm_evaluation import bits_per_byte, unigram_entropy
from cloze.pretraining.recipe import PretrainingRecipe
from cloze.pretraining.run_directory import RunDirectory, fingerprint, open_run
from cloze.pretraining.training_step import TrainingStep

# The validation masks are one fixed draw, whatever the run's seed.
_VALIDATION_SEED = 1 << 32
# The rate before the recipe is decided, for measuring the machine.
_TRIAL_PROBABILITY = 0.2
_EVAL_STEPS = 250
_NOT_IN_RECIPE = frozenset(
    {"dataset", "tokenizer", "output", "run_dir", "init_from", "log", "device", "precision"}
    | {"compile", "threads", "checkpoint_seconds", "gradient_accumulation_steps"}
    | {"gradient_checkpointing"}
)


def pretrain_and_publish(args: argparse.Namespace, script: Path) -> None:
    """Train to the end unless that is done already, then write the model folder.

    Raises `ClozeError` for inputs that do not belong together and for a run that
    another process is training.
    """
    with open_world(args.device) as world, _open_run(args, script, world) as run:
        if world.share(run.final.is_dir()):
            log.info("this very run is finished; publishing it again without a step")
        else:
            _train(args, script, run, world)
        if world.is_main:
            run.publish(args.output)


@contextlib.contextmanager
def _open_run(args: argparse.Namespace, script: Path, world: World) -> Iterator[RunDirectory]:
    """Open the run's folder: the main process holds its lock, the others read there."""
    recipe = _recipe(args, script)
    if not world.is_main:
        yield RunDirectory(args.run_dir / fingerprint(recipe))
        return
    with open_run(args.run_dir, recipe) as run:
        yield run


def _recipe(args: argparse.Namespace, script: Path) -> dict[str, Any]:
    """Everything that decides the weights: flags, the bytes read, the code."""
    recipe: dict[str, Any] = {k: v for k, v in vars(args).items() if k not in _NOT_IN_RECIPE}
    recipe["tokenizer_sha256"] = sha256_file(require_file(args.tokenizer))
    recipe["manifest_sha256"] = sha256_file(require_file(args.dataset / MANIFEST))
    if args.init_from is not None:
        recipe["init_from_sha256"] = sha256_file(require_file(args.init_from / "model.safetensors"))
    recipe["code"] = code_key(script)
    return recipe


def _train(args: argparse.Namespace, script: Path, run: RunDirectory, world: World) -> None:
    data = _load_data(args)
    model = _new_model(args, data)
    decisions = decide(args, model, data.train, run, world)
    recipe, compute = decisions.recipe, decisions.compute
    validation = data.validation.with_mlm_probability(recipe.mlm_probability[-1])
    floor = unigram_entropy(data.train_rows, validation, data.special.all)
    log.info(
        "%s parameters, %d rows, %s",
        f"{sum(p.numel() for p in model.parameters()):,}", data.train.num_rows, compute,
    )  # fmt: skip
    if world.is_main and args.init_from is None and not run.checkpoints():
        # The other processes take the weights over; a resumed run has its own.
        _initialize_embeddings(args, model, data)
    model.to(compute.torch_device)
    model.encoder.gradient_checkpointing = args.gradient_checkpointing
    step = TrainingStep(model, data.train, recipe, compute, world)
    step.micro_batch_size = decide_micro_batch_size(args, step, compute, run, world)
    training = Pretraining(
        model, step, data.train, validation, recipe, decisions.budget(),
        Routine(_eval_steps(args), args.checkpoint_seconds), compute, run, world,
    )  # fmt: skip
    training.train()
    if world.is_main:
        _finish(args, script, run, data, training, decisions, floor)


def _eval_steps(args: argparse.Namespace) -> int | None:
    """A budget in time has evaluations at equal shares of it unless told otherwise."""
    if args.eval_steps is None and args.budget is None:
        return _EVAL_STEPS
    return args.eval_steps


@dataclass(frozen=True)
class _Data:
    """Rows, tokenizer and batches of both splits."""

    tokenizer: Tokenizer
    special: SpecialIds
    train_rows: Rows
    validation_rows: Rows
    train: RowBatches
    validation: RowBatches


def _load_data(args: argparse.Namespace) -> _Data:
    train_rows = load_rows(args.dataset, "train", args.tokenizer)
    validation_rows = load_rows(args.dataset, "validation", args.tokenizer)
    _check_rows(args, train_rows, validation_rows)
    tokenizer = load_tokenizer(args.tokenizer)
    special = special_ids(tokenizer)

    def batches(rows: Rows, seed: int) -> RowBatches:
        masker = Masker(
            vocab_size=rows.vocab_size,
            mask_token_id=special.mask,
            special_token_ids=special.all,
            mlm_probability=_TRIAL_PROBABILITY,
            max_length=rows.row_length,
            seed=seed,
        )
        return RowBatches(rows, masker, special.pad)

    return _Data(
        tokenizer,
        special,
        train_rows,
        validation_rows,
        batches(train_rows, args.seed),
        batches(validation_rows, _VALIDATION_SEED),
    )


def _new_model(args: argparse.Namespace, data: _Data) -> MaskedLM:
    torch.manual_seed(args.seed)
    model = MaskedLM(
        encoder_config(args, data.train_rows.vocab_size, data.special.pad, args.dropout)
    )
    if args.init_from is not None:
        _check_same_tokenizer(args)
        load_encoder_into(model, args.init_from)
    return model


def _initialize_embeddings(args: argparse.Namespace, model: MaskedLM, data: _Data) -> None:
    if args.embedding_init == "cooccurrence":
        started = time.perf_counter()
        embeddings = cooccurrence_embeddings(
            data.train_rows, data.special.all, model.config.hidden_size, args.seed
        )
        model.encoder.token_embedding.weight.data.copy_(embeddings)
        log.info("embeddings from co-occurrence in %.1f s", time.perf_counter() - started)


def _finish(
    args: argparse.Namespace,
    script: Path,
    run: RunDirectory,
    data: _Data,
    training: Pretraining,
    decisions: Decisions,
    floor: float,
) -> None:
    """Write the finished run's folder and forget its checkpoints."""
    with atomic_folder(run.final) as folder:
        save_model(folder, training.model, args.tokenizer.parent)
        write_masked_examples(
            training.model, training.validation, data.tokenizer, decisions.compute,
            folder / "masked_examples.html",
        )  # fmt: skip
        records = run.read_log()
        draw_loss_curve(records, floor, folder / "loss_curve.svg")
        shutil.copyfile(run.log_path, folder / "metrics.jsonl")
        write_metrics(
            folder / "metrics.json",
            metrics={
                **_scores(records, floor, args.dataset, data.validation_rows),
                **_effort(training, data.train_rows, decisions.recipe, records),
                "recipe": decisions.recipe.as_json(),
                "compute": dataclasses.asdict(decisions.compute),
                "warnings": decisions.warnings,
            },
            args=args,
            inputs=[args.tokenizer, args.dataset / MANIFEST],
            script=script,
            seconds={"wall": round(training.train_seconds, 3)},
        )
        training.load_best()
        save_model(folder / "best", training.model, args.tokenizer.parent)
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
