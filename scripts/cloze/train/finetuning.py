"""One fine-tuning job: from its arguments to its published model folder."""

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.files import require_file, sha256_file
from cloze.metrics import Stopwatch, write_metrics
from cloze.model.device import resolve_compute
from cloze.model.hf import save_model
from cloze.model.hf_config import config_from_folder, require_folder
from cloze.model.weights import weight_files
from cloze.objectives.task import TaskObjective, TrainingRows, objective_of
from cloze.objectives.texts import check_max_length
from cloze.settings.code_key import code_key
from cloze.settings.machine import MachineSettings
from cloze.settings.tasks import FINETUNING_OBJECTIVES, TASK_KINDS, module_of
from cloze.tasks.hold_out import hold_out
from cloze.tasks.task import Task, load_task
from cloze.tokens.tokenizer_folder import tokenizer_files, tokenizer_of_folder
from cloze.train.plan import TrainingPlan, TrainingRecipe, decide
from cloze.train.processes import World, open_world
from cloze.train.run_directory import RunDirectory, open_run
from cloze.train.step import TrainingStep
from cloze.train.trainer import Routine, Trainer

_HELD_OUT_FRACTION = 0.1
_NOT_IN_RECIPE = {"model", "task", "output", "run_dir", "log"} | {
    item.name for item in dataclasses.fields(MachineSettings)
}
_NOT_OF_TASK = {"name", "origin", "splits", "sources", "overlap_with_train", "hold_out"}
# Passes over the training split, by its rows at most. Small tasks need the steps (Mosbach
# et al. 2021, §5: 20 epochs where 3 were usual), large ones do not.
_EPOCHS_BY_ROWS = ((10_000, 10), (200_000, 3), (math.inf, 2))
# Usual for BERT-base; encoders of 128 do best on SST-2 between 5e-4 and 1e-3, which this power of
# the width meets. No encoder that anyone trains is so narrow that more would do.
_HIGHEST_LEARNING_RATE = 1e-3
_LEARNING_RATE, _LEARNING_RATE_WIDTH, _LEARNING_RATE_POWER = 3.3e-5, 768, 1.5


def finetune(args: argparse.Namespace, script: Path) -> None:
    """Train to the end unless that is done already, then write the model folder.

    Raises `ClozeError` for inputs that do not belong together and for a run that another
    process is training.
    """
    task = load_task(args.task)
    require_folder(args.model)
    recipe = _recipe(args, task, script)
    run_dir = args.run_dir or args.output / ".runs"
    with open_world(args.device) as world, open_run(run_dir, recipe, world.is_main) as run:
        if world.share(world.is_main and run.is_finished()):
            log.info("this very run is finished; publishing it again without a step")
        else:
            _Finetuning(args, task, run, world).train(script)
        if world.is_main:
            run.publish(args.output)


def _recipe(args: argparse.Namespace, task: Task, script: Path) -> dict[str, Any]:
    """Everything that decides the weights, up to rounding: flags, the bytes read, the code."""
    recipe: dict[str, Any] = {k: v for k, v in vars(args).items() if k not in _NOT_IN_RECIPE}
    # Not the whole of task.json: another split to evaluate on changes no weight.
    recipe["task"] = {
        **{key: value for key, value in task.facts.items() if key not in _NOT_OF_TASK},
        **{"labels": task.labels, "objective": task.objective, "metric": task.metric},
    }
    files = [path for path in _inputs(args) if path.name != "task.json"]
    recipe["inputs"] = {path.name: sha256_file(require_file(path)) for path in files}
    tables = (TASK_KINDS, FINETUNING_OBJECTIVES)
    recipe["code"] = code_key(script, [module_of(table[task.objective]) for table in tables])
    return recipe


def _inputs(args: argparse.Namespace) -> list[Path]:
    return [
        args.model / "config.json",
        *tokenizer_files(args.model),
        *([] if args.from_scratch else weight_files(args.model)),
        *(args.task / name for name in ("task.json", "train.parquet")),
        *args.task.glob("train-documents.parquet"),
    ]


