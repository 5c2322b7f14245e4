"""One optimizer step: its rows, their gradients, the update."""

import contextlib
import hashlib
import struct
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cloze.model.device import Compute
from cloze.model.kernels import assume_constant_capability
from cloze.objectives.mlm import PretrainingLoss, PretrainingModel, pretraining_loss
from cloze.objectives.rows import MaskedBatch, RowBatches
from cloze.train.distributed import World
from cloze.train.micro_batches import out_of_memory
from cloze.train.optimization import Optimizers, adamw, muon
from cloze.train.recipe import PretrainingRecipe

_TRIAL_TOKENS = {"cpu": 2_048, "mps": 4_096, "cuda": 32_768}


def make_optimizers(
    model: PretrainingModel, recipe: PretrainingRecipe, compute: Compute
) -> Optimizers:
    """Return the optimizers of a recipe."""
    hidden: Sequence[torch.optim.Optimizer] = ()
    if recipe.optimizer == "muon":
        hidden = (
            muon(
                model.encoder.layers,
                learning_rate=recipe.muon_learning_rate,
                weight_decay=recipe.weight_decay,
                dtype=torch.float32 if compute.precision == "fp32" else torch.bfloat16,
            ),
        )
    rest = adamw(
        model,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        adam_beta1=recipe.adam_beta1,
        adam_beta2=recipe.adam_beta2,
        adam_epsilon=recipe.adam_epsilon,
        besides=[p for optimizer in hidden for g in optimizer.param_groups for p in g["params"]],
    )
    return Optimizers(model, *hidden, rest)


class TrainingStep:
    """Computes the rows of this process in micro-batches and updates the weights.

    The update is that of the whole global batch, whatever the number of processes and
    whatever `micro_batch_size`, which divides `num_rows`, the rows of this process.
    """

    def __init__(
        self,
        model: PretrainingModel,
        train: RowBatches,
        recipe: PretrainingRecipe,
        compute: Compute,
        world: World,
    ) -> None:
        self._recipe, self._compute, self._world = recipe, compute, world
        self._rows = world.rows(recipe.train_batch_size)
        self.num_rows = recipe.train_batch_size // world.size
        self.micro_batch_size = self.num_rows
        self._stages = [train.with_mlm_probability(rate) for rate in recipe.mlm_probability]
        self._parameters = list(model.parameters())
        self.optimizers = make_optimizers(model, recipe, compute)
        self.scaler = compute.grad_scaler()
        loss: nn.Module = PretrainingLoss(model)
        self._parallel: DistributedDataParallel | None = None
        if world.size > 1:
            loss = self._parallel = DistributedDataParallel(loss)
        self._loss: Callable[[MaskedBatch], Tensor] = loss
        if compute.compile:
            assume_constant_capability()
            self._loss = torch.compile(loss, dynamic=False)

    def __call__(self, step: int, stage: int, factor: float) -> tuple[Tensor, Tensor]:
        """Do optimizer step `step` (from 0) with the given masking stage and rate factor.

        Returns the loss of this process's rows, whose mean over the processes is that of
        the batch, and the norm of the gradient before clipping; both stay on the device.
        Raises `ClozeError` if the device runs out of memory.
        """
        recipe = self._recipe
        batch = self._stages[stage].training_batch(
            recipe.seed, step, recipe.train_batch_size, self._rows
        )
        batch = batch.to(self._compute.torch_device)
        try:
            loss = self._backward(batch, step)
        except torch.OutOfMemoryError as error:
            raise out_of_memory(step + 1, batch.num_rows, self.micro_batch_size) from error
        self.optimizers.unscale(self.scaler)
        norm = nn.utils.clip_grad_norm_(self._parameters, recipe.max_grad_norm)
        self.optimizers.step(factor, self.scaler)
        self._forget_gradients()
        return loss, norm

    def _backward(self, batch: MaskedBatch, step: int) -> Tensor:
        if self._world.size > 1:
            # Processes average their gradients, and the batch's is a sum.
            batch = batch.weighted(self._world.size, self._world.size)
        parts = batch.num_rows // self.micro_batch_size
        total: Tensor | None = None
        for part in range(parts):
            start = part * self.micro_batch_size
            rows = batch.rows(start, start + self.micro_batch_size) if parts > 1 else batch
            # Dropout, where a recipe has it, must not depend on how often the run was resumed.
            torch.manual_seed(_dropout_seed(self._recipe.seed, step, self._world.rank, part))
            with self._only_after_the_last(part, parts):
                with self._compute.autocast():
                    loss = self._loss(rows)
                self.scaler.scale(loss).backward()
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total

    def _only_after_the_last(
        self, part: int, parts: int
    ) -> contextlib.AbstractContextManager[object]:
        """Let the processes exchange gradients once a step."""
        if self._parallel is None or part == parts - 1:
            return contextlib.nullcontext()
        return self._parallel.no_sync()

    def _forget_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def attempt(self, num_rows: int) -> None:
        """Use as much memory as a step with `num_rows` rows at once; changes no weight."""
        rates = self._recipe.mlm_probability
        fullest = self._stages[rates.index(max(rates))]
        try:
            moments = [torch.empty_like(p) for p in self._parameters for _ in range(2)]
            batch = fullest.training_batch(self._recipe.seed, 0, num_rows)
            batch = batch.to(self._compute.torch_device)
            # The second pass finds the gradients of the first, as in an accumulated step.
            for _ in range(2):
                with self._only_after_the_last(0, 2):
                    with self._compute.autocast():
                        loss = self._loss(batch)
                    self.scaler.scale(loss).backward()
            del moments
        finally:
            self._forget_gradients()
            if self._compute.device == "cuda":
                torch.cuda.empty_cache()


def measure_tokens_per_second(
    model: PretrainingModel, train: RowBatches, compute: Compute
) -> float:
    """Return how many tokens, padding apart, a forward and backward pass handle a second.

    Takes three passes, uncompiled, and changes no weight.
    """
    rows = max(1, round(_TRIAL_TOKENS[compute.device] / train.tokens_per_row))
    batch = train.training_batch(0, 0, rows).to(compute.torch_device)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        with compute.autocast():
            loss = pretraining_loss(model, batch)
        loss.backward()
        loss.item()
        if compute.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    model.zero_grad(set_to_none=True)
    return rows * train.tokens_per_row / min(seconds)


def _dropout_seed(seed: int, step: int, rank: int, part: int) -> int:
    packed = struct.pack("<4Q", seed, step, rank, part)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little")
