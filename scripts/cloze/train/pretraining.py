"""One pretraining job: from its arguments to its published model folder."""

import argparse
import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.files import require_file, sha256_file
from cloze.metrics import write_metrics
from cloze.model.device import keep_freed_memory
from cloze.model.hf import save_model
from cloze.model.hf_config import require_folder
from cloze.model.weights import weights_sha256
from cloze.objectives.mlm import MaskedLanguageModeling, PretrainingData
from cloze.objectives.next_sentence import NextSentencePrediction
from cloze.objectives.prediction_history import MASKED_EXAMPLES, PredictionHistory
from cloze.settings.code_key import code_key
from cloze.settings.machine import MachineSettings
from cloze.settings.pretraining import MonitoringSettings
from cloze.tokens.manifest import MANIFEST
from cloze.train.fitting import fit_plan
from cloze.train.longer import go_on_from_shorter
from cloze.train.memory import decide_micro_batch_size
from cloze.train.metrics_stream import open_dashboards
from cloze.train.plan import TrainingPlan, decide
from cloze.train.processes import World, open_world
from cloze.train.run_directory import RunDirectory, open_run
from cloze.train.step import TrainingStep
from cloze.train.trainer import PlanChangedError, Routine, Trainer
from cloze.train.utilisation import Utilisation, matmul_peak, peak_memory_bytes, training_flop

# About ten seconds of a small CPU.
_LEAST_MEASURED_FLOP = 1e12
_NOT_IN_RECIPE = {"dataset", "tokenizer", "output", "run_dir", "init_from", "adapt", "log"} | {
    *("wandb", "publish_at"),
    *(item.name for cls in (MonitoringSettings, MachineSettings) for item in fields(cls)),
}
# Twenty evaluations a run, more of a long one. One before the last reads at most this share of
# the tokens that are trained between two, which is a twelfth of the time.
_EVALUATIONS, _MOST_EVAL_STEPS = 20, 1_000
_EVAL_SHARE, _FEWEST_EVAL_TOKENS = 0.25, 1 << 14
# The plan is made again where the machine is so much faster or slower than at the start.
_OTHER_SPEED = 1.5

Watch = Callable[[MaskedLanguageModeling, TrainingPlan], Callable[[list[dict[str, Any]]], None]]


def pretrain(args: argparse.Namespace, script: Path, watch: Watch) -> None:
    """Train to the end unless that is done already, then write the model folder.

    `watch(objective, plan)` returns what is called with all records at each evaluation. Raises
    `ClozeError` for inputs that do not belong together and for a run that another process is
    training.
    """
    if args.publish_at is not None and args.publish_at not in args.keep_at:
        raise ClozeError(f"--publish-at {args.publish_at}: is none of --keep-at; add it there")
    if args.trained_length is not None and args.init_from is None:
        raise ClozeError(
            f"--trained-length {args.trained_length}: is about an encoder to start from; name its "
            "folder with --init-from"
        )
    keep_freed_memory()
    recipe = _recipe(args, script)
    with open_world(args.device) as world, open_run(args.run_dir, recipe, world.is_main) as run:
        if world.share(world.is_main and run.is_finished()):
            log.info("this very run is finished; publishing it again without a step")
        elif args.publish_at is not None:
            raise ClozeError(
                f"{args.run_dir}: no finished run there has this recipe, so there are no weights "
                f"of {args.publish_at} % of it; run the same command without --publish-at first"
            )
        else:
            _Pretraining(args, run, world, watch).train(script)
        if world.is_main:
            run.publish(args.output, args.publish_at)


def _recipe(args: argparse.Namespace, script: Path) -> dict[str, Any]:
    """Everything that decides the weights: flags, the bytes read, the code."""
    recipe: dict[str, Any] = {k: v for k, v in vars(args).items() if k not in _NOT_IN_RECIPE}
    recipe["tokenizer_sha256"] = sha256_file(require_file(args.tokenizer))
    recipe["manifest_sha256"] = sha256_file(require_file(args.dataset / MANIFEST))
    if args.init_from is not None:
        require_folder(args.init_from)
        recipe["init_from_sha256"] = weights_sha256(args.init_from)
    if args.adapt is not None:
        require_folder(args.adapt)
        recipe["adapt_sha256"] = weights_sha256(args.adapt)
        recipe["adapt_config_sha256"] = sha256_file(require_file(args.adapt / "config.json"))
    recipe["code"] = code_key(script)
    return recipe