class _Finetuning:
    """A run that is not finished yet."""

    def __init__(
        self, args: argparse.Namespace, task: Task, run: RunDirectory, world: World
    ) -> None:
        self._args, self._task, self._run, self._world = args, task, run, world
        self._stopwatch = Stopwatch()
        self._config = config_from_folder(args.model).with_dropout(args.dropout)
        check_max_length(args.max_length, self._config.max_length)

    def train(self, script: Path) -> None:
        """Train to the end, measure on the training split and write the finished run's folder."""
        args, data = self._args, self._data()
        objective = objective_of(self._task)(self._model(), data, args)
        plan = decide(args, lambda threads: self._plan(objective, threads), self._run, self._world)
        model = objective.model.to(plan.compute.torch_device)
        model.encoder.gradient_checkpointing = args.gradient_checkpointing
        epoch = objective.steps_per_epoch(args.train_batch_size)
        with objective.only_occurring_tokens():
            step = TrainingStep(objective, plan, self._world)
            if args.gradient_accumulation_steps is not None:
                parts = args.gradient_accumulation_steps
                step.plan = dataclasses.replace(plan, gradient_accumulation_steps=parts)
            routine = Routine(
                eval_steps=epoch if data.held_out.size else 0,
                eval_examples=None,
                checkpoint_seconds=args.checkpoint_seconds,
                early_stopping_patience=args.early_stopping_patience,
            )
            trainer = Trainer(objective, step, routine, self._run, self._world)
            trainer.resume()
            trainer.train()
            trainer.load_best()
        if self._world.is_main:
            self._write_results(trainer, objective, script)

    def _data(self) -> TrainingRows:
        """Read and tokenise the training split, and hold out a part of it for early stopping."""
        args, split = self._args, self._task.split("train")
        tokenizer = tokenizer_of_folder(args.model)
        encoded = objective_of(self._task).encode(tokenizer, split, args, self._config.vocab_size)
        train, held_out = np.arange(len(split)), np.empty(0, dtype=np.int64)
        if args.early_stopping_patience:
            rows = hold_out(split, _HELD_OUT_FRACTION, args.seed)
            if not rows.held_out.size or not rows.train.size:
                raise ClozeError(
                    f"{self._task.split_path('train')}: {len(split)} rows are too few or too "
                    "repetitive to hold a part out; set --early-stopping-patience 0"
                )
            log.info("early stopping: %s", rows.describe(self._task.labels))
            train, held_out = rows.train, rows.held_out
        return TrainingRows(self._task, split, encoded, train, held_out)

    def _model(self) -> nn.Module:
        """Return the model drawn from the seed, its encoder that of --model if wanted."""
        args, objective = self._args, objective_of(self._task)
        torch.manual_seed(args.seed)
        model = objective.build(self._config, self._task, args)
        if not args.from_scratch:
            parts = objective.load_matching(model, args.model, self._task, args.reset_heads)
            log.info("heads of %s %s", args.model, parts)
        return model

    def _plan(self, objective: TaskObjective[Any], threads: int) -> TrainingPlan:
        args, max_steps, warmup = self._args, self._args.max_steps, self._args.warmup_ratio
        if max_steps is None and args.budget is None:
            epochs = args.num_train_epochs
            if epochs is None:
                epochs = default_epochs(len(objective.data.split))
            if not epochs and objective.has_head:
                raise ClozeError(
                    "num_train_epochs 0: would leave the head of this task as it was drawn; train "
                    "at least one"
                )
            max_steps = epochs * objective.steps_per_epoch(args.train_batch_size)
        if max_steps:
            warmup = math.ceil(warmup * max_steps) / max_steps
        return TrainingPlan(
            resolve_compute(args.device, args.precision, args.compile, threads, 0.0),
            TrainingRecipe(
                train_batch_size=args.train_batch_size,
                learning_rate=args.learning_rate or default_learning_rate(self._config.hidden_size),
                lr_scheduler_type="linear",
                warmup_ratio=warmup,
                weight_decay=args.weight_decay,
                max_grad_norm=args.max_grad_norm,
                seed=args.seed,
                layerwise_lr_decay=args.layerwise_lr_decay,
            ),
            max_steps,
            args.budget,
        )

    def _write_results(self, trainer: Trainer, objective: TaskObjective[Any], script: Path) -> None:
        args, data, state = self._args, objective.data, trainer.state
        objective.calibrate(trainer.plan.compute)
        fitted = objective.fit(trainer.plan.compute)
        if fitted:
            log.info("training %s %.4f, %d steps", self._task.metric, fitted["score"], state.step)
        records = self._run.metrics.read()
        epoch = objective.steps_per_epoch(args.train_batch_size)
        losses = [r["loss"] for r in records if "loss" in r and r["step"] > state.step - epoch]
        tokens = round(state.step / epoch * objective.tokens_per_example * objective.num_examples)
        recipe = ("dropout", *objective.recipe)
        metrics: dict[str, Any] = {
            "task": self._task.name,
            "seed": args.seed,
            "from_scratch": args.from_scratch,
            "recipe": {
                **trainer.plan.settings,
                "num_train_epochs": round(state.step / epoch, 3),
                **{name: getattr(args, name) for name in recipe},
                **objective.text_recipe(args),
                **objective.pooling(),
                "early_stopping_patience": args.early_stopping_patience,
            },
            "num_parameters": sum(p.numel() for p in objective.model.parameters()),
            "train_examples": len(data.train),
            "train_score": fitted.get("score"),
            **({"train_accuracy": fitted["accuracy"]} if "accuracy" in fitted else {}),
            "train_loss": sum(losses) / len(losses) if losses else None,
            "held_out_scores": [r["held_out_score"] for r in records if "held_out_score" in r],
            "best_step": state.best_step,
            "truncated_texts": data.encoded.truncated,
            "steps": state.step,
            "tokens": tokens,
            "train_seconds": state.train_seconds,
            "tokens_per_second": tokens / state.train_seconds if state.step else None,
            "resumed_from": state.resumed_from,
            "device": trainer.plan.compute.device,
            "precision": trainer.plan.compute.precision,
            "processes": self._world.size,
        }
        with self._run.finish() as folder:
            save_model(folder, objective.model, args.model, self._task.labels or None)
            write_metrics(
                folder / "metrics.json",
                metrics=metrics,
                args=args,
                inputs=_inputs(args),
                script=script,
                seconds=self._stopwatch.read(),
            )


def default_epochs(num_rows: int) -> int:
    """Return how many passes a training split of this many rows gets."""
    return next(epochs for rows, epochs in _EPOCHS_BY_ROWS if num_rows < rows)


def default_learning_rate(hidden_size: int) -> float:
    """Return the peak learning rate for an encoder of this width, to two digits."""
    ratio = _LEARNING_RATE_WIDTH / hidden_size
    rate = min(_HIGHEST_LEARNING_RATE, _LEARNING_RATE * ratio**_LEARNING_RATE_POWER)
    return float(f"{rate:.2g}")
