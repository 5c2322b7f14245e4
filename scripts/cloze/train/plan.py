"""What a run decides once: how it computes, its recipe and its budget.

The main process decides, the others take it over, `run.json` keeps it, a resumed run reads
it there.
"""

import argparse
import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from cloze.cli import capped_threads, log
from cloze.errors import ClozeError
from cloze.machine import available_cores
from cloze.metrics import environment
from cloze.model.device import Compute, device_is_present, resolve_compute
from cloze.train.budget import Budget, Span, StepBudget, TimeBudget, learning_rate_factor
from cloze.train.processes import World
from cloze.train.run_directory import RunDirectory


@dataclass(frozen=True)
class TrainingRecipe:
    """How weights are updated; names as in Hugging Face's `TrainingArguments`.

    `learning_rate` is the peak of AdamW, `muon_learning_rate` that of Muon. `warmup_ratio`
    and `cooldown_ratio` are shares of the run. `layerwise_lr_decay`: each layer's rate as a
    share of that of the layer above it, 1 for none.
    """

    train_batch_size: int
    learning_rate: float
    lr_scheduler_type: str
    warmup_ratio: float
    weight_decay: float
    max_grad_norm: float
    seed: int
    optimizer: str = "adamw"
    muon_learning_rate: float = 0.0
    cooldown_ratio: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    layerwise_lr_decay: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.layerwise_lr_decay <= 1:
            raise ClozeError("--layerwise-lr-decay: must be above 0 and at most 1")

    def learning_rate_factor(self, span: Span) -> float:
        """Return the share of the peak learning rate that a step with this progress uses."""
        return learning_rate_factor(
            self.lr_scheduler_type, span, self.warmup_ratio, self.cooldown_ratio
        )


@dataclass(frozen=True)
class TrainingPlan:
    """What was decided; `max_steps` is None and `seconds` given if the clock ends the run.

    `tokens_per_second`: the speed, padding apart, that a budget in time was planned with.
    `objective`: settings of the objective that were fitted to encoder or budget, by name.
    `micro_batch_size`: rows that a process computes at once; None: as many as make up
    `gradient_accumulation_steps` parts of what it has.
    `warnings` tell how a resumed run differs from how it began.
    """

    compute: Compute
    recipe: TrainingRecipe
    max_steps: int | None
    seconds: float | None
    tokens_per_second: float | None = None
    objective: dict[str, Any] = field(default_factory=dict)
    micro_batch_size: int | None = None
    gradient_accumulation_steps: int = 1
    warnings: list[str] = field(default_factory=list)

    def budget(self) -> Budget:
        """Return the budget, unspent."""
        if self.max_steps is not None:
            return StepBudget(self.max_steps)
        assert self.seconds is not None
        return TimeBudget(self.seconds)

    @property
    def settings(self) -> dict[str, Any]:
        """What of the recipe has an effect, and the settings of the objective, by name."""
        recipe = dataclasses.asdict(self.recipe)
        if self.recipe.optimizer != "muon":
            del recipe["muon_learning_rate"]
        if self.recipe.lr_scheduler_type != "warmup_stable_decay":
            del recipe["cooldown_ratio"]
        return {**recipe, **self.objective}

    @property
    def stable_steps(self) -> int:
        """The first steps that are the same in a longer run; 0 where there are none."""
        if self.max_steps is None or len(self.objective.get("mlm_probability", ())) > 1:
            return 0
        if self.recipe.lr_scheduler_type == "constant":
            return self.max_steps
        if self.recipe.lr_scheduler_type == "warmup_stable_decay":
            return math.ceil((1 - self.recipe.cooldown_ratio) * self.max_steps - 1e-6)
        return 0

    def as_if_endless(self) -> dict[str, Any]:
        """Return what decides the steps before a decay: the warm-up in steps, no length."""
        assert self.max_steps is not None
        recipe = dataclasses.asdict(self.recipe)
        warmup_steps = round(recipe.pop("warmup_ratio") * self.max_steps, 3)
        del recipe["cooldown_ratio"]
        return {**recipe, **self.objective, "warmup": warmup_steps, "compute": self.compute}

    def as_json(self) -> dict[str, Any]:
        """Return the plan with the machine's description, as `run.json` holds them."""
        return {**dataclasses.asdict(self), "environment": environment()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return what `as_json` was made of."""
        given = {name: value for name, value in values.items() if name != "environment"}
        compute, recipe = Compute(**given.pop("compute")), TrainingRecipe(**given.pop("recipe"))
        return cls(compute, recipe, **given)


def decide(
    args: argparse.Namespace,
    begin: Callable[[int], TrainingPlan],
    run: RunDirectory,
    world: World,
) -> TrainingPlan:
    """Return the plan of a new run, or the one it began with, as far as that is possible.

    `begin(threads)` decides for a new run, in the main process. Sets the threads of this
    process. Raises `ClozeError` for a device that is absent and for settings that exclude
    each other.
    """
    threads = max(1, capped_threads(args) // world.local_size)
    decided: dict[str, Any] = {}
    if world.is_main:
        begun = run.read_run()
        plan = _as_begun(args, begun, threads, world) if begun else begin(threads)
        decided = plan.as_json()
        run.write_run(decided)
    plan = TrainingPlan.from_json(world.share(decided))
    compute = plan.compute
    compiled = "on" if compute.compile else "off"
    resolve_compute(compute.device, compute.precision, compiled, compute.threads, 0.0)
    log.info("%s, %s", plan.recipe, compute)
    return plan


def _as_begun(
    args: argparse.Namespace, begun: Mapping[str, Any], threads: int, world: World
) -> TrainingPlan:
    """Compute as the run began, if that is possible; say so if it is not."""
    before = TrainingPlan.from_json(begun)
    device, compute = args.device, before.compute
    if device == "auto":
        device = compute.device if device_is_present(compute.device) else "auto"
    after = resolve_compute(
        device,
        args.precision if args.precision != "auto" else compute.precision,
        args.compile,
        compute.threads if compute.threads * world.local_size <= available_cores() else threads,
        math.inf if compute.compile else 0.0,
    )
    warnings = list(before.warnings)
    now = {"compute": dataclasses.asdict(after), "environment": environment()}
    for key, value in now.items():
        if begun[key] != value:
            differing = sorted(name for name in value if begun[key].get(name) != value[name])
            warnings.append(f"resumed with another {key} ({', '.join(differing)}) than it began")
            log.warning("warning: %s; the weights will differ in the last digits", warnings[-1])
    return dataclasses.replace(before, compute=after, warnings=warnings)


def steps_of(num_examples: float, batch_size: int) -> int:
    """Return the optimizer steps in which about so many examples are seen, at least 1."""
    return max(1, round(num_examples / batch_size))


def warmup_ratio(warmup_steps: float, max_steps: int | None) -> float:
    """Return the share of the run that warms up, from steps or, below 1, from a share.

    Raises `ClozeError` for steps where only the clock knows how many there are.
    """
    if warmup_steps < 1:
        return float(warmup_steps)
    if max_steps is None:
        raise ClozeError(
            f"warmup_steps: {warmup_steps:g} steps, but a budget in time has no known number of "
            "steps; give a share of the run below 1, such as 0.06"
        )
    return min(1.0, warmup_steps / max_steps)
