"""One optimizer step: gradients of a batch in parts, then AdamW, with Muon beside it."""

import contextlib
import hashlib
import math
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cloze.model.encoder import Encoder
from cloze.model.kernels import assume_constant_capability
from cloze.objectives.objective import Batch, CoupledObjective, LossModule, Objective
from cloze.train.budget import Span
from cloze.train.memory import out_of_memory
from cloze.train.plan import TrainingPlan, TrainingRecipe
from cloze.train.processes import World

# What one weight of a layer holds, one matrix on the other.
_FUSED_MATRICES = {"qkv": 3}
# Chosen so that five iterations bring every singular value into about [0.7, 1.2].
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5
_EPSILON = 1e-7
# The root mean square of an AdamW update (Liu et al. 2025, §2.2).
_ADAMW_RMS = 0.2


class TrainingStep:
    """Computes the examples of this process in micro-batches and updates the weights.

    The update is that of the whole global batch, whatever the number of processes and
    whatever the plan's `micro_batch_size`.
    """

    def __init__(self, objective: Objective, plan: TrainingPlan, world: World) -> None:
        self.plan, self._objective, self._world = plan, objective, world
        self._recipe, self._compute = plan.recipe, plan.compute
        self._part = world.part(plan.recipe.train_batch_size)
        self._parameters = list(objective.model.parameters())
        self.optimizers = make_optimizers(objective.model, plan.recipe, plan.compute.precision)
        self.scaler = plan.compute.grad_scaler()
        loss: nn.Module = LossModule(objective)
        self._parallel: DistributedDataParallel | None = None
        if world.size > 1:
            loss = self._parallel = DistributedDataParallel(loss)
        self._loss: Callable[[Batch], Tensor] = loss
        # Compiled code draws other dropout than the pass that caches outputs.
        if plan.compute.compile and not isinstance(objective, CoupledObjective):
            assume_constant_capability()
            self._loss = torch.compile(loss, dynamic=False)

    def __call__(self, step: int, span: Span) -> tuple[Tensor, Tensor]:
        """Do optimizer step `step` (from 0), which takes the run from one progress to the next.

        Returns the loss of this process's examples, whose mean over the processes is that of
        the batch, and the norm of the gradient before clipping; both stay on the device.
        Raises `ClozeError` if the device runs out of memory.
        """
        batch = self._objective.batch(step, self._recipe.train_batch_size, span.start, self._part)
        batch = batch.to(self._compute.torch_device)
        parts = self.plan.gradient_accumulation_steps
        micro_batch_size = self.plan.micro_batch_size or math.ceil(batch.num_rows / parts)
        try:
            loss = self._backward(batch, step, micro_batch_size)
        except torch.OutOfMemoryError as error:
            raise out_of_memory(step + 1, batch.num_rows, micro_batch_size) from error
        self.optimizers.unscale(self.scaler)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._recipe.max_grad_norm)
        self.optimizers.step(self._recipe.learning_rate_factor(span), self.scaler)
        self._forget_gradients()
        return loss, norm

    def _backward(self, batch: Any, step: int, micro_batch_size: int) -> Tensor:
        num_parts = math.ceil(batch.num_rows / micro_batch_size)
        if isinstance(self._objective, CoupledObjective) and max(num_parts, self._world.size) > 1:
            batch = self._decoupled(self._objective, batch, step, micro_batch_size)
        if self._world.size > 1:
            # Processes average their gradients, and the batch's is a sum.
            batch = batch.weighted(self._world.size)
        total: Tensor | None = None
        for part, rows in enumerate(self._parts(batch, step, micro_batch_size)):
            with self._only_after_the_last(part, num_parts):
                with self._compute.autocast():
                    loss = self._loss(rows)
                self.scaler.scale(loss).backward()
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total

    def _parts(self, batch: Any, step: int, micro_batch_size: int) -> Iterator[Any]:
        """Yield the micro-batches of a batch, each with PyTorch's generator as it is to be."""
        starts = range(0, batch.num_rows, micro_batch_size)
        for part, start in enumerate(starts):
            rows = batch.rows(start, start + micro_batch_size) if len(starts) > 1 else batch
            # Dropout must not depend on how often the run was resumed.
            torch.manual_seed(_dropout_seed(self._recipe.seed, step, self._world.rank, part))
            yield rows

    def _decoupled(
        self, objective: CoupledObjective, batch: Any, step: int, micro_batch_size: int
    ) -> Any:
        """Return the batch with the gradient of its loss in its outputs, of the same dropout."""
        outputs = []
        with torch.no_grad(), self._compute.autocast():
            for rows in self._parts(batch, step, micro_batch_size):
                outputs.append(objective.outputs(objective.model, rows))
        return objective.decoupled(batch, torch.cat(outputs), self._world.total)

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

    def attempt(self, batch: Batch) -> None:
        """Use as much memory as a step with this batch computed at once; changes no weight."""
        try:
            moments = [torch.empty_like(p) for p in self._parameters for _ in range(2)]
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


