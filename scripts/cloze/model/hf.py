"""Model folders as `transformers` reads and writes them: configuration, weights, tokenizer.

How the weights are called and stored is in `weights`.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import nn

from cloze.errors import ClozeError
from cloze.files import atomic_path, read_json, require_file, write_json
from cloze.model.encoder import Encoder, EncoderConfig
from cloze.model.heads import (
    MaskedLM,
    MaskedLMWithNextSentence,
    QuestionAnswerer,
    SequenceClassifier,
    TokenClassifier,
)
from cloze.model.pooling import Pooling, SentenceEncoder, read_pooling, write_pooling
from cloze.model.weights import (
    export_state,
    has_tied_masked_lm_head,
    hf_names,
    import_state,
    read_weights,
)
from cloze.tokens.tokenizer import (
    bert_normalizer,
    bert_tokenizer,
    load_tokenizer,
    read_vocab,
    special_ids,
    vocab_size,
    write_tokenizer_config,
)

ModelWithHeads = (
    MaskedLM
    | MaskedLMWithNextSentence
    | SequenceClassifier
    | TokenClassifier
    | QuestionAnswerer
    | SentenceEncoder
)
SavedModel = ModelWithHeads | Encoder
_Model = TypeVar("_Model", bound=SavedModel)

_ARCHITECTURES = {
    MaskedLM: "ForMaskedLM",
    MaskedLMWithNextSentence: "ForPreTraining",
    SequenceClassifier: "ForSequenceClassification",
    TokenClassifier: "ForTokenClassification",
    QuestionAnswerer: "ForQuestionAnswering",
    Encoder: "Model",
    SentenceEncoder: "Model",
}
_MULTI_LABEL, _LABEL_THRESHOLD = "multi_label_classification", "label_threshold"
# The name that it has in `run_qa.py` of `transformers`, which keeps what it does not know.
_NULL_THRESHOLD = "null_score_diff_threshold"
_FAMILIES = {"bert": "Bert", "modernbert": "ModernBert"}

# What BERT's own vocabularies were made for.
_MAX_INPUT_CHARS_PER_WORD = 100

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


def load_masked_lm(folder: Path) -> MaskedLM:
    """Load a model folder with a masked-language-modelling head, whatever else it has."""
    return _filled(MaskedLM(config_from_folder(folder)), folder)


def load_masked_lm_with_next_sentence(folder: Path) -> MaskedLMWithNextSentence:
    """Load a model folder with both heads of BERT's pretraining."""
    return _filled(MaskedLMWithNextSentence(config_from_folder(folder)), folder)


def load_encoder(folder: Path) -> Encoder:
    """Load the encoder of a model folder with any head."""
    return _filled(Encoder(config_from_folder(folder)), folder)


def load_classifier(folder: Path) -> tuple[SequenceClassifier, list[str]]:
    """Load a fine-tuned model folder; returns the model and its label names in order.

    A regression has one label.
    """
    names = label_names(folder)
    if not names:
        raise ClozeError(f"{folder / 'config.json'}: has no id2label; fine-tune the model first")
    model = SequenceClassifier(
        config_from_folder(folder), num_labels=len(names), pooling=classifier_pooling(folder)
    )
    config = read_json(folder / "config.json")
    if config.get("problem_type") == _MULTI_LABEL:
        model.label_threshold = float(config.get(_LABEL_THRESHOLD, 0.5))
    return _filled(model, folder), names


def load_token_classifier(folder: Path) -> tuple[TokenClassifier, list[str]]:
    """Load a model fine-tuned on tagged words; returns it and its label names in order."""
    names = label_names(folder)
    if not names:
        raise ClozeError(f"{folder / 'config.json'}: has no id2label; fine-tune the model first")
    return _filled(TokenClassifier(config_from_folder(folder), len(names)), folder), names


def load_question_answerer(folder: Path) -> QuestionAnswerer:
    """Load a model fine-tuned to find answers, with its threshold for giving none."""
    model = _filled(QuestionAnswerer(config_from_folder(folder)), folder)
    threshold = read_json(folder / "config.json").get(_NULL_THRESHOLD)
    model.null_threshold = None if threshold is None else float(threshold)
    return model


