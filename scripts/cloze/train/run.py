"""One pretraining job from its arguments to its published model folder."""

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.files import require_file, sha256_file
from cloze.model.config import EncoderConfig
from cloze.model.device import Compute, keep_freed_memory
from cloze.objectives.inputs import Inputs, load_inputs, new_model, start_from_counts
from cloze.objectives.mlm_evaluation import ordinary_tokens, unigram_entropy
from cloze.objectives.prediction_history import GUESSES, PredictionHistory
from cloze.settings.code_key import code_key
from cloze.tokens.manifest import MANIFEST, read_manifest
from cloze.train.decisions import Decisions, decide, decide_micro_batch_size
from cloze.train.distributed import World, open_world
from cloze.train.loop import Pretraining, Routine
from cloze.train.metrics_stream import open_dashboards
from cloze.train.optimization import training_flop
from cloze.train.publishing import Instruments, write_results
from cloze.train.recipe import PretrainingRecipe
from cloze.train.run_directory import RunDirectory, fingerprint, open_run
from cloze.train.training_step import TrainingStep
from cloze.train.utilisation import matmul_peak
from cloze.train.validation import OnEvaluation, Validation

# About ten seconds of a small CPU.
_LEAST_MEASURED_FLOP = 1e12
_EVAL_STEPS = 250
_NOT_IN_RECIPE = frozenset(
    {"dataset", "tokenizer", "output", "run_dir", "init_from", "log", "device", "precision"}
    | {"compile", "threads", "checkpoint_seconds", "gradient_accumulation_steps"}
    | {"gradient_checkpointing", "wandb", "publish_at"}
)
# Given what a run reads, its architecture, its recipe and the unigram entropy.
Watch = Callable[[Inputs, EncoderConfig, PretrainingRecipe, float], OnEvaluation]


def pretrain_and_publish(args: argparse.Namespace, script: Path, watch: Watch) -> None:
    """Train to the end unless that is done already, then write the model folder.

    `watch` returns what is told of every evaluation; it decides nothing.

    Raises `ClozeError` for inputs that do not belong together and for a run that
    another process is training.
    """
    if args.publish_at is not None and args.publish_at not in args.keep_at:
        raise ClozeError(f"--publish-at {args.publish_at}: is none of --keep-at; add it there")
    keep_freed_memory()
    with open_world(args.device) as world, _open_run(args, script, world) as run:
        if world.share(run.final.is_dir()):
            log.info("this very run is finished; publishing it again without a step")
        elif args.publish_at is not None:
            raise ClozeError(
                f"{args.run_dir}: no finished run there has this recipe, so there are no weights "
                f"of {args.publish_at} % of it; run the same command without --publish-at first"
            )
        else:
            _train(args, script, run, world, watch)
        if world.is_main:
            run.publish(args.output, args.publish_at)


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


def _train(
    args: argparse.Namespace, script: Path, run: RunDirectory, world: World, watch: Watch
) -> None:
    inputs = load_inputs(args)
    model = new_model(args, inputs)
    decisions = decide(args, model, inputs.train, run, world)
    recipe, compute = decisions.recipe, decisions.compute
    log.info(
        "%s parameters, %d rows, %s",
        f"{sum(p.numel() for p in model.parameters()):,}", inputs.train.num_rows, compute,
    )  # fmt: skip
    is_new = args.init_from is None and not run.checkpoints()
    if is_new and world.is_main and args.embedding_init == "cooccurrence":
        # The other processes take the weights over; a resumed run has its own.
        start_from_counts(model, inputs, args.seed)
    # Before the machine is measured: what starting took tells what finishing will take.
    budget = decisions.budget()
    if world.is_main:
        open_dashboards(run.metrics, run.path.name, args.wandb, decisions.as_json())
    try:
        instruments = _instruments(run, inputs, model.config, decisions)
        told = watch(inputs, model.config, recipe, instruments.unigram_entropy)
        validation = _validation(args, run, inputs, compute, instruments, told)
        model.to(compute.torch_device)
        model.encoder.gradient_checkpointing = args.gradient_checkpointing
        step = TrainingStep(model, inputs.train, recipe, compute, world)
        step.micro_batch_size = decide_micro_batch_size(args, step, compute, run, world)
        training = Pretraining(
            model, step, inputs.train, validation, recipe, budget,
            Routine(_eval_steps(args), args.checkpoint_seconds, tuple(args.keep_at)),
            compute.torch_device, run, world,
        )  # fmt: skip
        training.train()
    finally:
        run.metrics.close()
    if world.is_main:
        write_results(args, script, run, inputs, training, decisions, instruments, world.size)


def _instruments(
    run: RunDirectory, inputs: Inputs, config: EncoderConfig, decisions: Decisions
) -> Instruments:
    recipe, compute = decisions.recipe, decisions.compute
    validation = inputs.validation.with_mlm_probability(recipe.mlm_probability[-1])
    floor = unigram_entropy(inputs.train_rows, validation, inputs.special.all)
    history = PredictionHistory(run.path / GUESSES, validation, compute)
    return Instruments(validation, history, floor, _matmul_peak(inputs, config, decisions))


def _matmul_peak(inputs: Inputs, config: EncoderConfig, decisions: Decisions) -> float | None:
    """Measure the machine, which takes seconds, unless the run itself takes no longer."""
    recipe, compute, length = decisions.recipe, decisions.compute, inputs.train_rows.row_length
    if decisions.max_steps is not None:
        places = decisions.max_steps * recipe.train_batch_size * length
        flop = training_flop(config, places, length, recipe.mlm_probability[-1])
        if flop < _LEAST_MEASURED_FLOP:
            return None
    return matmul_peak(compute.device, compute.precision)


def _validation(
    args: argparse.Namespace,
    run: RunDirectory,
    inputs: Inputs,
    compute: Compute,
    instruments: Instruments,
    told: OnEvaluation,
) -> Validation:
    text_bytes = read_manifest(args.dataset).splits["validation"].text_bytes
    return Validation(
        instruments.validation, compute, run, instruments.history, told,
        ordinary_tokens(inputs.validation_rows), text_bytes,
    )  # fmt: skip


def _eval_steps(args: argparse.Namespace) -> int | None:
    """A budget in time has evaluations at equal shares of it unless told otherwise."""
    if args.eval_steps is None and args.budget is None:
        return _EVAL_STEPS
    return args.eval_steps
