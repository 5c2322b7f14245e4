"""AdamW with the usual exceptions from weight decay, Muon beside it, and what training costs."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from cloze.model.config import EncoderConfig
from cloze.train.muon import Muon
from cloze.train.schedules import Span, factor_over

# What one weight of a layer holds, one matrix on the other.
_FUSED_MATRICES = {"qkv": 3}


def adamw(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    adam_beta1: float = 0.9,
    adam_beta2: float = 0.999,
    adam_epsilon: float = 1e-8,
    besides: Iterable[Tensor] = (),
) -> torch.optim.AdamW:
    """Return fused AdamW (Loshchilov and Hutter 2019); biases and norms are not decayed.

    It leaves out the parameters `besides`, which are another optimizer's.
    """
    apart = {id(parameter) for parameter in besides}
    own = [p for p in model.parameters() if p.requires_grad and id(p) not in apart]
    decayed = [p for p in own if p.dim() > 1]
    exempt = [p for p in own if p.dim() <= 1]
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": exempt, "weight_decay": 0.0},
        ],
        lr=learning_rate,
        betas=(adam_beta1, adam_beta2),
        eps=adam_epsilon,
        fused=True,
    )


def muon(
    layers: nn.Module, *, learning_rate: float, weight_decay: float, dtype: torch.dtype
) -> Muon:
    """Return Muon for the weights of every linear map in the layers of an encoder."""
    groups: dict[int, list[Tensor]] = {}
    for name, module in layers.named_modules():
        if isinstance(module, nn.Linear):
            matrices = _FUSED_MATRICES.get(name.rpartition(".")[2], 1)
            groups.setdefault(matrices, []).append(module.weight)
    return Muon(
        [{"params": weights, "matrices": matrices} for matrices, weights in groups.items()],
        lr=learning_rate,
        weight_decay=weight_decay,
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


def learning_rate_factor(schedule: str, step: int, max_steps: int, warmup_steps: int) -> float:
    """Return the share of the peak learning rate that step `step` (from 0) uses."""
    span = Span(step / max_steps, (step + 1) / max_steps)
    return factor_over(schedule, span, warmup_steps / max_steps)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = value


def training_flop(config: EncoderConfig, tokens: int, length: int, mlm_probability: float) -> float:
    """Estimate the floating-point operations of training: 6N + 12·L·D·T a token.

    N counts the weights that multiply activations (Kaplan et al. 2020, §2.1; Chowdhery et
    al. 2022, app. B). The head, and all of the last layer but its keys and values, count at
    the predicted positions only.
    """
    size, is_bert = config.hidden_size, config.layout == "bert"
    mlp = (2 if is_bert else 3) * size * config.intermediate_size
    all_but_last = config.num_hidden_layers - 1
    everywhere = all_but_last * (4 * size * size + mlp) + 2 * size * size
    predicted = 2 * size * size + mlp + size * size + config.vocab_size * size
    attention = 12 * (all_but_last + mlm_probability) * size * length
    return tokens * (6 * (everywhere + mlm_probability * predicted) + attention)