def load_sentence_encoder(folder: Path, pooling: Pooling | None = None) -> SentenceEncoder:
    """Load an encoder that gives vectors, pooled as given or else as the folder says.

    Raises `ClozeError` if neither says how.
    """
    pooling = pooling or read_pooling(folder)
    if pooling is None:
        raise ClozeError(
            f"{folder}: has no modules.json, which says how texts become vectors; fine-tune the "
            "encoder on a task of sentence_similarity, with num_train_epochs 0 to leave it as it is"
        )
    return _filled(SentenceEncoder(config_from_folder(folder), pooling), folder)


class LoadedParts(NamedTuple):
    """Which weights of a model's heads came from a folder and which were drawn anew.

    Names as in `transformers`, without the encoder's.
    """

    loaded: list[str]
    drawn: list[str]

    def __str__(self) -> str:
        parts = (("loaded", self.loaded), ("drawn anew", self.drawn))
        said = [
            f"{how}: {', '.join(dict.fromkeys(name.rpartition('.')[0] for name in names))}"
            for how, names in parts
            if names
        ]
        return "; ".join(said) or "no head"


def load_matching(
    model: ModelWithHeads,
    folder: Path,
    *,
    labels: Sequence[str] | None = None,
    reset_heads: bool = False,
) -> LoadedParts:
    """Fill `model` from a model folder: its encoder, and its heads wherever they match.

    As `from_pretrained` of `transformers`: weights of a head are loaded if the folder has
    some of the same name and shape, and stay as drawn if not. The last layer of a classifier
    must have been trained for the same `labels`, too: names in order.

    reset_heads: leave all heads as drawn. Raises `ClozeError` if the folder's encoder is
    absent or has another shape.
    """
    layout = model.config.layout
    weights = read_weights(folder, layout)
    import_state(_below_a_head(model.encoder), weights, layout, folder)
    same_labels = labels is not None and list(labels) == label_names(folder)
    parts = LoadedParts([], [])
    for name, parameter in model.named_parameters():
        if name.removeprefix("masked_lm.").startswith("encoder."):
            continue
        (foreign,) = hf_names(name, layout)
        has_it = foreign in weights and weights[foreign].shape == parameter.shape
        if reset_heads or not has_it or (name.startswith("classifier.") and not same_labels):
            parts.drawn.append(foreign)
        else:
            parameter.data.copy_(weights[foreign])
            parts.loaded.append(foreign)
    return parts


def label_names(folder: Path) -> list[str]:
    """Return the names of a model folder's labels in order; none if it has no classifier."""
    labels = read_json(folder / "config.json").get("id2label") or {}
    return [labels[str(index)] for index in range(len(labels))]


def _filled(model: _Model, folder: Path) -> _Model:
    layout = model.config.layout
    import_state(_below_a_head(model), read_weights(folder, layout), layout, folder)
    return model


def _below_a_head(model: SavedModel) -> nn.Module:
    """Return a module whose parameters have the names that they have in a model with a head."""
    return nn.ModuleDict({"encoder": model}) if isinstance(model, Encoder) else model


def save_model(
    folder: Path, model: SavedModel, tokenizer_folder: Path, labels: list[str] | None = None
) -> None:
    """Write weights, `config.json` and the tokenizer's files into `folder`, each atomically.

    labels: the names of a classifier's labels in order. One label is a regression, and
    `config.json` says so.
    """
    architecture = _FAMILIES[model.config.layout] + _ARCHITECTURES[type(model)]
    hf_config = config_to_hf(model.config, architecture)
    if isinstance(model, SequenceClassifier) and model.config.layout == "modernbert":
        hf_config["classifier_pooling"] = model.pooling
    if isinstance(model, QuestionAnswerer) and model.null_threshold is not None:
        hf_config[_NULL_THRESHOLD] = model.null_threshold
    if labels is not None:
        hf_config["id2label"] = {str(index): name for index, name in enumerate(labels)}
        hf_config["label2id"] = {name: index for index, name in enumerate(labels)}
        if isinstance(model, SequenceClassifier) and model.label_threshold is not None:
            hf_config["problem_type"] = _MULTI_LABEL
            hf_config[_LABEL_THRESHOLD] = model.label_threshold
        elif len(labels) == 1 and isinstance(model, SequenceClassifier):
            hf_config["problem_type"] = "regression"
    write_json(folder / "config.json", hf_config)
    copy_tokenizer(tokenizer_folder, folder)
    with atomic_path(folder / "model.safetensors") as temporary:
        state = export_state(_below_a_head(model), model.config.layout)
        save_file(state, temporary, metadata={"format": "pt"})
    if isinstance(model, SentenceEncoder):
        write_pooling(folder, model.pooling, model.config)


