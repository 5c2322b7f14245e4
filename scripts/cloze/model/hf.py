"""Model folders as `transformers` reads and writes them: configuration, weights, tokenizer.

How the weights are called and stored is in `weights`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.files import atomic_path, write_json
from cloze.model.encoder import Encoder, EncoderConfig
from cloze.model.heads import (
    MaskedLM,
    MaskedLMWithNextSentence,
    QuestionAnswerer,
    SequenceClassifier,
    TokenClassifier,
)
from cloze.model.hf_config import check_encoder, config_from_folder, config_to_hf, read_config
from cloze.model.hf_heads import (
    MULTI_LABEL,
    REGRESSION,
    classifier_pooling,
    label_names,
    problem_type,
)
from cloze.model.pooling import Pooling, SentenceEncoder, read_pooling, write_pooling
from cloze.model.positions import Extension
from cloze.model.weights import (
    export_state,
    has_masked_lm_head,
    has_tied_masked_lm_head,
    hf_names,
    import_state,
    read_weights,
    write_tensors,
)
from cloze.tokens.tokenizer_folder import copy_tokenizer

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

_HEADS = {
    MaskedLM: "ForMaskedLM",
    MaskedLMWithNextSentence: "ForPreTraining",
    SequenceClassifier: "ForSequenceClassification",
    TokenClassifier: "ForTokenClassification",
    QuestionAnswerer: "ForQuestionAnswering",
    Encoder: "Model",
    SentenceEncoder: "Model",
}
# Parts of heads that mean something only for the same labels, or with the embeddings as decoder.
_CLASSIFIERS, _TIED = (
    ("classifier", "token_classifier"),
    ("head_dense", "head_norm", "decoder_bias"),
)
_LABEL_THRESHOLD = "label_threshold"
# The name that it has in `run_qa.py` of `transformers`, which keeps what it does not know.
_NULL_THRESHOLD = "null_score_diff_threshold"


def load_masked_lm(folder: Path) -> MaskedLM:
    """Load a model folder with a masked-language-modelling head, whatever else it has."""
    return _filled(MaskedLM, folder)


def load_masked_lm_with_next_sentence(folder: Path) -> MaskedLMWithNextSentence:
    """Load a model folder with both heads of BERT's pretraining."""
    return _filled(MaskedLMWithNextSentence, folder)


def load_encoder(folder: Path) -> Encoder:
    """Load the encoder of a model folder with any head."""
    return _filled(Encoder, folder)


def load_classifier(folder: Path) -> tuple[SequenceClassifier, list[str]]:
    """Load a fine-tuned model folder; returns the model and its label names in order.

    A regression has one label.
    """
    names = _label_names(folder)
    pooling, problem = classifier_pooling(folder), problem_type(folder, len(names))
    model = _filled(
        lambda config: SequenceClassifier(config, num_labels=len(names), pooling=pooling), folder
    )
    if problem == MULTI_LABEL:
        threshold = read_config(folder).get(_LABEL_THRESHOLD, 0.5)
        model.label_threshold = _as_number(threshold, folder, _LABEL_THRESHOLD)
    return model, names


def load_token_classifier(folder: Path) -> tuple[TokenClassifier, list[str]]:
    """Load a model fine-tuned on tagged words; returns it and its label names in order."""
    names = _label_names(folder)
    return _filled(lambda config: TokenClassifier(config, len(names)), folder), names


def _label_names(folder: Path) -> list[str]:
    names = label_names(folder)
    if not names:
        raise ClozeError(
            f"{folder / 'config.json'}: has no id2label, and the weights beside it no classifier; "
            "fine-tune the model first"
        )
    return names


def load_question_answerer(folder: Path) -> QuestionAnswerer:
    """Load a model fine-tuned to find answers, with its threshold for giving none."""
    model = _filled(QuestionAnswerer, folder)
    threshold = read_config(folder).get(_NULL_THRESHOLD)
    if threshold is not None:
        model.null_threshold = _as_number(threshold, folder, _NULL_THRESHOLD)
    return model


def _as_number(value: Any, folder: Path, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClozeError(f"{folder / 'config.json'}: {key} {value!r} is no number; mend it")
    return float(value)


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
    return _filled(lambda config: SentenceEncoder(config, pooling), folder)


class LoadedParts(NamedTuple):
    """Which weights of a model's heads came from a folder and which were drawn anew.

    Names as in `transformers`, without the encoder's.
    """

    loaded: list[str]
    drawn: list[str]
    has_classifier: bool = False
    """Whether the last layer of a classifier is the folder's."""

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
    extension: Extension | None = None,
    has_new_tokens: bool = False,
) -> LoadedParts:
    """Fill `model` from a model folder: its encoder, and its heads wherever they match.

    As `from_pretrained` of `transformers`: weights of a head are loaded if the folder has
    some of the same name and shape, and stay as drawn if not. The last layer of a classifier
    must have been trained for the same `labels`, too: names in order.

    A masked-language head whose decoder is not the token embeddings has no place here and stays
    as drawn. reset_heads: leave all heads as drawn. extension: the model has the folder's shape
    with positions for longer texts. has_new_tokens: the model may have more tokens than the
    folder, after those; theirs stay as drawn. Raises `ClozeError` if the folder's encoder is
    absent or has another shape.
    """
    layout, theirs = model.config.layout, config_from_folder(folder)
    weights = read_weights(folder, layout)
    if extension is None:
        _check_same_numbers(model.config, theirs, folder)
    else:
        weights = extension.weights(weights, theirs)
    if has_new_tokens:
        _add_new_tokens(weights, model)
    import_state(_below_a_head(model.encoder), weights, layout, folder)
    same_labels = labels is not None and list(labels) == label_names(folder)
    is_untied = (
        isinstance(model, MaskedLM | MaskedLMWithNextSentence)
        and has_masked_lm_head(weights, layout)
        and not has_tied_masked_lm_head(weights, layout)
    )
    parts, has_classifier = LoadedParts([], []), False
    for name, parameter in model.named_parameters():
        part = name.removeprefix("masked_lm.").partition(".")[0]
        if part == "encoder":
            continue
        (foreign,) = hf_names(name, layout)
        has_it = foreign in weights and weights[foreign].shape == parameter.shape
        is_other = (part in _CLASSIFIERS and not same_labels) or (part in _TIED and is_untied)
        if reset_heads or not has_it or is_other:
            parts.drawn.append(foreign)
        else:
            parameter.data.copy_(weights[foreign])
            parts.loaded.append(foreign)
            has_classifier = has_classifier or part in _CLASSIFIERS
    return parts._replace(has_classifier=has_classifier)


