"""Model folders: our weights under the names and configuration that `transformers` reads."""

from pathlib import Path
from typing import Protocol

from safetensors.torch import save_file
from torch import Tensor, nn

from cloze.errors import ClozeError
from cloze.files import atomic_path, read_json, require_file, write_json
from cloze.model.checkpoints import load_safetensors
from cloze.model.encoder import Encoder, EncoderConfig
from cloze.model.heads import MaskedLM, MaskedLMWithNextSentence, SequenceClassifier
from cloze.model.hf_config import (
    classifier_pooling,
    config_from_folder,
    config_to_hf,
    copy_tokenizer,
)
from cloze.model.hf_names import export_state, import_state

SavedModel = MaskedLM | MaskedLMWithNextSentence | SequenceClassifier | Encoder

_ARCHITECTURES = {
    MaskedLM: "ForMaskedLM",
    MaskedLMWithNextSentence: "ForPreTraining",
    SequenceClassifier: "ForSequenceClassification",
    Encoder: "Model",
}
_FAMILIES = {"bert": "Bert", "modernbert": "ModernBert"}


class _HasEncoder(Protocol):
    @property
    def encoder(self) -> Encoder: ...


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Read `model.safetensors` of a model folder; raises `ClozeError` if it is broken."""
    return load_safetensors(require_file(folder / "model.safetensors"))


def load_masked_lm(folder: Path) -> MaskedLM:
    """Load a model folder with a masked-language-modelling head, whatever else it has."""
    model = MaskedLM(config_from_folder(folder))
    _fill(model, model.config, folder)
    return model


def load_masked_lm_with_next_sentence(folder: Path) -> MaskedLMWithNextSentence:
    """Load a model folder with both heads of BERT's pretraining."""
    model = MaskedLMWithNextSentence(config_from_folder(folder))
    _fill(model, model.config, folder)
    return model


def load_encoder(folder: Path) -> Encoder:
    """Load the encoder of a model folder with any head."""
    encoder = Encoder(config_from_folder(folder))
    _fill(nn.ModuleDict({"encoder": encoder}), encoder.config, folder)
    return encoder


def load_encoder_into(model: _HasEncoder, folder: Path) -> None:
    """Fill `model.encoder` from a model folder; whatever head the folder has is left out.

    Raises `ClozeError` if the folder's encoder has another shape.
    """
    _fill(nn.ModuleDict({"encoder": model.encoder}), model.encoder.config, folder)


def load_classifier(folder: Path) -> tuple[SequenceClassifier, list[str]]:
    """Load a fine-tuned model folder; returns the model and its label names in order.

    A regression has one label.
    """
    labels = read_json(folder / "config.json").get("id2label")
    if not labels:
        raise ClozeError(f"{folder / 'config.json'}: has no id2label; fine-tune the model first")
    names = [labels[str(index)] for index in range(len(labels))]
    model = SequenceClassifier(
        config_from_folder(folder), num_labels=len(names), pooling=classifier_pooling(folder)
    )
    _fill(model, model.config, folder)
    return model, names


def _fill(model: nn.Module, config: EncoderConfig, folder: Path) -> None:
    import_state(model, load_weights(folder), config.layout, folder / "model.safetensors")


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
    if labels is not None:
        hf_config["id2label"] = {str(index): name for index, name in enumerate(labels)}
        hf_config["label2id"] = {name: index for index, name in enumerate(labels)}
        if len(labels) == 1:
            hf_config["problem_type"] = "regression"
    write_json(folder / "config.json", hf_config)
    copy_tokenizer(tokenizer_folder, folder)
    with atomic_path(folder / "model.safetensors") as temporary:
        named = nn.ModuleDict({"encoder": model}) if isinstance(model, Encoder) else model
        state = export_state(named, model.config.layout)
        save_file(state, temporary, metadata={"format": "pt"})
