"""Weights: our names and those that `transformers` has for them, files of several kinds and ages.

Names as in `transformers` are those of a model with a head, whatever the file's own are.
"""

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cloze.errors import ClozeError
from cloze.files import read_json, require_file

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
    (r"span_classifier", "qa_outputs"),
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
    (r"span_classifier", "classifier"),
)
_BERT_QKV = re.compile(r"encoder\.layers\.(\d+)\.attention\.qkv\.(weight|bias)")

_PREFIXES = {"bert": "bert.", "modernbert": "model."}
_ENCODER_PARTS = {"bert": ("embeddings.", "encoder."), "modernbert": ("embeddings.", "layers.")}
_DECODERS = {"bert": "cls.predictions.decoder", "modernbert": "decoder"}
_BIASES = {"bert": "cls.predictions.bias", "modernbert": "decoder.bias"}
_WORDS = {
    "bert": "bert.embeddings.word_embeddings.weight",
    "modernbert": "model.embeddings.tok_embeddings.weight",
}
# What the first BERT checkpoints, converted from TensorFlow, call the parameters of a norm.
_OLD_NORMS = {"gamma": "weight", "beta": "bias"}


def hf_names(name: str, layout: str) -> list[str]:
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
        names = hf_names(name, layout)
        renamed.update(zip(names, value.chunk(len(names)), strict=True))
    return renamed


def export_state(model: nn.Module, layout: str) -> dict[str, Tensor]:
    """Return the model's weights, float32 on the CPU, under `transformers` names."""
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    return {name: part.contiguous().clone() for name, part in rename_to_hf(state, layout).items()}


def import_state(
    model: nn.Module, weights: Mapping[str, Tensor], layout: str, origin: Path
) -> set[str]:
    """Fill every parameter of `model` from weights under `transformers` names.

    Returns the names that were used. Raises `ClozeError` naming `origin` and the parameter
    that is absent or misshapen.
    """
    ours: dict[str, Tensor] = {}
    used: set[str] = set()
    for name, parameter in model.state_dict().items():
        names = hf_names(name, layout)
        absent = [foreign for foreign in names if foreign not in weights]
        if absent:
            raise ClozeError(
                f"{origin}: has no weight {absent[0]!r}; is it a model of this layout?"
            )
        used.update(names)
        value = torch.cat([weights[foreign] for foreign in names])
        if value.shape != parameter.shape:
            raise ClozeError(
                f"{origin}: {names[0]} has shape {tuple(value.shape)}, "
                f"config.json asks for {tuple(parameter.shape)}"
            )
        ours[name] = value
    model.load_state_dict(ours)
    return used


def read_weights(folder: Path, layout: str, *, unpickle: bool = False) -> dict[str, Tensor]:
    """Read a model folder's weights, one file or several, float32 under `transformers` names.

    A bare encoder's names get the prefix that they have below a head, old names of norms
    become today's, and buffers are left out.

    Only safetensors, which can hold nothing but numbers. With `unpickle`, a
    `pytorch_model.bin` too, by PyTorch's loader that admits tensors alone. Raises
    `ClozeError` if there are none, or only others, or a file is broken.
    """
    prefix = _PREFIXES[layout]
    named = {_current_name(name): value for name, value in _read_files(folder, unpickle).items()}
    if not any(name.startswith(prefix) for name in named):
        parts = (*_ENCODER_PARTS[layout], "pooler.", "final_norm.")
        named = {
            f"{prefix}{name}" if name.startswith(parts) else name: value
            for name, value in named.items()
        }
    decoder = _DECODERS[layout]
    if f"{decoder}.bias" in named:
        named.setdefault(_BIASES[layout], named[f"{decoder}.bias"])
    return {name: value.float() for name, value in named.items() if value.is_floating_point()}


def has_tied_masked_lm_head(weights: Mapping[str, Tensor], layout: str) -> bool:
    """Whether weights have a masked-language head that `MaskedLM` can hold.

    Its decoder must be the token embeddings.
    """
    if _BIASES[layout] not in weights:
        return False
    words = weights[_WORDS[layout]]
    return torch.equal(weights.get(f"{_DECODERS[layout]}.weight", words), words)


def _read_files(folder: Path, unpickle: bool) -> dict[str, Tensor]:
    load: Callable[[Path], Mapping[str, Tensor]]
    for name, load in (("model.safetensors", _load_safetensors), ("pytorch_model.bin", _unpickle)):
        index = folder / f"{name}.index.json"
        files = [folder / name]
        if index.is_file():
            files = [folder / file for file in sorted(set(read_json(index)["weight_map"].values()))]
        if not all(file.is_file() for file in files):
            continue
        if load is _unpickle and not unpickle:
            raise ClozeError(
                f"{files[0]}: a pickle, which could run code when it is read; get the model's "
                "model.safetensors, or pass --unpickle if you trust who made the file"
            )
        return {key: value for file in files for key, value in load(file).items()}
    raise ClozeError(f"{folder}: has no model.safetensors; name a folder with a model's weights")


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a file of weights; raises `ClozeError` if it is broken."""
    try:
        return load_file(require_file(path))
    except (SafetensorError, OSError) as error:
        raise ClozeError(
            f"{path}: cannot be read as safetensors ({error}); make or fetch it again"
        ) from error


def _unpickle(path: Path) -> Mapping[str, Tensor]:
    try:
        checkpoint = torch.load(require_file(path), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ClozeError(f"{path}: holds more than tensors, or is broken ({error})") from error
    tensors = checkpoint if isinstance(checkpoint, dict) else {}
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ClozeError(f"{path}: is no table of weights; name a folder that transformers wrote")
    return tensors


def _current_name(name: str) -> str:
    return re.sub(
        r"(LayerNorm)\.(gamma|beta)$", lambda found: f"{found[1]}.{_OLD_NORMS[found[2]]}", name
    )
