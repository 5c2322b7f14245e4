"""Weights: our names and those that `transformers` has for them, files of several kinds and ages.

Names as in `transformers` are those of a model with a head, whatever the file's own are.
"""

import os
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cloze.errors import ClozeError
from cloze.files import read_json, require_file, sha256_file


@dataclass(frozen=True)
class _Names:
    """What `transformers` calls the weights of a layout.

    `prefix` stands before the names of an encoder that has a head; `parts`: how they start in a
    bare one. `renamed`: patterns of our names and what replaces them. `qkv`: the three matrices
    that are one here, by layer; None where they are one there, too. `decoder`, `bias`: the
    masked-language head's last layer, and its bias.
    """

    prefix: str
    parts: tuple[str, ...]
    layers: str
    words: str
    renamed: tuple[tuple[str, str], ...]
    decoder: str
    bias: str
    qkv: tuple[str, str, str] | None = None


_LAYER = r"encoder\.layers\.(\d+)\."
_BERT_HEAD = (
    (r"head_dense", "cls.predictions.transform.dense"),
    (r"head_norm", "cls.predictions.transform.LayerNorm"),
    (r"decoder_bias", "cls.predictions.bias"),
    (r"pooler_dense", "bert.pooler.dense"),
    (r"next_sentence", "cls.seq_relationship"),
)
_ROBERTA_HEAD = (
    (r"head_dense", "lm_head.dense"),
    (r"head_norm", "lm_head.layer_norm"),
    (r"decoder_bias", "lm_head.bias"),
    (r"pooler_dense", "classifier.dense"),
    (r"classifier", "classifier.out_proj"),
)
_ELECTRA_HEAD = (
    (r"head_dense", "generator_predictions.dense"),
    (r"head_norm", "generator_predictions.LayerNorm"),
    (r"decoder_bias", "generator_lm_head.bias"),
    (r"pooler_dense", "classifier.dense"),
    (r"classifier", "classifier.out_proj"),
)


def _names_like_berts(
    model: str, head: tuple[tuple[str, str], ...], decoder: str, bias: str
) -> _Names:
    """Return the names of a layout whose encoder has those of BERT below another word."""
    layer = rf"{model}.encoder.layer.\1"
    return _Names(
        prefix=f"{model}.",
        parts=("embeddings.", "embeddings_project.", "encoder."),
        layers=f"{model}.encoder.layer.",
        words=f"{model}.embeddings.word_embeddings.weight",
        renamed=(
            (r"encoder\.token_embedding", f"{model}.embeddings.word_embeddings"),
            (r"encoder\.position_embedding", f"{model}.embeddings.position_embeddings"),
            (r"encoder\.token_type_embedding", f"{model}.embeddings.token_type_embeddings"),
            (r"encoder\.embedding_norm", f"{model}.embeddings.LayerNorm"),
            (r"encoder\.embedding_projection", f"{model}.embeddings_project"),
            (
                rf"{_LAYER}attention\.distance_embedding",
                rf"{layer}.attention.self.distance_embedding",
            ),
            (rf"{_LAYER}attention\.output", rf"{layer}.attention.output.dense"),
            (rf"{_LAYER}attention_norm", rf"{layer}.attention.output.LayerNorm"),
            (rf"{_LAYER}up", rf"{layer}.intermediate.dense"),
            (rf"{_LAYER}down", rf"{layer}.output.dense"),
            (rf"{_LAYER}mlp_norm", rf"{layer}.output.LayerNorm"),
            *head,
            (r"span_classifier", "qa_outputs"),
            (r"token_classifier", "classifier"),
        ),
        decoder=decoder,
        bias=bias,
        qkv=(
            f"{model}.encoder.layer.{{}}.attention.self.query",
            f"{model}.encoder.layer.{{}}.attention.self.key",
            f"{model}.encoder.layer.{{}}.attention.self.value",
        ),
    )