class Imported(NamedTuple):
    """A model read from a folder; `unused` names the weights that it has no place for."""

    model: MaskedLM | MaskedLMWithNextSentence | Encoder
    unused: list[str]


def import_model(folder: Path, *, unpickle: bool = False) -> Imported:
    """Read a BERT or ModernBERT folder that `transformers` wrote, whatever its head.

    With a masked-language head tied to the embeddings it is a `MaskedLM`, with BERT's
    pooler and next-sentence head beside it a `MaskedLMWithNextSentence`, else the encoder
    alone. Raises `ClozeError` for a model of another kind and for weights that are missing,
    misshapen or not safe to read (see `read_weights`).
    """
    config = config_from_folder(folder)
    weights = read_weights(folder, config.layout, unpickle=unpickle)
    model: MaskedLM | MaskedLMWithNextSentence | Encoder
    if not has_tied_masked_lm_head(weights, config.layout):
        model = Encoder(config)
    elif {"bert.pooler.dense.weight", "cls.seq_relationship.weight"} <= weights.keys():
        model = MaskedLMWithNextSentence(config)
    else:
        model = MaskedLM(config)
    used = import_state(_below_a_head(model), weights, config.layout, folder)
    return Imported(model, sorted(weights.keys() - used))


def import_tokenizer(folder: Path, output: Path, entries: int) -> None:
    """Write a foreign folder's tokenizer as `tokenizer.json` and `tokenizer_config.json`.

    A `tokenizer.json` is copied; around a `vocab.txt` BERT's pipeline is built, with the
    choices of `tokenizer_config.json`. Raises `ClozeError` if there is neither, if a
    special token is missing or if the encoder has fewer than its `entries`.
    """
    if (folder / "tokenizer.json").is_file():
        tokenizer = load_tokenizer(folder / "tokenizer.json")
        with atomic_path(output / "tokenizer.json") as temporary:
            shutil.copyfile(folder / "tokenizer.json", temporary)
    elif (folder / "vocab.txt").is_file():
        tokenizer = _tokenizer_of_vocab(folder)
        with atomic_path(output / "tokenizer.json") as temporary:
            tokenizer.save(str(temporary))
    else:
        raise ClozeError(f"{folder}: has neither tokenizer.json nor vocab.txt; add one of them")
    special_ids(tokenizer)
    if vocab_size(tokenizer) > entries:
        raise ClozeError(
            f"{folder}: the tokenizer has {vocab_size(tokenizer)} entries, the encoder {entries}; "
            "they do not belong together"
        )
    write_tokenizer_config(output / "tokenizer_config.json", tokenizer)


def _tokenizer_of_vocab(folder: Path) -> Tokenizer:
    path = folder / "tokenizer_config.json"
    settings: dict[str, Any] = read_json(path) if path.is_file() else {}
    lowercase = bool(settings.get("do_lower_case", True))
    strip_accents = settings.get("strip_accents")
    normalizer = bert_normalizer(
        lowercase=lowercase,
        # Unset, BERT strips accents where it lowercases.
        strip_accents=lowercase if strip_accents is None else bool(strip_accents),
        clean_text=True,
    )
    return bert_tokenizer(read_vocab(folder / "vocab.txt"), normalizer, _MAX_INPUT_CHARS_PER_WORD)
