"""The trainer: one loop for every objective, its evaluations and its checkpoints."""

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cloze.cli import log, progress
from cloze.errors import ClozeError
from cloze.objectives.objective import Objective
from cloze.train.budget import Span
from cloze.train.plan import TrainingPlan
from cloze.train.processes import World
from cloze.train.run_directory import RunDirectory
from cloze.train.step import TrainingStep
from cloze.train.watch import LossWatch, LossWindow, StopSignal

LOG_STEPS = 10
# Where the clock ends a run: its evaluations before the last, what they may take of its time,
# the fewest examples that one reads, and the share after which the plan is looked at again.
EVALUATIONS, EVALUATION_SHARE, FEWEST_EVAL_EXAMPLES, SETTLED_AFTER = 10, 0.05, 64, 0.05
# A run that has only begun is saved earlier: a kill costs no more than was done before it.
_FIRST_CHECKPOINT_SECONDS = 20.0
_MODEL, _OPTIMIZER = "model/", "optimizer/"


class TrainingStoppedError(ClozeError):
    """Training was asked to stop; the message says how to go on."""


class PlanChangedError(Exception):
    """The run is to begin again with another plan, before it counts as begun."""

    def __init__(self, plan: TrainingPlan) -> None:
        super().__init__(plan)
        self.plan = plan


@dataclass(frozen=True)
class Routine:
    """What happens between steps, none of which decides a weight but early stopping.

    An evaluation of `eval_examples` examples every `eval_steps` steps (0: never; None: ten
    times in the run, and for examples: as many as 5 % of the time allows), a checkpoint every
    `checkpoint_seconds`, and after each of `keep_at` percent of the run the weights are kept
    for good. Training ends after `early_stopping_patience` evaluations without a better one
    (0: never). `on_evaluation` gets all records so far. `reconsider` is told, after the first
    twentieth of a run that the clock ends, how many examples a second it sees; the plan that
    it returns, if any, ends the training by `PlanChangedError`.
    """

    eval_steps: int | None
    eval_examples: int | None
    checkpoint_seconds: float
    keep_at: tuple[int, ...] = ()
    early_stopping_patience: int = 0
    on_evaluation: Callable[[list[dict[str, Any]]], None] | None = None
    reconsider: Callable[[float], TrainingPlan | None] | None = None


@dataclass
class TrainerState:
    """How far a run is: what a checkpoint holds beside tensors.

    `best_step`, `best_value`: the evaluation with the best `metric_for_best_model`.
    `eval_examples`: how many an evaluation reads; `is_settled`: the plan is not changed any more.
    `progress`: the share of the run that is done. `losses`, `grad_norms` and `spans` of the
    steps since the last record; in a running training the first two are on the device.
    """

    step: int = 0
    train_seconds: float = 0.0
    resumed_from: list[int] = field(default_factory=list)
    best_step: int | None = None
    best_value: float | None = None
    evaluated_at: int = -1
    evaluations: int = 0
    evaluations_without_gain: int = 0
    eval_examples: int | None = None
    is_settled: bool = False
    progress: float = 0.0
    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    watch: LossWatch = field(default_factory=LossWatch)
    budget: dict[str, Any] = field(default_factory=dict)
    grad_scaler: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the state as plain values."""
        values = dataclasses.asdict(self)
        values["watch"] = self.watch.as_json()
        values["spans"] = [[span.start, span.end] for span in self.spans]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return what `as_json` was made of; fails where a key is missing, unknown or wrong."""
        missing = {item.name for item in dataclasses.fields(cls)} - values.keys()
        if missing:
            raise KeyError(*sorted(missing))
        spans = [Span(float(start), float(end)) for start, end in values["spans"]]
        watch = LossWatch.from_json(values["watch"])
        state = cls(**{**values, "spans": spans, "watch": watch})
        if not isinstance(state.step, int) or len(state.losses) != len(spans):
            raise ValueError("the window of losses is not that of its steps")
        return state


