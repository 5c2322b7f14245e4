"""What a model folder holds beside its weights: `config.json` and the tokenizer's files."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from cloze.encoder.config import EncoderConfig
from cloze.errors import ClozeError
from cloze.files import atomic_path, read_json, require_file

# `transformers` 5 has no BERT with relative positions: by the name `bert` it would load
# the weights and read every text as if all its tokens stood in one place.
_RELATIVE_KEY_BERT = "bert_relative_key"


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
    """Read `config.json` of a model folder.

    Raises `ClozeError` if the file is missing or describes a model that is neither
    BERT nor a ModernBERT with global attention in every layer.
    """
    path = folder / "config.json"
    raw = read_json(path)
    layout = raw.get("model_type")
    try:
        shape = {
            field.name: raw[field.name]
            for field in dataclasses.fields(EncoderConfig)
            if field.name in raw and not field.name.endswith("dropout_prob")
        }
        if layout in ("bert", _RELATIVE_KEY_BERT):
            _check_activation(raw, "hidden_act", path)
            return EncoderConfig(layout="bert", **shape)
        if layout == "modernbert" and raw.get("global_attn_every_n_layers") == 1:
            _check_activation(raw, "hidden_activation", path)
            rotary = float(raw["global_rope_theta"])
            return EncoderConfig(
                layout="modernbert", layer_norm_eps=raw["norm_eps"], rope_theta=rotary, **shape
            )
    except (KeyError, TypeError) as error:
        raise ClozeError(f"{path}: key {error} is missing or of a wrong type") from error
    raise ClozeError(
        f"{path}: model_type {layout!r} is not one Cloze reads "
        "(bert, or modernbert with global attention in every layer)"
    )


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


def _check_activation(raw: dict[str, Any], key: str, path: Path) -> None:
    if (activation := raw.get(key, "gelu")) != "gelu":
        raise ClozeError(f"{path}: {key} {activation!r} is not one Cloze computes; it knows gelu")


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy `tokenizer.json` and, where there is one, `tokenizer_config.json` into `folder`."""
    require_file(source / "tokenizer.json")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (source / name).is_file():
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(source / name, temporary)