def _add_new_tokens(weights: dict[str, Tensor], model: ModelWithHeads) -> None:
    """Append the model's own values for the tokens that a folder's weights have none for."""
    for name, parameter in model.named_parameters():
        (foreign, *_) = hf_names(name, model.config.layout)
        if name.endswith(("token_embedding.weight", "decoder_bias")) and foreign in weights:
            known = weights[foreign]
            weights[foreign] = torch.cat([known, parameter.data[len(known) :]])


def _check_same_numbers(ours: EncoderConfig, theirs: EncoderConfig, folder: Path) -> None:
    """Raise `ClozeError` if weights of the same shapes would be computed with in another way.

    Rotary bases and the width of windows may be changed on purpose, for longer texts.
    """
    for name, what in (
        ("layout", "layout"),
        ("num_attention_heads", "num_attention_heads"),
        ("are_global", "global layers (global_attn_every_n_layers)"),
    ):
        wanted, found = getattr(ours, name), getattr(theirs, name)
        if wanted != found:
            raise ClozeError(
                f"{folder}: its encoder has {what} {found}, the one to fill {wanted}; give the "
                "architecture the same"
            )
    if ours.facts.is_pre_norm:
        rotary = ["rope_theta"]
        rotary += [] if all(ours.are_global) else ["local_rope_theta", "local_attention"]
        for name in rotary:
            wanted, found = getattr(ours, name), getattr(theirs, name)
            if wanted != found:
                log.warning(
                    "warning: %s was trained with %s %s and goes on with %s", folder, name, found,
                    wanted,
                )  # fmt: skip


def _filled(build: Callable[[EncoderConfig], _Model], folder: Path) -> _Model:
    """Return a model of a folder's shape with its weights, which are read and compared first."""
    config = config_from_folder(folder)
    weights = read_weights(folder, config.layout)
    model = build(config)
    import_state(_below_a_head(model), weights, config.layout, folder)
    if isinstance(model, MaskedLM | MaskedLMWithNextSentence) and not has_tied_masked_lm_head(
        weights, config.layout
    ):
        raise ClozeError(
            f"{folder}: the decoder of its masked-language head is not the token embeddings; Cloze "
            "computes heads that share them alone, so only the encoder can be used"
        )
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
    hf_config = config_to_hf(model.config, _HEADS[type(model)])
    if isinstance(model, SequenceClassifier) and model.config.facts.is_pre_norm:
        hf_config["classifier_pooling"] = model.pooling
    if isinstance(model, QuestionAnswerer) and model.null_threshold is not None:
        hf_config[_NULL_THRESHOLD] = model.null_threshold
    if labels is not None:
        hf_config["id2label"] = {str(index): name for index, name in enumerate(labels)}
        hf_config["label2id"] = {name: index for index, name in enumerate(labels)}
        if isinstance(model, SequenceClassifier) and model.label_threshold is not None:
            hf_config["problem_type"] = MULTI_LABEL
            hf_config[_LABEL_THRESHOLD] = model.label_threshold
        elif len(labels) == 1 and isinstance(model, SequenceClassifier):
            hf_config["problem_type"] = REGRESSION
    write_json(folder / "config.json", hf_config)
    copy_tokenizer(tokenizer_folder, folder, model.config.max_length)
    with atomic_path(folder / "model.safetensors") as temporary:
        state = export_state(_below_a_head(model), model.config.layout)
        write_tensors(state, temporary, {"format": "pt"})
    if isinstance(model, SentenceEncoder):
        write_pooling(folder, model.pooling, model.config)


class Imported(NamedTuple):
    """A model read from a folder; `unused` names the weights that it has no place for."""

    model: MaskedLM | MaskedLMWithNextSentence | Encoder
    unused: list[str]


def import_model(folder: Path, *, unpickle: bool = False) -> Imported:
    """Read a folder of any layout that `transformers` wrote, whatever its head.

    With a masked-language head tied to the embeddings it is a `MaskedLM`, with BERT's
    pooler and next-sentence head beside it a `MaskedLMWithNextSentence`, else the encoder
    alone. Raises `ClozeError` for a model of another kind and for weights that are missing,
    misshapen or not safe to read (see `read_weights`).
    """
    config = config_from_folder(folder)
    weights = read_weights(folder, config.layout, unpickle=unpickle)
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    check_encoder(config, shapes, folder)
    model: MaskedLM | MaskedLMWithNextSentence | Encoder
    if not has_tied_masked_lm_head(weights, config.layout):
        model = Encoder(config)
    elif {"bert.pooler.dense.weight", "cls.seq_relationship.weight"} <= weights.keys():
        model = MaskedLMWithNextSentence(config)
    else:
        model = MaskedLM(config)
    used = import_state(_below_a_head(model), weights, config.layout, folder)
    return Imported(model, sorted(weights.keys() - used))
