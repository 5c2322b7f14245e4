"""Weights that others wrote: files of several kinds, names of several ages, made alike."""

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cloze.errors import ClozeError
from cloze.files import read_json
from cloze.model.encoder import EncoderConfig

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


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a file of weights; raises `ClozeError` if it is broken."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ClozeError(
            f"{path}: cannot be read as safetensors ({error}); make or fetch it again"
        ) from error


def read_checkpoint(folder: Path, *, unpickle: bool = False) -> dict[str, Tensor]:
    """Read the weights of a folder that `transformers` wrote, in one file or several.

    Only safetensors, which can hold nothing but numbers. With `unpickle`, a
    `pytorch_model.bin` too, by PyTorch's loader that admits tensors alone. Raises
    `ClozeError` if there are none, or only others, or a file is broken.
    """
    load: Callable[[Path], Mapping[str, Tensor]]
    for name, load in (("model.safetensors", load_safetensors), ("pytorch_model.bin", _unpickle)):
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


def normalized_checkpoint(
    checkpoint: Mapping[str, Tensor], config: EncoderConfig
) -> dict[str, Tensor]:
    """Return a checkpoint in float32 under the names that a model with a head has.

    A bare encoder's names get the prefix that they have below a head, old names of norms
    become today's, and buffers are left out.
    """
    prefix = _PREFIXES[config.layout]
    named = {_current_name(name): value for name, value in checkpoint.items()}
    if not any(name.startswith(prefix) for name in named):
        parts = (*_ENCODER_PARTS[config.layout], "pooler.", "final_norm.")
        named = {
            f"{prefix}{name}" if name.startswith(parts) else name: value
            for name, value in named.items()
        }
    decoder = _DECODERS[config.layout]
    if f"{decoder}.bias" in named:
        named.setdefault(_BIASES[config.layout], named[f"{decoder}.bias"])
    return {name: value.float() for name, value in named.items() if value.is_floating_point()}


def has_tied_masked_lm_head(checkpoint: Mapping[str, Tensor], layout: str) -> bool:
    """Whether a normalized checkpoint has a masked-language head that `MaskedLM` can hold.

    Its decoder must be the token embeddings.
    """
    if _BIASES[layout] not in checkpoint:
        return False
    words = checkpoint[_WORDS[layout]]
    return torch.equal(checkpoint.get(f"{_DECODERS[layout]}.weight", words), words)


def _current_name(name: str) -> str:
    return re.sub(
        r"(LayerNorm)\.(gamma|beta)$", lambda found: f"{found[1]}.{_OLD_NORMS[found[2]]}", name
    )


def _unpickle(path: Path) -> Mapping[str, Tensor]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ClozeError(f"{path}: holds more than tensors, or is broken ({error})") from error
    tensors = checkpoint if isinstance(checkpoint, dict) else {}
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ClozeError(f"{path}: is no table of weights; name a folder that transformers wrote")
    return tensors