class _Pretraining:
    """A run that is not finished yet."""

    def __init__(
        self, args: argparse.Namespace, run: RunDirectory, world: World, watch: Watch
    ) -> None:
        self._args, self._run, self._world, self._watch = args, run, world, watch
        self._data = PretrainingData.load(args)

    def train(self, script: Path) -> None:
        """Train to the end and write the finished run's folder."""
        objective = self._objective()
        plan = decide(
            self._args,
            lambda threads: fit_plan(self._args, objective, threads, self._world),
            self._run,
            self._world,
        )
        if self._world.is_main:
            go_on_from_shorter(self._run, plan)
            open_dashboards(
                self._run.metrics, self._run.path.name, self._args.wandb, plan.as_json()
            )
        try:
            trainer = self._trainer(objective, plan)
            try:
                trainer.train()
            except PlanChangedError as change:
                log.info("the machine is not as fast as at the start; beginning again")
                if self._world.is_main:
                    self._run.discard_checkpoints()
                trainer = self._trainer(self._objective(), change.plan)
                trainer.state.is_settled = True
                trainer.train()
            if self._world.is_main:
                self._write_results(trainer, objective, script)
        finally:
            self._run.metrics.close()

    def _objective(self) -> MaskedLanguageModeling:
        kind = NextSentencePrediction if self._args.next_sentence else MaskedLanguageModeling
        return kind(self._data, self._args)

    def _trainer(self, objective: MaskedLanguageModeling, plan: TrainingPlan) -> Trainer:
        """Return the trainer of a run, resumed where it has a checkpoint."""
        args, run, world = self._args, self._run, self._world
        objective.mask_at(plan.objective["mlm_probability"])
        history = run.path / MASKED_EXAMPLES
        objective.history = PredictionHistory(history, objective.validation, plan.compute)
        objective.model.to(plan.compute.torch_device)
        objective.model.encoder.gradient_checkpointing = args.gradient_checkpointing
        step = TrainingStep(objective, plan, world)
        # A CPU's memory holds any batch worth training with.
        is_probed = plan.compute.device == "cuda"
        size = decide_micro_batch_size(
            plan.recipe.train_batch_size // world.size,
            args.gradient_accumulation_steps,
            plan.micro_batch_size,
            (lambda rows: step.attempt(objective.fullest_batch(rows))) if is_probed else None,
        )
        plan = step.plan = dataclasses.replace(plan, micro_batch_size=world.least(size))
        if world.is_main:
            run.write_run(plan.as_json())
            # Now, not at the end: a budget in time knows only how long the last evaluation takes.
            self._matmul_peak = _matmul_peak(objective, plan)
        trainer = Trainer(objective, step, self._routine(objective, plan), run, world)
        if not trainer.resume():
            if world.is_main:
                objective.initialize_embeddings()
            world.broadcast(objective.model)
        return trainer

    def _routine(self, objective: MaskedLanguageModeling, plan: TrainingPlan) -> Routine:
        args, steps, rows = self._args, self._args.eval_steps, None
        if steps is None and plan.max_steps is not None:
            steps = min(_MOST_EVAL_STEPS, max(1, plan.max_steps // _EVALUATIONS))
        if args.eval_tokens is not None:
            rows = round(args.eval_tokens / objective.tokens_per_example)
        elif steps is not None:
            fewest = round(_FEWEST_EVAL_TOKENS / objective.tokens_per_example)
            rows = max(fewest, round(_EVAL_SHARE * steps * plan.recipe.train_batch_size))

        def reconsider(rows_per_second: float) -> TrainingPlan | None:
            rate = rows_per_second * objective.tokens_per_example
            assert plan.tokens_per_second is not None
            if 1 / _OTHER_SPEED < rate / plan.tokens_per_second < _OTHER_SPEED:
                return None
            other = fit_plan(args, objective, plan.compute.threads, self._world, rate)
            same = (other.recipe, other.compute) == (plan.recipe, plan.compute)
            return None if same else other

        return Routine(
            eval_steps=steps,
            eval_examples=rows,
            checkpoint_seconds=args.checkpoint_seconds,
            keep_at=tuple(args.keep_at),
            on_evaluation=self._watch(objective, plan) if self._world.is_main else None,
            reconsider=reconsider if plan.max_steps is None else None,
        )

    def _write_results(
        self, trainer: Trainer, objective: MaskedLanguageModeling, script: Path
    ) -> None:
        args, run, plan = self._args, self._run, trainer.plan
        scores = dict(trainer.final_scores())
        bits = scores.pop("validation_masked_bits_per_byte")
        records = run.metrics.read()
        kept = {percent: run.kept_at(percent) for percent in args.keep_at}
        for percent in [percent for percent, path in kept.items() if not path.is_file()]:
            log.warning(
                "warning: the run was past %d %% when --keep-at %d was asked for; remove %s to "
                "train it again",
                percent, percent, run.path,
            )  # fmt: skip
            del kept[percent]
        with run.finish() as folder:
            save_model(folder, objective.model, args.tokenizer.parent)
            for name in ("metrics.jsonl", MASKED_EXAMPLES):
                shutil.copyfile(run.path / name, folder / name)
            write_metrics(
                folder / "metrics.json",
                metrics={
                    **scores,
                    "masked_bits_per_byte": bits,
                    "best_validation_loss": trainer.state.best_value,
                    "best_step": trainer.state.best_step,
                    "unigram_entropy": objective.unigram_entropy,
                    **_effort(trainer, objective, records),
                    **self._machine(trainer, objective),
                    "recipe": plan.settings,
                    "compute": dataclasses.asdict(plan.compute),
                    "processes": self._world.size,
                    "warnings": plan.warnings,
                },
                args=args,
                inputs=[args.tokenizer, args.dataset / MANIFEST],
                script=script,
                seconds={"wall": round(trainer.state.train_seconds, 3)},
            )
            trainer.load_best()
            save_model(folder / "best", objective.model, args.tokenizer.parent)
            for percent, weights in kept.items():
                objective.model.load_state_dict(load_file(weights))
                save_model(folder / f"at-{percent}", objective.model, args.tokenizer.parent)

    def _machine(self, trainer: Trainer, objective: MaskedLanguageModeling) -> dict[str, Any]:
        """Return the memory of the main process and, where the peak was measured, utilisation."""
        memory = {"peak_memory_bytes": peak_memory_bytes(trainer.plan.compute.device)}
        if self._matmul_peak is None:
            return memory
        flop = _flop(objective, trainer.plan, _row_visits(trainer))
        each = flop / trainer.state.train_seconds / self._world.size
        return {**memory, **Utilisation(each, self._matmul_peak).as_dict()}


def _effort(
    trainer: Trainer, objective: MaskedLanguageModeling, records: list[dict[str, Any]]
) -> dict[str, Any]:
    state, rows = trainer.state, objective.data.train_rows
    row_visits = _row_visits(trainer)
    losses = [record["loss"] for record in records if "loss" in record]
    return {
        "train_loss": losses[-1] if losses else None,
        "steps": state.step,
        "tokens": round(row_visits * rows.num_tokens / rows.num_rows),
        "epochs": round(row_visits / rows.num_rows, 3),
        "train_seconds": round(state.train_seconds, 3),
        "tokens_per_second": round(row_visits * rows.row_length / state.train_seconds, 1),
        "num_parameters": sum(p.numel() for p in objective.model.parameters()),
        "resumed_from": state.resumed_from,
    }


def _matmul_peak(objective: MaskedLanguageModeling, plan: TrainingPlan) -> float | None:
    """Measure the machine, which takes seconds, unless the run itself takes no longer."""
    if plan.max_steps is not None:
        rows = plan.max_steps * plan.recipe.train_batch_size
        if _flop(objective, plan, rows) < _LEAST_MEASURED_FLOP:
            return None
    return matmul_peak(plan.compute.device, plan.compute.precision)


def _flop(objective: MaskedLanguageModeling, plan: TrainingPlan, rows: int) -> float:
    length, rates = objective.data.train_rows.row_length, plan.objective["mlm_probability"]
    mean_rate = sum(rates) / len(rates)
    return training_flop(objective.model.config, rows * length, length, mean_rate)


def _row_visits(trainer: Trainer) -> int:
    return trainer.state.step * trainer.plan.recipe.train_batch_size