def make_optimizers(model: nn.Module, recipe: TrainingRecipe, precision: str) -> "Optimizers":
    """Return the optimizers of a recipe for an encoder with its head (`model.encoder`)."""
    hidden: Sequence[torch.optim.Optimizer] = ()
    if recipe.optimizer == "muon":
        dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        hidden = (muon(_encoder(model).layers, recipe, dtype),)
    apart = [p for optimizer in hidden for g in optimizer.param_groups for p in g["params"]]
    return Optimizers(model, *hidden, adamw(model, recipe, besides=apart))


def adamw(
    model: nn.Module, recipe: TrainingRecipe, besides: Iterable[Tensor] = ()
) -> torch.optim.AdamW:
    """Return fused AdamW (Loshchilov and Hutter 2019); biases and norms are not decayed.

    The head's peak rate is `learning_rate`, that of the layer n below it
    `learning_rate · layerwise_lr_decay^n` (Clark et al. 2020, app. B), the embeddings' lowest.
    Leaves out the parameters `besides`, which are another optimizer's.
    """
    apart = {id(parameter) for parameter in besides}
    num_layers = len(_encoder(model).layers)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in apart:
            depth = _depth(name, num_layers) if recipe.layerwise_lr_decay < 1 else 0
            groups.setdefault((depth, parameter.dim() > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": recipe.learning_rate * recipe.layerwise_lr_decay**depth,
                "weight_decay": recipe.weight_decay if is_decayed else 0.0,
            }
            for (depth, is_decayed), parameters in groups.items()
        ],
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
        fused=True,
    )


def _encoder(model: nn.Module) -> Encoder:
    assert isinstance(model.encoder, Encoder)
    return model.encoder


def _depth(name: str, num_layers: int) -> int:
    """Layers between a parameter and the head: 0 for the head, most for the embeddings."""
    if name.startswith("encoder.layers."):
        return num_layers - int(name.split(".")[2])
    if name.startswith("encoder.") and not name.startswith("encoder.final_norm"):
        return num_layers + 1
    return 0


def muon(layers: nn.Module, recipe: TrainingRecipe, dtype: torch.dtype) -> "Muon":
    """Return Muon for the weights of every linear map in the layers of an encoder."""
    groups: dict[int, list[Tensor]] = {}
    for name, module in layers.named_modules():
        if isinstance(module, nn.Linear):
            matrices = _FUSED_MATRICES.get(name.rpartition(".")[2], 1)
            groups.setdefault(matrices, []).append(module.weight)
    return Muon(
        [{"params": weights, "matrices": matrices} for matrices, weights in groups.items()],
        lr=recipe.muon_learning_rate,
        weight_decay=recipe.weight_decay,
        dtype=dtype,
    )


