"""What a run decides once: how it computes, its recipe, its budget, its micro-batches.

The main process decides, the others take it over, `run.json` keeps it, a resumed run
reads it there.
"""

import argparse
import dataclasses
from dataclasses import dataclass
from typing import Any

from cloze.cli import capped_threads, log
from cloze.machine import available_cores
from cloze.metrics import environment
from cloze.model.device import Compute, device_is_present, resolve_compute
from cloze.objectives.mlm import PretrainingModel
from cloze.objectives.rows import RowBatches
from cloze.train.budget import Budget, StepBudget, TimeBudget
from cloze.train.distributed import World
from cloze.train.micro_batches import (
    largest_divisor,
    micro_batch_size,
    probe_micro_batch_size,
)
from cloze.train.optimization import training_flop
from cloze.train.recipe import RULES, PretrainingRecipe, fit_batch_size, fit_recipe
from cloze.train.run_directory import RunDirectory
from cloze.train.training_step import TrainingStep, measure_tokens_per_second


@dataclass(frozen=True)
class Decisions:
    """What was decided; `max_steps` is None and `seconds` given if the clock ends the run.

    `warnings` tell how a resumed run differs from how it began.
    """

    compute: Compute
    recipe: PretrainingRecipe
    max_steps: int | None
    seconds: float | None
    warnings: list[str]

    def budget(self) -> Budget:
        """Return the budget, unspent."""
        if self.max_steps is not None:
            return StepBudget(self.max_steps)
        assert self.seconds is not None
        return TimeBudget(self.seconds)

    def as_json(self) -> dict[str, Any]:
        """Return the decisions with the machine's description, as `run.json` holds them."""
        return {
            "compute": dataclasses.asdict(self.compute),
            "environment": environment(),
            "warnings": self.warnings,
            "recipe": self.recipe.as_json(),
            "max_steps": self.max_steps,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Decisions":
        """Return what `as_json` was made of."""
        return cls(
            Compute(**values["compute"]),
            PretrainingRecipe.from_json(values["recipe"]),
            values["max_steps"],
            values["seconds"],
            values["warnings"],
        )


def decide(
    args: argparse.Namespace,
    model: PretrainingModel,
    train: RowBatches,
    run: RunDirectory,
    world: World,
) -> Decisions:
    """Return the decisions of a new run, or those it began with, as far as they are possible.

    Raises `ClozeError` for a device that is absent and for settings that exclude each other.
    """
    threads = max(1, capped_threads(args) // world.local_size)
    decided: dict[str, Any] = {}
    if world.is_main:
        begun = run.read_run()
        if begun:
            decided = {**begun, **_gone_on(args, begun, threads, world).as_json()}
        else:
            decided = _begin(args, model, train, threads, world).as_json()
        run.write_run(decided)
    decided = world.share(decided)
    compute = decided["compute"]
    compiled = "on" if compute["compile"] else "off"
    # Sets the threads of this process.
    resolve_compute(compute["device"], compute["precision"], compiled, compute["threads"], 0.0)
    return Decisions.from_json(decided)


def _begin(
    args: argparse.Namespace, model: PretrainingModel, train: RowBatches, threads: int, world: World
) -> Decisions:
    choice = (args.device, args.precision)
    batch_size, max_steps, tokens = args.train_batch_size, args.max_steps, args.max_tokens
    if args.budget is not None:
        compute = resolve_compute(*choice, "off", threads, 0.0)
        speed = world.size * measure_tokens_per_second(
            model.to(compute.torch_device), train, compute
        )
        tokens = speed * args.budget
        log.info("about %s tokens/s, %s in all", f"{speed:,.0f}", f"{tokens:,.0f}")
    if batch_size is None:
        batch_size = RULES.rows_of_steps
        if tokens is not None:
            batch_size = max(world.size, fit_batch_size(train.row_length, tokens))
    tokens_per_step = batch_size * train.tokens_per_row
    if args.max_tokens is not None:
        max_steps = max(1, round(args.max_tokens / tokens_per_step))
    recipe = fit_recipe(args, model.config, batch_size, max_steps)
    all_tokens = round(tokens if max_steps is None else max_steps * batch_size * train.row_length)
    flop = training_flop(model.config, all_tokens, train.row_length, max(recipe.mlm_probability))
    compute = resolve_compute(*choice, args.compile, threads, flop)
    log.info("recipe: %s", recipe)
    return Decisions(compute, recipe, max_steps, args.budget, [])


def _gone_on(
    args: argparse.Namespace, begun: dict[str, Any], threads: int, world: World
) -> Decisions:
    """Compute as the run began, if that is possible; say so if it is not."""
    before = Decisions.from_json(begun)
    compute = resolve_compute(*_as_begun(args, before.compute, threads, world), 0.0)
    after = dataclasses.replace(before, compute=compute)
    warnings = list(before.warnings)
    for key in ("compute", "environment"):
        value = after.as_json()[key]
        if begun[key] != value:
            differing = sorted(name for name in value if begun[key].get(name) != value[name])
            warnings.append(f"resumed with another {key} ({', '.join(differing)}) than it began")
            log.warning("warning: %s; the weights will differ in the last digits", warnings[-1])
    return dataclasses.replace(after, warnings=warnings)


def _as_begun(
    args: argparse.Namespace, begun: Compute, threads: int, world: World
) -> tuple[str, str, str, int]:
    """What to ask for on resume: explicit flags as given, `auto` as it was resolved before."""
    device = args.device if args.device != "auto" else begun.device
    if device == begun.device and not device_is_present(device):
        device = "auto"
    return (
        device,
        args.precision if args.precision != "auto" else begun.precision,
        args.compile if args.compile != "auto" else ("on" if begun.compile else "off"),
        begun.threads if begun.threads * world.local_size <= available_cores() else threads,
    )


def decide_micro_batch_size(
    args: argparse.Namespace,
    step: TrainingStep,
    compute: Compute,
    run: RunDirectory,
    world: World,
) -> int:
    """Return how many rows a process computes at once: as told, as pinned, or as probed.

    Only a GPU is probed: a CPU's memory holds any batch worth training with.
    """
    if args.gradient_accumulation_steps is not None:
        size = micro_batch_size(step.num_rows, args.gradient_accumulation_steps)
    else:
        pinned = world.share(run.read_run().get("micro_batch_size") if world.is_main else None)
        if pinned is not None:
            size = largest_divisor(step.num_rows, pinned)
        elif compute.device == "cuda":
            size = world.least(probe_micro_batch_size(step.num_rows, step.attempt))
        else:
            size = step.num_rows
    if world.is_main:
        run.write_run({**run.read_run(), "micro_batch_size": size})
    return size
