"""`config.json` of a model folder, ours or what `transformers` wrote: read, checked, written.

What a file says is believed only so far as its weights bear it out: types and sizes are compared
with the header of the weights before anything of that size is made.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cloze.cli import log
from cloze.errors import ClozeError, shortened
from cloze.files import hub_model, read_json
from cloze.model.config import GLOBAL, LAYOUTS, LOCAL, EncoderConfig
from cloze.model.encoder import Encoder
from cloze.model.weights import (
    check_shapes,
    layout_of_weights,
    num_layers,
    weight_shapes,
    words_name,
)

# `transformers` 5 has no BERT with relative positions: by the name `bert` it would load
# the weights and read every text as if all its tokens stood in one place.
_RELATIVE_KEY_BERT = "bert_relative_key"
_LAYOUT_OF = {kind: name for name, layout in LAYOUTS.items() for kind in layout.model_types}
_FAMILIES = {
    "bert": "Bert",
    "modernbert": "ModernBert",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
    "camembert": "Camembert",
    "distilbert": "DistilBert",
    "electra": "Electra",
}
# More than any encoder has; a file without weights beside it could ask for any number.
_LARGEST = 1 << 24


@dataclass(frozen=True)
class _Keys:
    """How the `config.json` of a layout says what a model is.

    `sizes`, `numbers`, `dropout`, `flags`: our names, their keys there, and what `transformers`
    takes for absent ones. `computed`: any other value of these keys is another model.
    """

    sizes: Mapping[str, tuple[str, int]]
    numbers: Mapping[str, tuple[str, float]]
    dropout: Mapping[str, tuple[str, float]]
    computed: Mapping[str, Any]
    flags: Mapping[str, tuple[str, bool]] = field(default_factory=dict)


_BERT_COMPUTED = {
    "hidden_act": "gelu",
    "is_decoder": False,
    "add_cross_attention": False,
    "pruned_heads": {},
}


def _like_bert(**changes: int) -> _Keys:
    sizes = {
        "vocab_size": 30_522,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        **changes,
    }
    return _Keys(
        {name: (name, value) for name, value in sizes.items()},
        {"layer_norm_eps": ("layer_norm_eps", 1e-12), "initializer_range": _RANGE},
        {name: (name, 0.1) for name in ("hidden_dropout_prob", "attention_probs_dropout_prob")},
        _BERT_COMPUTED,
    )


_RANGE = ("initializer_range", 0.02)
_KEYS = {
    "bert": _like_bert(),
    "roberta": _like_bert(),
    "electra": _like_bert(
        hidden_size=256, num_attention_heads=4, intermediate_size=1024, embedding_size=128
    ),
    "distilbert": _Keys(
        {
            "vocab_size": ("vocab_size", 30_522),
            "hidden_size": ("dim", 768),
            "num_hidden_layers": ("n_layers", 6),
            "num_attention_heads": ("n_heads", 12),
            "intermediate_size": ("hidden_dim", 3072),
            "max_position_embeddings": ("max_position_embeddings", 512),
        },
        {"initializer_range": _RANGE},
        {
            "hidden_dropout_prob": ("dropout", 0.1),
            "attention_probs_dropout_prob": ("attention_dropout", 0.1),
        },
        {"activation": "gelu", "pruned_heads": {}},
    ),
    "modernbert": _Keys(
        {
            "vocab_size": ("vocab_size", 50_368),
            "hidden_size": ("hidden_size", 768),
            "num_hidden_layers": ("num_hidden_layers", 22),
            "num_attention_heads": ("num_attention_heads", 12),
            "intermediate_size": ("intermediate_size", 1152),
            "max_position_embeddings": ("max_position_embeddings", 8192),
            "local_attention": ("local_attention", 128),
        },
        {"layer_norm_eps": ("norm_eps", 1e-5), "initializer_range": _RANGE},
        {
            # Ours is one for embeddings and feed-forward layers, where theirs are two.
            "hidden_dropout_prob": ("mlp_dropout", 0.0),
            "attention_probs_dropout_prob": ("attention_dropout", 0.0),
        },
        {
            "hidden_activation": "gelu",
            "classifier_activation": "gelu",
            "decoder_bias": True,
            "rope_scaling": None,
        },
        {name: (name, False) for name in ("norm_bias", "attention_bias", "mlp_bias",
                                          "classifier_bias")},
    ),
}  # fmt: skip


def config_to_hf(config: EncoderConfig, head: str | None = None) -> dict[str, Any]:
    """Return the `config.json` that `transformers` reads for this encoder.

    head: how the name of the class ends there, where the folder has weights.
    `position_embedding_type: relative_key` gets a `model_type` that no version knows, so
    its automatic classes refuse the folder; the weights have the names and the meaning
    of version 4's `BertModel`, which an explicit class of it still loads.
    """
    keys, relative = _KEYS[config.layout], config.has_relative_positions
    assert config.model_type is not None
    architecture = {"architectures": [_FAMILIES[config.model_type] + head]} if head else {}
    values = {key: getattr(config, name) for name, (key, _) in keys.sizes.items()}
    written = {
        "model_type": _RELATIVE_KEY_BERT if relative else config.model_type,
        **architecture,
        **{key: value for key, value in values.items() if key not in _WRITTEN_LATER},
        "initializer_range": config.initializer_range,
        "pad_token_id": config.pad_token_id,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    if config.layout == "modernbert":
        return {**written, **_modernbert_to_hf(config)}
    if config.layout == "distilbert":
        return {
            **written,
            "activation": "gelu",
            "dropout": config.hidden_dropout_prob,
            "attention_dropout": config.attention_probs_dropout_prob,
        }
    # The library's defaults lie outside a smaller vocabulary.
    ends = dict.fromkeys(("bos_token_id", "eos_token_id")) if config.layout == "roberta" else {}
    return {
        **written,
        **({"position_embedding_type": "relative_key"} if relative else {}),
        "type_vocab_size": config.type_vocab_size,
        "layer_norm_eps": config.layer_norm_eps,
        "hidden_act": "gelu",
        "hidden_dropout_prob": config.hidden_dropout_prob,
        "attention_probs_dropout_prob": config.attention_probs_dropout_prob,
        **ends,
    }


_WRITTEN_LATER = ("type_vocab_size", "local_attention")


def _modernbert_to_hf(config: EncoderConfig) -> dict[str, Any]:
    written = {
        "norm_eps": config.layer_norm_eps,
        "global_attn_every_n_layers": config.global_attn_every_n_layers,
        "global_rope_theta": config.rope_theta,
        "embedding_dropout": config.hidden_dropout_prob,
        "mlp_dropout": config.hidden_dropout_prob,
        "attention_dropout": config.attention_probs_dropout_prob,
        "classifier_pooling": "cls",
        # The library's defaults lie outside a smaller vocabulary.
        **dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")),
    }
    if not all(config.are_global):
        written |= {
            "local_attention": config.local_attention,
            "local_rope_theta": config.local_rope_theta,
        }
    if config.layer_types is not None:
        written["layer_types"] = list(config.layer_types)
    biases = _KEYS["modernbert"].flags
    return written | {name: True for name in biases if getattr(config, name)}


def config_from_folder(folder: Path) -> EncoderConfig:
    """Read `config.json` of a model folder, ours or what `transformers` wrote.

    A key that is absent has the value that it has there. Raises `ClozeError` if the file is
    missing, is of a kind that Cloze does not compute, or does not fit the weights beside it;
    nothing of the size that it asks for is made before.
    """
    path = folder / "config.json"
    raw = read_config(folder)
    config = _config(raw, _model_type(raw, folder), path)
    shapes = weight_shapes(folder, config.layout)
    if shapes:
        check_encoder(config, shapes, folder)
    return config


def read_config(folder: Path) -> dict[str, Any]:
    """Return a model folder's `config.json` as it is.

    Raises `ClozeError` if there is no such folder, no such file or no object in it, and for a
    model that needs code of its own.
    """
    require_folder(folder)
    path = folder / "config.json"
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise ClozeError(f"{path}: holds no object of keys and values; fetch it again")
    if raw.get("auto_map"):
        raise ClozeError(
            f"{path}: auto_map names code of the folder's own, which Cloze never runs; it reads "
            f"{', '.join(_LAYOUT_OF)}, so choose one of those"
        )
    return raw


def require_folder(folder: Path) -> None:
    """Raise `ClozeError` if there is no such folder; a name on the hub is told how to write it."""
    if folder.is_dir():
        return
    source = hub_model(folder.as_posix())
    if source is not None and not Path(folder.parts[0]).exists():
        raise ClozeError(
            f"{folder}: no such folder; a model on the hub is fetched by config.yaml alone, as "
            f"encoders: {{mine: {{pretrained: {source}}}}} with the commit of the version, or "
            "download its files and name their folder"
        )
    raise ClozeError(f"{folder}: no such folder; name one with a config.json")


def check_encoder(
    config: EncoderConfig, shapes: Mapping[str, tuple[int, ...]], folder: Path
) -> None:
    """Raise `ClozeError` if weights of these shapes are not those of the encoder described."""
    layout, path = config.layout, folder / "config.json"
    layers = num_layers(shapes, layout)
    if layers != config.num_hidden_layers:
        raise ClozeError(
            f"{path}: num_hidden_layers {config.num_hidden_layers}, but the weights beside it have "
            f"{layers}; the two files do not belong together"
        )
    words = shapes.get(words_name(layout))
    if words is not None and words != (config.vocab_size, config.embedding_size):
        raise ClozeError(
            f"{path}: asks for {config.vocab_size} token embeddings of {config.embedding_size}, "
            f"the weights beside it have the shape {words}; the two files do not belong together"
        )
    with torch.device("meta"):
        encoder = nn.ModuleDict({"encoder": Encoder(config)})
    check_shapes(encoder, shapes, layout, folder)


def layout_of(raw: Mapping[str, Any], folder: Path) -> str:
    """Return the layout of a model by `model_type`, or else by what its files hold."""
    return _LAYOUT_OF[_model_type(raw, folder)]


def _model_type(raw: Mapping[str, Any], folder: Path) -> str:
    """Return the `model_type` of a model, or what its files hold where it has none."""
    path, kind = folder / "config.json", raw.get("model_type")
    if kind == _RELATIVE_KEY_BERT:
        return "bert"
    if isinstance(kind, str) and kind in _LAYOUT_OF:
        return kind
    if kind is not None:
        raise ClozeError(
            f"{path}: model_type {shortened(kind)} is not one Cloze reads; it reads "
            f"{', '.join(_LAYOUT_OF)}, so choose one of those"
        )
    guess, by = _guessed_type(raw, folder)
    if guess is None:
        raise ClozeError(
            f"{path}: has no model_type, and neither its keys nor the weights tell which; add one "
            f"of {', '.join(_LAYOUT_OF)}"
        )
    _say(f"{path}: has no model_type; read as {guess}, by {by}")
    return guess


def _guessed_type(raw: Mapping[str, Any], folder: Path) -> tuple[str | None, str]:
    """Return the `model_type` that a folder without one is likely to have, and what tells so."""
    name = architecture_of(raw) or ""
    # The longest name first: DistilBertModel is no BertModel.
    for kind, family in sorted(_FAMILIES.items(), key=lambda item: -len(item[1])):
        if re.fullmatch(rf"{family}(For\w+|Model)", name):
            return kind, "its architectures"
    if (layout := layout_of_weights(folder)) is not None:
        return layout, "the names of its weights"
    for key, kind in (
        ("n_layers", "distilbert"),
        ("global_attn_every_n_layers", "modernbert"),
        ("norm_eps", "modernbert"),
        ("embedding_size", "electra"),
    ):
        if key in raw:
            return kind, f"its key {key}"
    if "hidden_act" in raw or "layer_norm_eps" in raw:
        first_position = raw.get("pad_token_id") == 1 and raw.get("type_vocab_size") == 1
        return ("roberta" if first_position else "bert"), "its keys"
    return None, ""


@functools.cache
def _say(message: str) -> None:
    """Log a message once, however often a folder is read."""
    log.warning("warning: %s", message)


def _config(raw: Mapping[str, Any], model_type: str, path: Path) -> EncoderConfig:
    layout = _LAYOUT_OF[model_type]
    keys = _KEYS[layout]
    for key, value in keys.computed.items():
        if raw.get(key) not in (None, value):
            raise ClozeError(
                f"{path}: {key} {shortened(raw[key])} is not one Cloze computes; it knows {value}"
            )
    if raw.get("quantization_config"):
        raise ClozeError(
            f"{path}: quantization_config: the weights are quantised, which Cloze does not read; "
            "fetch the model in float32 or half precision"
        )
    values: dict[str, Any] = {
        name: _size(raw, _key_in(raw, name, key), default, path)
        for name, (key, default) in keys.sizes.items()
    }
    values |= {
        name: _number(raw, key, default, path) for name, (key, default) in keys.numbers.items()
    }
    values |= {
        name: _number(raw, _key_in(raw, name, key), default, path, largest=1)
        for name, (key, default) in keys.dropout.items()
    }
    values |= {name: _flag(raw, key, default, path) for name, (key, default) in keys.flags.items()}
    default_pad = 1 if LAYOUTS[layout].skips_padding_positions else 0
    values["pad_token_id"] = _size(raw, "pad_token_id", default_pad, path, smallest=0)
    if layout == "modernbert":
        values |= _attention_of_modernbert(raw, values["num_hidden_layers"], path)
    elif raw.get("position_embedding_type") is not None:
        values["position_embedding_type"] = raw["position_embedding_type"]
    try:
        return EncoderConfig(layout=layout, model_type=model_type, **values)
    except ClozeError as error:
        raise ClozeError(f"{path}: {error}") from error


def _key_in(raw: Mapping[str, Any], name: str, key: str) -> str:
    """Return the key that says a value: the layout's own or, where that is absent, BERT's."""
    return name if key not in raw and name in raw else key


def _size(raw: Mapping[str, Any], key: str, default: int, path: Path, smallest: int = 1) -> int:
    value = raw.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= _LARGEST:
        raise ClozeError(
            f"{path}: {key} {shortened(value)} is no whole number from {smallest} to {_LARGEST}; "
            "fetch the file again"
        )
    return value


def _number(
    raw: Mapping[str, Any], key: str, default: float, path: Path, largest: float = 1e12
) -> float:
    value = raw.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= largest:
        raise ClozeError(
            f"{path}: {key} {shortened(value)} is no number from 0 to {largest:g}; "
            "fetch the file again"
        )
    return float(value)


def _flag(raw: Mapping[str, Any], key: str, default: bool, path: Path) -> bool:
    value = raw.get(key, default)
    if not isinstance(value, bool):
        raise ClozeError(f"{path}: {key} {shortened(value)} is neither true nor false; mend it")
    return value


def _attention_of_modernbert(raw: Mapping[str, Any], num_layers: int, path: Path) -> dict[str, Any]:
    """Return which layers attend to a window alone, and both rotary bases.

    `transformers` 5 writes `layer_types` and `rope_parameters`, earlier versions
    `global_attn_every_n_layers`, `global_rope_theta` and `local_rope_theta`.
    """
    values = _bases_of_modernbert(raw, path)
    kinds = raw.get("layer_types")
    if kinds is None:
        values["global_attn_every_n_layers"] = _size(raw, "global_attn_every_n_layers", 3, path)
        return values
    known = isinstance(kinds, list) and all(kind in (GLOBAL, LOCAL) for kind in kinds)
    if not known or len(kinds) != num_layers:
        raise ClozeError(
            f"{path}: layer_types {shortened(kinds)} is no list of {GLOBAL} and {LOCAL}, one for "
            f"each of {num_layers} layers"
        )
    period = kinds[1:].index(GLOBAL) + 1 if GLOBAL in kinds[1:] else max(num_layers, 1)
    regular = [LOCAL if number % period else GLOBAL for number in range(num_layers)]
    if kinds == regular:
        return {**values, "global_attn_every_n_layers": period}
    return {**values, "layer_types": tuple(kinds)}


def _bases_of_modernbert(raw: Mapping[str, Any], path: Path) -> dict[str, Any]:
    parameters = raw.get("rope_parameters") or {}
    bases = []
    for kind, key, default in (
        (GLOBAL, "global_rope_theta", 160_000.0),
        (LOCAL, "local_rope_theta", 10_000.0),
    ):
        rotary = (parameters.get(kind) or {}) if isinstance(parameters, dict) else parameters
        if not isinstance(rotary, dict):
            raise ClozeError(
                f"{path}: rope_parameters {shortened(parameters)} holds no object; mend it"
            )
        if rotary.get("rope_type", "default") != "default":
            raise ClozeError(
                f"{path}: rope_type {shortened(rotary['rope_type'])} is not one Cloze computes; "
                "it knows default"
            )
        if "rope_theta" in rotary:
            bases.append(_number(rotary, "rope_theta", default, path))
        else:
            # Version 4 takes the base of global layers where that of local ones is null.
            is_null = key in raw and raw[key] is None and bases
            bases.append(bases[0] if is_null else _number(raw, key, default, path))
    return {"rope_theta": bases[0], "local_rope_theta": bases[1]}


def architecture_of(raw: Mapping[str, Any]) -> str | None:
    """Return the name of the class that wrote a `config.json`; None if it names none."""
    names = raw.get("architectures")
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None