class Trainer:
    """One run: it starts or resumes, trains to the end of its budget and leaves the model there."""

    def __init__(
        self, objective: Objective, step: TrainingStep, routine: Routine,
        run: RunDirectory, world: World,
    ) -> None:  # fmt: skip
        self.objective, self.plan = objective, step.plan
        self._step, self._routine = step, routine
        self._run, self._world = run, world
        self._recipe, self._compute = step.plan.recipe, step.plan.compute
        self._budget = step.plan.budget()
        self._stop = StopSignal()
        self._window = LossWindow(LOG_STEPS, self._compute.torch_device)
        self.state = TrainerState()
        # Of this process's last evaluation.
        self._scores: dict[str, float] = {}

    def resume(self) -> bool:
        """Go on from the newest sound checkpoint, the same in every process; False for none."""
        found = None
        if self._world.is_main:
            found = self._run.load_checkpoint(TrainerState.from_json)
            # Even what was recorded before the first step is made again.
            self._rewind(found[1].step if found else -1)
        step = self._world.share(found[1].step if found else None)
        if step is None:
            return False
        if found is None:
            tensors, values = self._run.load_checkpoint_of(step)
            found = tensors, TrainerState.from_json(values)
        tensors, state = found
        self._restore(tensors)
        self._step.scaler.load_state_dict(state.grad_scaler)
        self._budget.load_state(state.budget)
        if (steps := self._budget.max_steps) is not None:
            # The checkpoint may be of a shorter run.
            numbers = range(state.step - len(state.spans), state.step)
            state.spans = [Span(number / steps, (number + 1) / steps) for number in numbers]
            state.eval_examples = self._routine.eval_examples
        self._window.fill(state.losses, state.grad_norms)
        state.resumed_from.append(step)
        if state.best_step is not None and not self._run.best_at(state.best_step).is_file():
            state.best_step = state.best_value = None
        self.state = state
        log.info("resuming after %s", self._budget.describe(step))
        return True

    def train(self) -> None:
        """Train to the end. Raises `TrainingStoppedError` when told to stop, after a checkpoint.

        Raises `ClozeError` naming step and batch if the loss is no number any more or
        rises and stays there, and `PlanChangedError` as `Routine` says.
        """
        self.objective.model.train()
        bar = progress(
            total=self._budget.max_steps, initial=self.state.step, unit="step", description="train"
        )
        with self._stop, bar:
            if self.state.step == 0:
                self._look_at_the_start()
            self._take_steps(bar)
            self._keep_weights(Span(1.0, 1.0))
            if self.state.spans:
                self._close_window(bar)
            if self._routine.eval_steps != 0 and self.state.evaluated_at < self.state.step:
                self._evaluate()

    def final_scores(self) -> dict[str, float]:
        """Return what the last weights are worth on all that `evaluate` reads."""
        whole = self.objective.num_eval_examples
        if self._scores and self._usual_eval_examples() == whole:
            return self._scores
        return self.objective.evaluate(self._compute, whole)

    def load_best(self) -> None:
        """Give the model the best weights of the run, or leave the last ones if there are none."""
        if self.state.best_step is None:
            return
        path = self._run.best_at(self.state.best_step)
        try:
            self.objective.model.load_state_dict(load_file(path))
        except (SafetensorError, OSError, RuntimeError) as error:
            log.warning("warning: %s cannot be read (%s); taking the last weights", path, error)

    def _take_steps(self, bar: Any) -> None:
        began: float | None = None
        saved = 0.0
        while True:
            stop, readings = self._world.agree(self._stop.received, self._budget.readings())
            if began is None:
                began = saved = readings[0]
            interval = max(_FIRST_CHECKPOINT_SECONDS, saved - began)
            if stop or readings[0] - saved >= min(self._routine.checkpoint_seconds, interval):
                self._save_checkpoint()
                saved = readings[0]
            if stop:
                raise TrainingStoppedError(
                    f"stopped by a signal after {self._budget.describe(self.state.step)}, saved in "
                    f"{self._run.path}; run the same command again to go on"
                )
            if self.state.step == self.plan.stable_steps > 0:
                self._save_stable()
            span = self._budget.next_span(self.state.step, readings)
            if span is None:
                return
            self._take_step(span)
            self._keep_weights(span)
            bar.update()
            if len(self.state.spans) == LOG_STEPS:
                self._close_window(bar)
            if self._evaluation_is_due(span) and self._evaluate():
                return
            self._settle(span)

    def _settle(self, span: Span) -> None:
        """Look at the plan again once the machine has shown its speed for a while."""
        state, reconsider = self.state, self._routine.reconsider
        if state.is_settled or reconsider is None or span.start < SETTLED_AFTER:
            return
        state.is_settled = True
        rate = self._recipe.train_batch_size / self._budget.step_seconds
        plan = reconsider(rate) if self._world.is_main else None
        if changed := self._world.share(plan.as_json() if plan else None):
            raise PlanChangedError(TrainingPlan.from_json(changed))

    def _take_step(self, span: Span) -> None:
        started = time.perf_counter()
        loss, norm = self._step(self.state.step, span)
        self._window.put(len(self.state.spans), loss, norm)
        self.state.spans.append(span)
        self.state.step += 1
        self.state.train_seconds += time.perf_counter() - started

    def _keep_weights(self, span: Span) -> None:
        """Keep the weights for good if the step passed a percentage at which that is wanted."""
        for percent in self._routine.keep_at:
            # A share that a run had passed before it was asked for is not kept any more.
            if 100 * self.state.progress < percent <= 100 * span.end and self._world.is_main:
                self._run.keep(percent, self._weights())
        self.state.progress = max(self.state.progress, span.end)

    def _look_at_the_start(self) -> None:
        self.state.eval_examples = self._routine.eval_examples
        if not self._world.is_main:
            return
        if record := self.objective.record(0, self._compute):
            self._run.metrics.append({"step": 0, **record})
        if self._budget.max_steps is None and self._routine.eval_steps != 0:
            self._measure_pauses(self._budget.seconds)

    def _measure_pauses(self, budget_seconds: float) -> None:
        """Find out what an evaluation and the writing of weights take of a budget in time."""
        few = min(FEWEST_EVAL_EXAMPLES, self.objective.num_eval_examples)
        started = time.perf_counter()
        self.objective.evaluate(self._compute, few)
        example_seconds = (time.perf_counter() - started) / few
        if self.state.eval_examples is None:
            affordable = EVALUATION_SHARE * budget_seconds / EVALUATIONS / example_seconds
            self.state.eval_examples = max(few, int(affordable))
        self._note_evaluation(example_seconds)
        started = time.perf_counter()
        self._run.save_best(0, self._weights())
        self._budget.note_pauses(save_seconds=time.perf_counter() - started)

    def _note_evaluation(self, example_seconds: float) -> None:
        """Let the budget keep time for the last evaluation and for one of the whole."""
        usual, whole = self._usual_eval_examples(), self.objective.num_eval_examples
        examples = whole if usual == whole else usual + whole
        self._budget.note_pauses(evaluation_seconds=example_seconds * examples)

    def _usual_eval_examples(self) -> int:
        """Return how many examples an evaluation reads that is not of the whole."""
        whole = self.objective.num_eval_examples
        return min(whole, self.state.eval_examples or whole)

    def _evaluation_is_due(self, span: Span) -> bool:
        if self._routine.eval_steps is not None:
            return self._routine.eval_steps > 0 and self.state.step % self._routine.eval_steps == 0
        return span.start >= (self.state.evaluations + 1) / EVALUATIONS

    def _evaluate(self) -> bool:
        """Evaluate in the main process and keep the best weights; True if training is to end."""
        state, name = self.state, self.objective.metric_for_best_model
        state.evaluated_at = state.step
        state.evaluations += 1
        if self._world.is_main:
            started = time.perf_counter()
            scores = self.objective.evaluate(self._compute, self._usual_eval_examples())
            self._note_evaluation((time.perf_counter() - started) / self._usual_eval_examples())
            self._scores = scores
            if not math.isfinite(scores[name]):
                raise self._divergence(state.step - 1, f"{name} is {scores[name]}")
            more = self.objective.record(state.step, self._compute)
            self._run.metrics.append({"step": state.step, **scores, **more})
            log.info(
                "%s, %.0f s of training: %s", self._budget.describe(state.step),
                state.train_seconds, ", ".join(f"{k} {v:.4f}" for k, v in scores.items()),
            )  # fmt: skip
            self._keep_if_best(scores[name])
            if self._routine.on_evaluation is not None:
                self._routine.on_evaluation(self._run.metrics.read())
        patience = self._routine.early_stopping_patience
        return bool(patience) and self._world.share(state.evaluations_without_gain >= patience)

    def _keep_if_best(self, value: float) -> None:
        state, sign = self.state, 1 if self.objective.greater_is_better else -1
        if state.best_value is not None and sign * value <= sign * state.best_value:
            state.evaluations_without_gain += 1
            return
        state.best_value, state.best_step = value, state.step
        state.evaluations_without_gain = 0
        started = time.perf_counter()
        self._run.save_best(state.step, self._weights())
        self._budget.note_pauses(save_seconds=time.perf_counter() - started)

    def _window_values(self) -> tuple[list[float], list[float]]:
        """Return the losses and gradient norms since the last record, over all processes.

        Raises `ClozeError` if one is no number. Waits for the device.
        """
        started = time.perf_counter()
        values = self._world.mean(self._window.values)[:, : len(self.state.spans)]
        losses, norms = values.tolist()
        # A GPU has until here for the steps that were only queued.
        self.state.train_seconds += time.perf_counter() - started
        first_step = self.state.step - len(self.state.spans)
        for step, (loss, norm) in enumerate(zip(losses, norms, strict=True), first_step):
            # Loss scaling meets infinite gradients on purpose and leaves such a step out.
            checked = (loss,) if self._step.scaler.is_enabled() else (loss, norm)
            if not all(map(math.isfinite, checked)):
                raise self._divergence(step, f"the loss is {loss}, its gradient's norm {norm}")
        return losses, norms

    def _close_window(self, bar: Any) -> None:
        losses, norms = self._window_values()
        state, span = self.state, self.state.spans[-1]
        if (spike := state.watch.spike(state.step - len(losses), losses)) is not None:
            raise self._divergence(*spike)
        places = state.step * self._recipe.train_batch_size * self.objective.places_per_example
        record: dict[str, Any] = {
            "step": state.step,
            "loss": sum(losses) / len(losses),
            "grad_norm": max(norms),
            "learning_rate": self._recipe.learning_rate * self._recipe.learning_rate_factor(span),
            **self.objective.describe_progress(span.start),
            "progress": span.start,
            "tokens_per_second": round(places / state.train_seconds, 1),
            "train_seconds": round(state.train_seconds, 3),
        }
        if self._budget.max_steps is None:
            # By the clock, no two runs have the same schedule: keep what this one had.
            record["step_progress"] = [round(span.start, 7) for span in state.spans]
        state.spans.clear()
        bar.set_postfix_str(
            f"loss {record['loss']:.3f}, {record['tokens_per_second']:,.0f} tokens/s"
        )
        if self._world.is_main:
            self._run.metrics.append(record)

    def _divergence(self, step: int, what: str) -> ClozeError:
        """Return what to say when step `step` (from 0) went wrong."""
        recipe = self._recipe
        good = [str(path) for path in self._run.checkpoints(until=step)]
        return ClozeError(
            f"training diverged at step {step + 1}: {what}; lower learning_rate "
            f"({recipe.learning_rate:g}) or raise the warm-up. Last good checkpoint: "
            f"{good[-1] if good else 'none'}. "
            f"Batch: {self.objective.describe_batch(step, recipe.train_batch_size)}"
        )

    def _save_checkpoint(self) -> None:
        # Before anything is written, so that no checkpoint has weights that are no numbers.
        values = self._state_values()
        if self._world.is_main and self.state.step > 0:
            self._run.save_checkpoint(self.state.step, self._tensors(), values)

    def _save_stable(self) -> None:
        values = self._state_values()
        if self._world.is_main:
            self._run.save_stable(self.state.step, self._tensors(), values)

    def _state_values(self) -> dict[str, Any]:
        self.state.losses, self.state.grad_norms = self._window_values()
        self.state.budget = self._budget.state()
        self.state.grad_scaler = self._step.scaler.state_dict()
        return self.state.as_json()

    def _rewind(self, step: int) -> None:
        self._run.metrics.rewind(step)
        self.objective.rewind(step)

    def _weights(self) -> dict[str, Tensor]:
        state = self.objective.model.state_dict()
        return {name: value.detach().cpu() for name, value in state.items()}

    def _tensors(self) -> dict[str, Tensor]:
        """Return weights and optimizer state by name."""
        weights = {_MODEL + name: value for name, value in self._weights().items()}
        state = self._step.optimizers.state_tensors()
        return {**weights, **{_OPTIMIZER + key: value for key, value in state.items()}}

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        """Give back what `_tensors` returned; raises `ClozeError` if it is of another model."""
        weights = _below(_MODEL, tensors)
        own = self.objective.model.state_dict()
        differing = [
            f"{name} is {_shape(weights, name)} there and {_shape(own, name)} here"
            for name in sorted(own.keys() | weights.keys())
            if _shape(own, name) != _shape(weights, name)
        ]
        if differing:
            raise ClozeError(
                f"{self._run.path}: is a checkpoint of another model ({differing[0]}); remove it "
                "if it was copied here by mistake, or start that run with its own command"
            )
        self.objective.model.load_state_dict(weights)
        self._step.optimizers.load_state_tensors(_below(_OPTIMIZER, tensors))


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }


def _shape(tensors: dict[str, Tensor], name: str) -> str:
    return "x".join(map(str, tensors[name].shape)) or "a number" if name in tensors else "absent"
