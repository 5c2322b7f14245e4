"""AdamW with the usual exceptions from weight decay, and learning-rate schedules."""

import math

import torch
from torch import nn

from cloze.encoder.model import EncoderConfig

SCHEDULES = ("linear", "cosine", "warmup_stable_decay", "constant")
_DECAY_SHARE = 0.2


def adamw(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    adam_beta1: float = 0.9,
    adam_beta2: float = 0.999,
    adam_epsilon: float = 1e-8,
) -> torch.optim.AdamW:
    """Return fused AdamW (Loshchilov and Hutter 2019); biases and norms are not decayed."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
    exempt = [p for p in model.parameters() if p.requires_grad and p.dim() <= 1]
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


def learning_rate_factor(schedule: str, step: int, max_steps: int, warmup_steps: int) -> float:
    """Return the share of the peak learning rate that step `step` (from 0) uses.

    All schedules rise linearly over `warmup_steps`; then `linear` and `cosine` fall to
    0 at `max_steps`, `warmup_stable_decay` stays and falls linearly over the last fifth
    of the run (Hu et al. 2024, §4), `constant` stays.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    remaining = max(1, max_steps - warmup_steps)
    done = min(1.0, (step - warmup_steps) / remaining)
    if schedule == "linear":
        return 1.0 - done
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    if schedule == "warmup_stable_decay":
        return min(1.0, (1.0 - done) / _DECAY_SHARE)
    return 1.0


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = value


def training_flop(config: EncoderConfig, tokens: int, length: int, mlm_probability: float) -> float:
    """Estimate the floating-point operations of training: 6N + 12·L·D·T a token.

    N counts the weights that multiply activations, the vocabulary's only at the
    predicted positions (Kaplan et al. 2020, §2.1; Chowdhery et al. 2022, app. B).
    """
    size, is_bert = config.hidden_size, config.layout == "bert"
    mlp = (2 if is_bert else 3) * size * config.intermediate_size
    layers = config.num_hidden_layers * (4 * size * size + mlp)
    head = mlm_probability * (size * size + config.vocab_size * size)
    attention = 12 * config.num_hidden_layers * size * length
    return tokens * (6 * (layers + head) + attention)