class Optimizers:
    """The optimizers of one model, stepped together; each group has its own peak rate."""

    def __init__(self, model: nn.Module, *optimizers: torch.optim.Optimizer) -> None:
        self._optimizers = optimizers
        self._names: dict[Tensor, str] = {
            parameter: name for name, parameter in model.named_parameters()
        }
        for group in self._groups():
            group["initial_lr"] = group["lr"]

    def _groups(self) -> list[dict]:
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def step(self, factor: float, scaler: torch.amp.GradScaler) -> None:
        """Update every parameter at `factor` times its peak learning rate.

        The gradients must be unscaled already; see `unscale`.
        """
        for group in self._groups():
            group["lr"] = factor * group["initial_lr"]
        for optimizer in self._optimizers:
            scaler.step(optimizer)
        scaler.update()

    def unscale(self, scaler: torch.amp.GradScaler) -> None:
        """Divide the gradients by the scale of the loss."""
        for optimizer in self._optimizers:
            scaler.unscale_(optimizer)

    def state_tensors(self) -> dict[str, Tensor]:
        """Return the whole state on the CPU, keys `{parameter}/{kind}`."""
        return {
            f"{self._names[parameter]}/{kind}": value.detach().cpu()
            for optimizer in self._optimizers
            for parameter, values in optimizer.state.items()
            for kind, value in values.items()
        }

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `state_tensors` returned."""
        of_parameter: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            name, _, kind = key.rpartition("/")
            of_parameter.setdefault(name, {})[kind] = tensor
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    optimizer.state[parameter] = {
                        kind: tensor.to(parameter.device, copy=True)
                        for kind, tensor in of_parameter.get(self._names[parameter], {}).items()
                    }


def orthogonalize(matrices: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Return matrices [N, A, B] with the same singular vectors and singular values near 1.

    Five Newton-Schulz iterations of a quintic in `dtype`; A must not exceed B.
    """
    states = matrices.to(dtype)
    states = states / states.norm(dim=(-2, -1), keepdim=True).clamp(min=_EPSILON)
    for _ in range(_ITERATIONS):
        gram = torch.bmm(states, states.mT)
        polynomial = torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C)
        states = torch.baddbmm(states, polynomial, states, beta=_A)
    return states


@dataclass(frozen=True)
class _Matrix:
    """A matrix of weights, its update before it is orthogonalised, and its group."""

    group: dict[str, Any]
    weight: Tensor
    update: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """The shape, not higher than wide."""
        rows, columns = self.weight.shape
        return min(rows, columns), max(rows, columns)

    def wide(self, matrix: Tensor) -> Tensor:
        """Return a matrix of this shape, or its transpose, not higher than wide."""
        return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024): Nesterov momentum, orthogonalised; for hidden layers' weights.

    `torch.optim.Muon` orthogonalises one matrix after the other and treats a projection that
    holds several (query, key and value) as one. Here equal shapes share one batched product.

    The update is scaled by 0.2·√max(A, B) (Liu et al. 2025, eq. 4), so that it is as large
    as one of AdamW and learning rate and weight decay mean the same for both. Every
    parameter [n·A, B] of a group with `matrices=n` counts as n matrices [A, B], one on the
    other, as in a fused projection of queries, keys and values.

    `dtype` is that of the iterations: bfloat16 suffices where the hardware has it.
    """

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "matrices": 1}
        super().__init__(params, defaults)
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("this optimizer takes no closure")
        stacks: dict[tuple[int, int], list[_Matrix]] = defaultdict(list)
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            count = group["matrices"]
            updates = self._momentum(group, parameters)
            for parameter, update in zip(parameters, updates, strict=True):
                parts = zip(parameter.chunk(count), update.chunk(count), strict=True)
                for matrix in (_Matrix(group, weight, part) for weight, part in parts):
                    stacks[matrix.shape].append(matrix)
        for shape, matrices in stacks.items():
            wide = torch.stack([matrix.wide(matrix.update) for matrix in matrices])
            scale = _ADAMW_RMS * math.sqrt(max(shape))
            for matrix, update in zip(matrices, orthogonalize(wide, self._dtype), strict=True):
                rate = matrix.group["lr"]
                matrix.wide(matrix.weight).mul_(1 - rate * matrix.group["weight_decay"])
                matrix.wide(matrix.weight).add_(update, alpha=-rate * scale)

    def _momentum(self, group: dict[str, Any], parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        """Move the momentum buffers; returns the Nesterov updates."""
        if not parameters:
            return ()
        gradients: list[Tensor] = [p.grad for p in parameters if p.grad is not None]
        buffers = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            buffers.append(state["momentum_buffer"])
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        return torch._foreach_lerp(gradients, buffers, group["momentum"])


def _dropout_seed(seed: int, step: int, rank: int, part: int) -> int:
    packed = struct.pack("<4Q", seed, step, rank, part)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little")
