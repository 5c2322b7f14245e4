"""Model folders: our weights under the names and configuration that `transformers` reads."""

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cloze.encoder.model import EncoderConfig, MaskedLM, SequenceClassifier
from cloze.errors import ClozeError
from cloze.files import atomic_path, read_json, require_file, write_json

_BERT_NAMES = (
    (r"encoder\.token_embedding", "bert.embeddings.word_embeddings"),
    (r"encoder\.position_embedding", "bert.embeddings.position_embeddings"),
    (r"encoder\.token_type_embedding", "bert.embeddings.token_type_embeddings"),
    (r"encoder\.embedding_norm", "bert.embeddings.LayerNorm"),
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
    if layout == "bert" and (match := _BERT_QKV.fullmatch(name)):
        prefix = f"bert.encoder.layer.{match[1]}.attention.self"
        return [f"{prefix}.{part}.{match[2]}" for part in ("query", "key", "value")]
    for pattern, replacement in _BERT_NAMES if layout == "bert" else _MODERNBERT_NAMES:
        renamed, count = re.subn(rf"^(?:{pattern})(?=\.|$)", replacement, name)
        if count:
            return [renamed]
    return [name]


def export_state(model: MaskedLM | SequenceClassifier) -> dict[str, Tensor]:
    """Return the model's weights, float32 on the CPU, under `transformers` names."""
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        names = _foreign_names(name, model.config.layout)
        for foreign, part in zip(names, value.detach().cpu().chunk(len(names)), strict=True):
            state[foreign] = part.contiguous().clone()
    return state


def import_state(model: nn.Module, state: dict[str, Tensor], layout: str, origin: Path) -> None:
    """Fill every parameter of `model` from a checkpoint with `transformers` names.

    Raises `ClozeError` naming `origin` and the parameter that is absent or misshapen.
    """
    ours: dict[str, Tensor] = {}
    for name, parameter in model.state_dict().items():
        names = _foreign_names(name, layout)
        absent = [foreign for foreign in names if foreign not in state]
        if absent:
            raise ClozeError(
                f"{origin}: has no weight {absent[0]!r}; is it a model of this layout?"
            )
        value = torch.cat([state[foreign] for foreign in names])
        if value.shape != parameter.shape:
            raise ClozeError(
                f"{origin}: {names[0]} has shape {tuple(value.shape)}, "
                f"config.json asks for {tuple(parameter.shape)}"
            )
        ours[name] = value
    model.load_state_dict(ours)


def config_to_hf(config: EncoderConfig, model: nn.Module | None = None) -> dict[str, Any]:
    """Return the `config.json` that `transformers` reads for this encoder."""
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
    heads = {
        "bert": "BertForMaskedLM",
        "modernbert": "ModernBertForMaskedLM",
    }
    if isinstance(model, SequenceClassifier):
        heads = {
            key: name.replace("MaskedLM", "SequenceClassification") for key, name in heads.items()
        }
    architecture = {"architectures": [heads[config.layout]]} if model is not None else {}
    if config.layout == "bert":
        return {
            "model_type": "bert",
            **architecture,
            **shape,
            "type_vocab_size": config.type_vocab_size,
            "layer_norm_eps": config.layer_norm_eps,
            "hidden_act": "gelu",
            "hidden_dropout_prob": config.hidden_dropout_prob,
            "attention_probs_dropout_prob": config.attention_probs_dropout_prob,
        }
    return {
        "model_type": "modernbert",
        **architecture,
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
        if layout == "bert":
            return EncoderConfig(layout="bert", **shape)
        if layout == "modernbert" and raw.get("global_attn_every_n_layers") == 1:
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


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Read `model.safetensors` of a model folder; raises `ClozeError` if it is broken."""
    path = require_file(folder / "model.safetensors")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ClozeError(
            f"{path}: cannot be read as safetensors ({error}); make it again"
        ) from error


def load_masked_lm(folder: Path) -> MaskedLM:
    """Load a model folder with a masked-language-modelling head."""
    model = MaskedLM(config_from_folder(folder))
    import_state(model, load_weights(folder), model.config.layout, folder / "model.safetensors")
    return model


def load_encoder_into(model: MaskedLM | SequenceClassifier, folder: Path) -> None:
    """Fill `model.encoder` from a model folder; whatever head the folder has is left out.

    Raises `ClozeError` if the folder's encoder has another shape.
    """
    prefixed = nn.ModuleDict({"encoder": model.encoder})
    import_state(prefixed, load_weights(folder), model.config.layout, folder / "model.safetensors")


def load_classifier(folder: Path) -> tuple[SequenceClassifier, list[str]]:
    """Load a fine-tuned model folder; returns the model and its label names in order."""
    labels = read_json(folder / "config.json").get("id2label")
    if not labels:
        raise ClozeError(f"{folder / 'config.json'}: has no id2label; fine-tune the model first")
    names = [labels[str(index)] for index in range(len(labels))]
    model = SequenceClassifier(config_from_folder(folder), num_labels=len(names))
    import_state(model, load_weights(folder), model.config.layout, folder / "model.safetensors")
    return model, names


def save_model(
    folder: Path,
    model: MaskedLM | SequenceClassifier,
    tokenizer_folder: Path,
    labels: list[str] | None = None,
) -> None:
    """Write weights, `config.json` and the tokenizer's files into `folder`, each atomically."""
    hf_config = config_to_hf(model.config, model)
    if labels is not None:
        hf_config["id2label"] = {str(index): name for index, name in enumerate(labels)}
        hf_config["label2id"] = {name: index for index, name in enumerate(labels)}
    write_json(folder / "config.json", hf_config)
    copy_tokenizer(tokenizer_folder, folder)
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file(export_state(model), temporary, metadata={"format": "pt"})


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy `tokenizer.json` and, where there is one, `tokenizer_config.json` into `folder`."""
    require_file(source / "tokenizer.json")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (source / name).is_file():
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(source / name, temporary)
