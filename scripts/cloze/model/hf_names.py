"""Our parameters under the names that `transformers` has for them, and back."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from cloze.errors import ClozeError

_BERT_NAMES = (
    (r"encoder\.token_embedding", "bert.embeddings.word_embeddings"),
    (r"encoder\.position_embedding", "bert.embeddings.position_embeddings"),
    (r"encoder\.token_type_embedding", "bert.embeddings.token_type_embeddings"),
    (r"encoder\.embedding_norm", "bert.embeddings.LayerNorm"),
    (
        r"encoder\.layers\.(\d+)\.attention\.distance_embedding",
        r"bert.encoder.layer.\1.attention.self.distance_embedding",
    ),
    (r"encoder\.layers\.(\d+)\.attention\.output", r"bert.encoder.layer.\1.attention.output.dense"),
    (
        r"encoder\.layers\.(\d+)\.attention_norm",
        r"bert.encoder.layer.\1.attention.output.LayerNorm",
    ),
    (r"encoder\.layers\.(\d+)\.up", r"bert.encoder.layer.\1.intermediate.dense"),
    (r"encoder\.layers\.(\d+)\.down", r"bert.encoder.layer.\1.output.dense"),
    (r"encoder\.layers\.(\d+)\.mlp_norm", r"bert.encoder.layer.\1.output.LayerNorm"),
    (r"head_dense", "cls.predictions.transform.dense"),
    (r"head_norm", "cls.predictions.transform.LayerNorm"),
    (r"decoder_bias", "cls.predictions.bias"),
    (r"pooler_dense", "bert.pooler.dense"),
    (r"next_sentence", "cls.seq_relationship"),
)
_MODERNBERT_NAMES = (
    (r"encoder\.token_embedding", "model.embeddings.tok_embeddings"),
    (r"encoder\.embedding_norm", "model.embeddings.norm"),
    (r"encoder\.layers\.(\d+)\.attention_norm", r"model.layers.\1.attn_norm"),
    (r"encoder\.layers\.(\d+)\.attention\.qkv", r"model.layers.\1.attn.Wqkv"),
    (r"encoder\.layers\.(\d+)\.attention\.output", r"model.layers.\1.attn.Wo"),
    (r"encoder\.layers\.(\d+)\.mlp_norm", r"model.layers.\1.mlp_norm"),
    (r"encoder\.layers\.(\d+)\.up", r"model.layers.\1.mlp.Wi"),
    (r"encoder\.layers\.(\d+)\.down", r"model.layers.\1.mlp.Wo"),
    (r"encoder\.final_norm", "model.final_norm"),
    (r"head_dense|pooler_dense", "head.dense"),
    (r"head_norm|pooler_norm", "head.norm"),
    (r"decoder_bias", "decoder.bias"),
)
_BERT_QKV = re.compile(r"encoder\.layers\.(\d+)\.attention\.qkv\.(weight|bias)")


def _foreign_names(name: str, layout: str) -> list[str]:
    """Return the name(s) of one of our parameters in a `transformers` checkpoint."""
    name = name.removeprefix("masked_lm.")
    if layout == "bert" and (match := _BERT_QKV.fullmatch(name)):
        prefix = f"bert.encoder.layer.{match[1]}.attention.self"
        return [f"{prefix}.{part}.{match[2]}" for part in ("query", "key", "value")]
    for pattern, replacement in _BERT_NAMES if layout == "bert" else _MODERNBERT_NAMES:
        renamed, count = re.subn(rf"^(?:{pattern})(?=\.|$)", replacement, name)
        if count:
            return [renamed]
    return [name]


def rename_to_hf(tensors: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Return tensors that belong to parameters (weights, gradients, …) under foreign names.

    What is one parameter here and several there is split along its first axis.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in tensors.items():
        names = _foreign_names(name, layout)
        renamed.update(zip(names, value.chunk(len(names)), strict=True))
    return renamed


def export_state(model: nn.Module, layout: str) -> dict[str, Tensor]:
    """Return the model's weights, float32 on the CPU, under `transformers` names."""
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    return {name: part.contiguous().clone() for name, part in rename_to_hf(state, layout).items()}


def import_state(
    model: nn.Module, state: Mapping[str, Tensor], layout: str, origin: Path
) -> set[str]:
    """Fill every parameter of `model` from a checkpoint with `transformers` names.

    Returns the names that were used. Raises `ClozeError` naming `origin` and the parameter
    that is absent or misshapen.
    """
    ours: dict[str, Tensor] = {}
    used: set[str] = set()
    for name, parameter in model.state_dict().items():
        names = _foreign_names(name, layout)
        absent = [foreign for foreign in names if foreign not in state]
        if absent:
            raise ClozeError(
                f"{origin}: has no weight {absent[0]!r}; is it a model of this layout?"
            )
        used.update(names)
        value = torch.cat([state[foreign] for foreign in names])
        if value.shape != parameter.shape:
            raise ClozeError(
                f"{origin}: {names[0]} has shape {tuple(value.shape)}, "
                f"config.json asks for {tuple(parameter.shape)}"
            )
        ours[name] = value
    model.load_state_dict(ours)
    return used