_MODERNBERT = _Names(
    prefix="model.",
    parts=("embeddings.", "layers.", "final_norm."),
    layers="model.layers.",
    words="model.embeddings.tok_embeddings.weight",
    renamed=(
        (r"encoder\.token_embedding", "model.embeddings.tok_embeddings"),
        (r"encoder\.embedding_norm", "model.embeddings.norm"),
        (rf"{_LAYER}attention_norm", r"model.layers.\1.attn_norm"),
        (rf"{_LAYER}attention\.qkv", r"model.layers.\1.attn.Wqkv"),
        (rf"{_LAYER}attention\.output", r"model.layers.\1.attn.Wo"),
        (rf"{_LAYER}mlp_norm", r"model.layers.\1.mlp_norm"),
        (rf"{_LAYER}up", r"model.layers.\1.mlp.Wi"),
        (rf"{_LAYER}down", r"model.layers.\1.mlp.Wo"),
        (r"encoder\.final_norm", "model.final_norm"),
        (r"head_dense|pooler_dense", "head.dense"),
        (r"head_norm|pooler_norm", "head.norm"),
        (r"decoder_bias", "decoder.bias"),
        (r"span_classifier|token_classifier", "classifier"),
    ),
    decoder="decoder",
    bias="decoder.bias",
)
_DISTILBERT = _Names(
    prefix="distilbert.",
    parts=("embeddings.", "transformer."),
    layers="distilbert.transformer.layer.",
    words="distilbert.embeddings.word_embeddings.weight",
    renamed=(
        (r"encoder\.token_embedding", "distilbert.embeddings.word_embeddings"),
        (r"encoder\.position_embedding", "distilbert.embeddings.position_embeddings"),
        (r"encoder\.embedding_norm", "distilbert.embeddings.LayerNorm"),
        (rf"{_LAYER}attention\.output", r"distilbert.transformer.layer.\1.attention.out_lin"),
        (rf"{_LAYER}attention_norm", r"distilbert.transformer.layer.\1.sa_layer_norm"),
        (rf"{_LAYER}up", r"distilbert.transformer.layer.\1.ffn.lin1"),
        (rf"{_LAYER}down", r"distilbert.transformer.layer.\1.ffn.lin2"),
        (rf"{_LAYER}mlp_norm", r"distilbert.transformer.layer.\1.output_layer_norm"),
        (r"head_dense", "vocab_transform"),
        (r"head_norm", "vocab_layer_norm"),
        (r"decoder_bias", "vocab_projector.bias"),
        (r"pooler_dense", "pre_classifier"),
        (r"span_classifier", "qa_outputs"),
        (r"token_classifier", "classifier"),
    ),
    decoder="vocab_projector",
    bias="vocab_projector.bias",
    qkv=(
        "distilbert.transformer.layer.{}.attention.q_lin",
        "distilbert.transformer.layer.{}.attention.k_lin",
        "distilbert.transformer.layer.{}.attention.v_lin",
    ),
)
_NAMES = {
    "bert": _names_like_berts(
        "bert", _BERT_HEAD, "cls.predictions.decoder", "cls.predictions.bias"
    ),
    "modernbert": _MODERNBERT,
    "roberta": _names_like_berts("roberta", _ROBERTA_HEAD, "lm_head.decoder", "lm_head.bias"),
    "distilbert": _DISTILBERT,
    "electra": _names_like_berts(
        "electra", _ELECTRA_HEAD, "generator_lm_head", "generator_lm_head.bias"
    ),
}
_QKV = re.compile(rf"{_LAYER}attention\.qkv\.(weight|bias)")
# What the first BERT checkpoints, converted from TensorFlow, call the parameters of a norm.
_OLD_NORMS = {"gamma": "weight", "beta": "bias"}
# What parallel and compiled modules put before every name.
_WRAPPERS = ("module.", "_orig_mod.")
# Of the encoder by name and no part of it: the first layer of a head, tables of positions.
_BESIDE_ENCODER = re.compile(r"pooler\.|.*(position_ids|token_type_ids|inv_freq)\Z")
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})


