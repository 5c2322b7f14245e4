"""What a model folder holds beside its weights: `config.json` and the tokenizer's files."""

import shutil
from pathlib import Path
from typing import Any

from cloze.errors import ClozeError
from cloze.files import atomic_path, read_json, require_file
from cloze.model.encoder import EncoderConfig

# `transformers` 5 has no BERT with relative positions: by the name `bert` it would load
# the weights and read every text as if all its tokens stood in one place.
_RELATIVE_KEY_BERT = "bert_relative_key"

# What `transformers` takes for keys that a `config.json` leaves out.
_BERT_EPS = "layer_norm_eps"
_BERT_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    _BERT_EPS: 1e-12,
}
_MODERNBERT_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "intermediate_size": 1152,
    "max_position_embeddings": 8192,
    "initializer_range": 0.02,
    "norm_eps": 1e-5,
    "rope_theta": 160_000.0,
}
# What the encoder computes: any other value of these keys is another model.
_BERT_COMPUTED = {"hidden_act": "gelu", "is_decoder": False, "add_cross_attention": False}
_MODERNBERT_COMPUTED = {
    "hidden_activation": "gelu",
    "classifier_activation": "gelu",
    "norm_bias": False,
    "attention_bias": False,
    "mlp_bias": False,
    "classifier_bias": False,
    "decoder_bias": True,
}


def config_to_hf(config: EncoderConfig, architecture: str | None = None) -> dict[str, Any]:
    """Return the `config.json` that `transformers` reads for this encoder.

    architecture: the name of the class there, where the folder has weights.
    `position_embedding_type: relative_key` gets a `model_type` that no version knows, so
    its automatic classes refuse the folder; the weights have the names and the meaning
    of version 4's `BertModel`, which an explicit class of it still loads.
    """
    shape = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings,
        "initializer_range": config.initializer_range,
        "pad_token_id": config.pad_token_id,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    architectures = {"architectures": [architecture]} if architecture else {}
    if config.layout == "bert":
        relative = {"position_embedding_type": "relative_key"}
        return {
            "model_type": _RELATIVE_KEY_BERT if config.has_relative_positions else "bert",
            **architectures,
            **shape,
            **(relative if config.has_relative_positions else {}),
            "type_vocab_size": config.type_vocab_size,
            "layer_norm_eps": config.layer_norm_eps,
            "hidden_act": "gelu",
            "hidden_dropout_prob": config.hidden_dropout_prob,
            "attention_probs_dropout_prob": config.attention_probs_dropout_prob,
        }
    return {
        "model_type": "modernbert",
        **architectures,
        **shape,
        "norm_eps": config.layer_norm_eps,
        "global_attn_every_n_layers": 1,
        "global_rope_theta": config.rope_theta,
        "embedding_dropout": config.hidden_dropout_prob,
        "mlp_dropout": config.hidden_dropout_prob,
        "attention_dropout": config.attention_probs_dropout_prob,
        "classifier_pooling": "cls",
        # The library's defaults lie outside a smaller vocabulary.
        **dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")),
    }


def config_from_folder(folder: Path) -> EncoderConfig:
    """Read `config.json` of a model folder, ours or what `transformers` wrote.

    A key that is absent has the value that it has there. Raises `ClozeError` if the file
    is missing or describes a model that is neither BERT nor a ModernBERT with global
    attention in every layer.
    """
    path = folder / "config.json"
    raw = read_json(path)
    layout = raw.get("model_type")
    if layout not in ("bert", _RELATIVE_KEY_BERT, "modernbert"):
        raise ClozeError(
            f"{path}: model_type {layout!r} is not one Cloze reads (bert, or modernbert with "
            "global attention in every layer)"
        )
    computed = _MODERNBERT_COMPUTED if layout == "modernbert" else _BERT_COMPUTED
    for key, value in computed.items():
        if raw.get(key, value) != value:
            raise ClozeError(
                f"{path}: {key} {raw[key]!r} is not one Cloze computes; it knows {value}"
            )
    try:
        if layout == "modernbert":
            raw = {**raw, **_attention_of_modernbert(raw, path)}
        defaults = _MODERNBERT_DEFAULTS if layout == "modernbert" else _BERT_DEFAULTS
        shape = {key: raw.get(key, value) for key, value in defaults.items()}
        position_type = raw.get("position_embedding_type", "absolute")
        return EncoderConfig(
            layout="modernbert" if layout == "modernbert" else "bert",
            vocab_size=int(raw["vocab_size"]),
            pad_token_id=int(raw.get("pad_token_id") or 0),
            layer_norm_eps=float(shape.pop("norm_eps" if layout == "modernbert" else _BERT_EPS)),
            position_embedding_type=position_type if layout != "modernbert" else "absolute",
            **shape,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ClozeError(f"{path}: key {error} is missing or of a wrong type") from error


def _attention_of_modernbert(raw: dict[str, Any], path: Path) -> dict[str, float]:
    """Return the rotary base; raises `ClozeError` if a layer attends to a window alone.

    `transformers` 5 writes `layer_types` and `rope_parameters`, earlier versions
    `global_attn_every_n_layers` and `global_rope_theta`.
    """
    if "layer_types" in raw:
        is_global = set(raw["layer_types"]) == {"full_attention"}
    else:
        is_global = raw.get("global_attn_every_n_layers", 3) == 1
    if not is_global:
        raise ClozeError(
            f"{path}: some layers attend to a window of neighbours alone; Cloze computes "
            "modernbert with global attention in every layer, so choose another model"
        )
    rotary = (raw.get("rope_parameters") or {}).get("full_attention", {})
    if rotary.get("rope_type", "default") != "default":
        raise ClozeError(
            f"{path}: rope_type {rotary['rope_type']!r} is not one Cloze computes; it knows default"
        )
    theta = rotary.get("rope_theta", raw.get("global_rope_theta", 160_000.0))
    return {"rope_theta": float(theta)}


def classifier_pooling(folder: Path) -> str:
    """Return what the classifier of a model folder pools: `cls` or `mean`.

    `transformers` takes `cls` where `config.json` does not say. Raises `ClozeError` for a
    pooling that it does not know either.
    """
    path = folder / "config.json"
    pooling = read_json(path).get("classifier_pooling", "cls")
    if pooling not in ("cls", "mean"):
        raise ClozeError(f"{path}: classifier_pooling {pooling!r} is unknown; use cls or mean")
    return str(pooling)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy `tokenizer.json` and, where there is one, `tokenizer_config.json` into `folder`."""
    require_file(source / "tokenizer.json")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (source / name).is_file():
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(source / name, temporary)
