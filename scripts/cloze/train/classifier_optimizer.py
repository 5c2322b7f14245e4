"""AdamW over a classifier's parameters: by depth, and over the tokens that the task shows."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from cloze.model.heads import SequenceClassifier
from cloze.objectives.texts import EncodedTexts
from cloze.train.finetuning_recipe import Recipe


def classifier_adamw(model: SequenceClassifier, recipe: Recipe) -> torch.optim.AdamW:
    """Return fused AdamW (Loshchilov and Hutter 2019); biases and norms are not decayed.

    Each group holds its own peak rate as `initial_lr`: the head's is `learning_rate`, that
    of the layer n below it `learning_rate · layerwise_lr_decay^n`, the embeddings' lowest.
    """
    num_layers = model.config.num_hidden_layers
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        depth = _depth(name, num_layers) if recipe.layerwise_lr_decay < 1 else 0
        groups.setdefault((depth, parameter.dim() > 1), []).append(parameter)
    rates = {depth: recipe.learning_rate * recipe.layerwise_lr_decay**depth for depth, _ in groups}
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": rates[depth],
                "initial_lr": rates[depth],
                "weight_decay": recipe.weight_decay if is_decayed else 0.0,
            }
            for (depth, is_decayed), parameters in groups.items()
        ],
        fused=True,
    )


def _depth(name: str, num_layers: int) -> int:
    """Layers between a parameter and the head: 0 for the head, most for the embeddings."""
    if name.startswith("encoder.layers."):
        return num_layers - int(name.split(".")[2])
    if name.startswith("encoder.") and not name.startswith("encoder.final_norm"):
        return num_layers + 1
    return 0


@contextmanager
def only_tokens_of(model: SequenceClassifier, encoded: EncodedTexts) -> Iterator[EncodedTexts]:
    """Let the model hold only the embeddings of tokens that occur; yields the texts for it.

    Of a vocabulary of 30,000 a small task shows a third; the rest would get gradients of
    0 and still cost AdamW more than a small encoder's layers. Afterwards the embeddings
    are whole again: those that the task never showed are as they were before.
    """
    whole = model.encoder.token_embedding
    occurring, renumbered = np.unique(encoded.input_ids, return_inverse=True)
    # What stands after a row's last text is read by nothing and learns nothing: any token does.
    padding = 0
    rows = torch.from_numpy(occurring).long().to(whole.weight.device)
    held = nn.Embedding(len(occurring), whole.embedding_dim, device=whole.weight.device)
    with torch.no_grad():
        held.weight.copy_(whole.weight[rows])
    model.encoder.token_embedding = held
    try:
        yield dataclasses.replace(
            encoded,
            input_ids=renumbered.astype(np.int32),
            special=dataclasses.replace(encoded.special, pad=padding),
        )
    finally:
        with torch.no_grad():
            whole.weight[rows] = held.weight
        model.encoder.token_embedding = whole