def hf_names(name: str, layout: str) -> list[str]:
    """Return the name(s) of one of our parameters in a `transformers` checkpoint."""
    name, names = name.removeprefix("masked_lm."), _NAMES[layout]
    if names.qkv is not None and (match := _QKV.fullmatch(name)):
        return [f"{part.format(match[1])}.{match[2]}" for part in names.qkv]
    for pattern, replacement in names.renamed:
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
    that is absent, misshapen or no number, or a part of an encoder for which there is no place.
    """
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    used = check_shapes(model, shapes, layout, origin)
    ours: dict[str, Tensor] = {}
    for name in model.state_dict():
        ours[name] = torch.cat([weights[foreign] for foreign in hf_names(name, layout)])
    for name in sorted(used):
        if not weights[name].isfinite().all():
            raise ClozeError(
                f"{origin}: its weight {name!r} holds what is no number (NaN or infinite); make or "
                "fetch the model again"
            )
    model.load_state_dict(ours)
    return used


def check_shapes(
    model: nn.Module, shapes: Mapping[str, tuple[int, ...]], layout: str, origin: Path
) -> set[str]:
    """Raise `ClozeError` unless weights of these shapes are those of `model`, which may be on meta.

    Returns the names of those that it has. Weights of further heads may lie beside them, but
    none of an encoder: one that is left over is of another model than `config.json` describes.
    """
    used: set[str] = set()
    for name, parameter in model.state_dict().items():
        names = hf_names(name, layout)
        absent = [foreign for foreign in names if foreign not in shapes]
        if absent:
            raise ClozeError(
                f"{origin}: has no weight {absent[0]!r}; is it a model of this layout?"
            )
        used.update(names)
        parts = [shapes[foreign] for foreign in names]
        found = (sum(part[0] for part in parts), *parts[0][1:]) if parts[0] else ()
        if found != tuple(parameter.shape) or len({part[1:] for part in parts}) > 1:
            raise ClozeError(
                f"{origin}: {names[0]} has shape {found}, "
                f"config.json asks for {tuple(parameter.shape)}"
            )
    prefix = _NAMES[layout].prefix
    beside = _BESIDE_ENCODER
    if any("distance_embedding" in name for name in used):
        # Version 4 of `transformers` kept absolute positions that it did not read.
        beside = re.compile(rf"{beside.pattern}|embeddings\.position_embeddings")
    for name in sorted(shapes.keys() - used):
        if name.startswith(prefix) and not beside.match(name.removeprefix(prefix)):
            raise ClozeError(
                f"{origin}: its weight {name!r} has no place in an encoder as config.json "
                "describes it; the two files do not belong together, or the encoder is of another "
                "kind"
            )
    return used


def read_weights(folder: Path, layout: str, *, unpickle: bool = False) -> dict[str, Tensor]:
    """Read a model folder's weights, one file or several, float32 under `transformers` names.

    A bare encoder's names get the prefix that they have below a head, old names of norms
    become today's, and buffers are left out.

    Only safetensors, which can hold nothing but numbers. With `unpickle`, a
    `pytorch_model.bin` too, by PyTorch's loader that admits tensors alone. Raises
    `ClozeError` if there are none, or only others, or a file is broken.
    """
    read = _read_files(folder, unpickle)
    named = {
        name: read[given]
        for given, name in _today(read, layout).items()
        if read[given].is_floating_point()
    }
    bias, of_decoder = _NAMES[layout].bias, f"{_NAMES[layout].decoder}.bias"
    if of_decoder in named:
        named.setdefault(bias, named[of_decoder])
    return {name: value.float() for name, value in named.items()}


def write_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write and flush a safetensors file; raises `OSError` where the file system refuses it."""
    try:
        save_file(dict(tensors), path, metadata)
    except SafetensorError as error:
        # The library is not written in Python and reports a full disk as a text.
        if not (found := re.search(r"\(os error (\d+)\)", str(error))):
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(path)) from error
    with open(path, "rb") as written:
        os.fsync(written.fileno())


def weight_shapes(folder: Path, layout: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a folder's weights, named as `read_weights` names them.

    Reads no weight, only the headers of its safetensors files; empty without any.
    """
    shapes = header_shapes(folder)
    return {name: shapes[given] for given, name in _today(shapes, layout).items()}


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder; raises `ClozeError` if it has none."""
    files = _weight_files(folder, "model.safetensors")
    if not files:
        raise _without_weights(folder)
    return files


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of a folder's weights: of the one file, or of the hashes of several."""
    digests = [sha256_file(path) for path in weight_files(folder)]
    return digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest()


def header_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a folder's weights under their own names; empty without safetensors."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in _weight_files(folder, "model.safetensors"):
        try:
            with safe_open(require_file(path), framework="pt") as file:
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
                shapes |= {
                    name: tuple(part.get_shape())
                    for name, part in slices.items()
                    if part.get_dtype() in _FLOATS
                }
        except (SafetensorError, OSError) as error:
            raise _broken(path, error) from error
    return shapes


def layout_of_weights(folder: Path) -> str | None:
    """Return the layout that the names of a folder's weights are of; None if of none."""
    shapes = header_shapes(folder)
    found = [layout for layout, names in _NAMES.items() if names.words in shapes]
    return found[0] if len(found) == 1 else None


def num_layers(shapes: Iterable[str], layout: str) -> int:
    """Return how many layers the named weights of an encoder have."""
    start = _NAMES[layout].layers
    rest = [name.removeprefix(start) for name in shapes if name.startswith(start)]
    numbers = [name.partition(".")[0] for name in rest]
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=-1)


def words_name(layout: str) -> str:
    """Return what `transformers` calls the token embeddings."""
    return _NAMES[layout].words


def has_masked_lm_head(shapes: Iterable[str], layout: str) -> bool:
    """Whether there is a masked-language head among these names."""
    return _NAMES[layout].bias in shapes


def has_tied_masked_lm_head(weights: Mapping[str, Tensor], layout: str) -> bool:
    """Whether weights have a masked-language head that `MaskedLM` can hold.

    Its decoder must be the token embeddings.
    """
    names = _NAMES[layout]
    if names.bias not in weights or names.words not in weights:
        return False
    words = weights[names.words]
    return torch.equal(weights.get(f"{names.decoder}.weight", words), words)


def _today(given: Iterable[str], layout: str) -> dict[str, str]:
    """Return the name that a model with a head has today for each name in a file."""
    names = _NAMES[layout]
    today = {name: _current_name(name) for name in given}
    for wrapper in _WRAPPERS:
        if today and all(name.startswith(wrapper) for name in today.values()):
            today = {name: new.removeprefix(wrapper) for name, new in today.items()}
    if any(name.startswith(names.prefix) for name in today.values()):
        return today
    parts = (*names.parts, "pooler.")
    return {
        name: f"{names.prefix}{new}" if new.startswith(parts) else new
        for name, new in today.items()
    }


def _weight_files(folder: Path, name: str) -> list[Path]:
    """Return the files that weights lie in: one, or those that an index names; else none.

    Raises `ClozeError` for an index that is none, or names a file that is not beside it.
    """
    index = folder / f"{name}.index.json"
    if not index.is_file():
        return [folder / name] if (folder / name).is_file() else []
    table: Any = read_json(index)
    files = table.get("weight_map") if isinstance(table, dict) else None
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        raise ClozeError(f"{index}: has no weight_map of weights to files; fetch it again")
    paths = []
    for file in sorted(set(files.values())):
        if file != Path(file).name or not (folder / file).is_file():
            raise ClozeError(
                f"{index}: names {file!r}, which does not lie beside it; fetch all files of the "
                "model"
            )
        paths.append(folder / file)
    return paths


def _read_files(folder: Path, unpickle: bool) -> dict[str, Tensor]:
    load: Callable[[Path], Mapping[str, Tensor]]
    for name, load in (("model.safetensors", _load_safetensors), ("pytorch_model.bin", _unpickle)):
        files = _weight_files(folder, name)
        if not files:
            continue
        if load is _unpickle and not unpickle:
            raise ClozeError(
                f"{files[0]}: a pickle, which could run code when it is read; get the model's "
                "model.safetensors, or pass --unpickle if you trust who made the file"
            )
        return {key: value for file in files for key, value in load(file).items()}
    raise _without_weights(folder)


def _without_weights(folder: Path) -> ClozeError:
    return ClozeError(f"{folder}: has no model.safetensors; name a folder with a model's weights")


def _broken(path: Path, error: Exception) -> ClozeError:
    return ClozeError(f"{path}: cannot be read as safetensors ({error}); make or fetch it again")


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a file of weights; raises `ClozeError` if it is broken."""
    try:
        return load_file(require_file(path))
    except (SafetensorError, OSError) as error:
        raise _broken(path, error) from error


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
    return re.sub(r"\.(gamma|beta)\Z", lambda found: f".{_OLD_NORMS[found[1]]}", name)
