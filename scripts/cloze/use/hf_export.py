"""A model folder for `transformers` or as ONNX, and the proof that its outputs are the same."""

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer, processors
from torch import Tensor, nn

from cloze.errors import ClozeError, require_module
from cloze.files import atomic_path, read_json, write_json, write_text
from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig, PackedBatch
from cloze.model.hf import (
    load_classifier,
    load_encoder,
    load_masked_lm,
    load_question_answerer,
    load_token_classifier,
    save_model,
)
from cloze.model.hf_config import config_from_folder, read_config
from cloze.model.pooling import read_pooling, write_pooling
from cloze.model.weights import header_shapes, weight_shapes
from cloze.objectives.texts import encode_texts, pack_texts
from cloze.tokens.tokenizer import (
    is_wordpiece,
    special_ids,
    special_tokens,
    tokens_by_id,
    vocab_size,
    write_tokenizer_config,
)
from cloze.tokens.tokenizer_folder import copy_tokenizer, tokenizer_of_folder
from cloze.use.predictors import Embedder, tasks_of
from cloze.use.texts import Text

_AUTO_CLASSES = {
    "fill-mask": "AutoModelForMaskedLM",
    "classify": "AutoModelForSequenceClassification",
    "tag": "AutoModelForTokenClassification",
    "answer": "AutoModelForQuestionAnswering",
    "embed": "AutoModel",
}
_OUTPUTS = {"answer": ("start_logits", "end_logits"), "embed": ("last_hidden_state",)}
# Relative to the largest output, at least 1: a handful of roundings of float32.
_TOLERANCE = 1e-5
_TEXTS = 12
_PACKAGES = "onnx onnxscript onnxruntime"
_OPSET = 18


class Outputs(NamedTuple):
    """What a model makes of some texts, tensors without padding.

    `input_ids`: each text's tokens; `values`: of each text the logits [num_labels] of a
    classifier, the logits [L, num_labels] of one of tokens, those of start and end [L, 2], the
    logits [L, V] of a masked-language model or hidden states [L, D].
    """

    input_ids: list[list[int]]
    values: list[Tensor]


class Parity(NamedTuple):
    """How far two models' outputs are apart over all tokens of all texts."""

    max_abs_difference: float
    largest_output: float

    @property
    def holds(self) -> bool:
        """Whether the difference is one of rounding."""
        return self.max_abs_difference <= _TOLERANCE * max(1.0, self.largest_output)


def write_folder(model: Path, output: Path) -> None:
    """Write weights, configuration and every tokenizer file that `transformers` looks for.

    Weights and configuration are copied to the bit, and `tokenizer.json` unless it frames
    texts in another way than the model knows. A model of vectors also gets the files that
    `SentenceTransformer` looks for. Raises `ClozeError` for an encoder with
    relative positions, which `transformers` 5 has no class for.
    """
    config = config_from_folder(model)
    if config.has_relative_positions:
        raise ClozeError(
            f"{model}: position_embedding_type relative_key cannot be exported, because "
            "transformers 5 has no such model; pretrain with absolute positions"
        )
    if _is_as_we_write(model, config):
        for name in ("config.json", "model.safetensors"):
            with atomic_path(output / name) as temporary:
                shutil.copyfile(model / name, temporary)
        copy_tokenizer(model, output, config.max_length)
    else:
        _write_anew(model, output)
    tokenizer = tokenizer_of_folder(model)
    if not _frames_as_we_do(tokenizer):
        _frame(tokenizer)
        tokenizer.encode_special_tokens = False
        with atomic_path(output / "tokenizer.json") as temporary:
            tokenizer.save(str(temporary))
    _write_tokenizer_settings(output, tokenizer, config)
    if (pooling := read_pooling(model)) is not None:
        write_pooling(output, pooling, config)
    if is_wordpiece(tokenizer):
        write_text(output / "vocab.txt", "\n".join(tokens_by_id(tokenizer)) + "\n")


def _is_as_we_write(model: Path, config: EncoderConfig) -> bool:
    """Whether a folder's files are those that `save_model` would write, keys of any kind beside."""
    raw = read_config(model)
    if raw.get("model_type") != config.model_type or not raw.get("architectures"):
        return False
    if tasks_of(model)[0] in ("classify", "tag") and not raw.get("id2label"):
        return False
    if not (model / "model.safetensors").is_file():
        return False
    given = header_shapes(model)
    return given.keys() == weight_shapes(model, config.layout).keys()


def _write_anew(model: Path, output: Path) -> None:
    """Write a folder from elsewhere as one of ours: one file of weights under today's names."""
    task = tasks_of(model)[0]
    if task in ("classify", "tag"):
        classifier, labels = (load_classifier if task == "classify" else load_token_classifier)(
            model
        )
        save_model(output, classifier, model, labels)
        return
    if task == "answer":
        save_model(output, load_question_answerer(model), model)
    elif task == "fill-mask":
        save_model(output, load_masked_lm(model), model)
    else:
        save_model(output, load_encoder(model), model)


def _frames_as_we_do(tokenizer: Tokenizer) -> bool:
    """Whether a pair becomes `[CLS] A [SEP] B [SEP]`, B and its [SEP] of token type 1, or has two
    [SEP] in its middle as in RoBERTa, whose token types nobody reads.

    Models are trained and used with that framing, whatever `tokenizer.json` says.
    """
    special, word = special_ids(tokenizer), tokenizer.encode("a", add_special_tokens=False).ids
    single, pair = tokenizer.encode("a"), tokenizer.encode("a", "a")
    first = [special.cls, *word, special.sep]
    types = [0] * len(first) + [1] * (len(word) + 1)
    if special.separators == 2:
        return single.ids == first
    return (
        single.ids == first and pair.ids == [*first, *word, special.sep] and pair.type_ids == types
    )


def _frame(tokenizer: Tokenizer) -> None:
    names = special_tokens(tokenizer)
    cls, sep = names["cls"], names["sep"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (cls, sep)],
    )


def _write_tokenizer_settings(output: Path, tokenizer: Tokenizer, config: EncoderConfig) -> None:
    path = output / "tokenizer_config.json"
    write_tokenizer_config(path, tokenizer)
    # Without its token types a pair would read as one text.
    types = ["token_type_ids"] if config.reads_token_types else []
    settings = {
        **read_json(path),
        "model_input_names": ["input_ids", *types, "attention_mask"],
        "model_max_length": config.max_length,
    }
    write_json(path, settings)
    names = {f"{role}_token": name for role, name in special_tokens(tokenizer).items()}
    write_json(output / "special_tokens_map.json", names)


def parity_texts(folder: Path) -> list[tuple[str, str]]:
    """Draw pairs of texts from the whole vocabulary, the same for the same tokenizer.

    Both texts of the last pair are too long, so every position is read and both sides
    must cut alike. The first one is longer: of equal ones, `transformers` gives an odd
    token to the second.
    """
    config = config_from_folder(folder)
    tokenizer = tokenizer_of_folder(folder)
    ordinary = sorted(set(range(vocab_size(tokenizer))) - special_ids(tokenizer).all)
    generator = np.random.default_rng(0)
    pairs = []
    for length in (*range(1, _TEXTS), config.max_length):
        second = _draw(tokenizer, ordinary, length, generator)
        pairs.append(
            (_draw(tokenizer, ordinary, _length(tokenizer, second) + 1, generator), second)
        )
    return pairs


def _draw(
    tokenizer: Tokenizer, ids: Sequence[int], length: int, generator: np.random.Generator
) -> str:
    """Return a text of at least this many tokens; pieces drawn at random may read as fewer."""
    text = ""
    while _length(tokenizer, text) < length:
        more = tokenizer.decode([int(token) for token in generator.choice(ids, length)])
        text = f"{text} {more}".strip()
    return text


def _length(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


@torch.inference_mode()
def our_outputs(folder: Path, texts: Sequence[tuple[str, str]]) -> Outputs:
    """Return what Cloze computes for pairs of texts with a model folder."""
    config = config_from_folder(folder)
    encoded = encode_texts(
        tokenizer_of_folder(folder),
        [first for first, _ in texts],
        config.max_length,
        config.vocab_size,
        pairs=[second for _, second in texts],
    )
    compute = _forward(folder)
    outputs = Outputs([], [])
    for number, length in enumerate(encoded.lengths.tolist()):
        batch, _ = pack_texts(encoded, np.array([number]))
        outputs.input_ids.append(batch.input_ids[0, :length].tolist())
        outputs.values.append(compute(batch, length))
    return outputs


def _forward(folder: Path) -> Callable[[PackedBatch, int], Tensor]:
    """Return a function that computes the outputs of a batch of one text of some length."""
    task = tasks_of(folder)[0]
    if task == "classify":
        classifier = load_classifier(folder)[0].eval()
        return lambda batch, length: classifier(batch)[0]
    if task == "tag":
        tagger = load_token_classifier(folder)[0].eval()
        return lambda batch, length: tagger(batch)[0, :length]
    if task == "answer":
        answerer = load_question_answerer(folder).eval()
        return lambda batch, length: answerer(batch)[0, :length]
    if task == "fill-mask":
        masked_lm = load_masked_lm(folder).eval()
        return lambda batch, length: masked_lm(batch, torch.arange(length)[None])[0]
    encoder = load_encoder(folder).eval()
    return lambda batch, length: encoder(batch)[0, :length]


class TransformersModel:
    """A folder as the automatic classes of `transformers` load it, with no code of ours."""

    def __init__(self, folder: Path, transformers: ModuleType) -> None:
        task = tasks_of(folder)[0]
        self.output_names = _OUTPUTS.get(task, ("logits",))
        auto_class = getattr(transformers, _AUTO_CLASSES[task])
        self.model = auto_class.from_pretrained(folder, local_files_only=True).eval().float()
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def tokenise(self, texts: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
        """Return the model's inputs for pairs of texts, padded, int64 [N, L]."""
        first, second = ([text[part] for text in texts] for part in (0, 1))
        return dict(
            self._tokenizer(first, second, padding=True, truncation=True, return_tensors="pt")
        )

    @torch.inference_mode()
    def outputs(self, inputs: Mapping[str, Tensor]) -> Outputs:
        """Return what the model computes."""
        found = self.model(**inputs)
        return unpadded(inputs, [found[name] for name in self.output_names])


def vectors(folder: Path, texts: Sequence[str], compute: Compute) -> Outputs:
    """Return the vectors that Cloze computes with a folder, as its `modules.json` says."""
    found = Embedder(folder, compute)([Text(text, None, "text") for text in texts])
    return Outputs([], [torch.from_numpy(vector) for vector in found])


def vectors_of_sentence_transformers(
    folder: Path, texts: Sequence[str], sentence_transformers: ModuleType
) -> Outputs:
    """Return the vectors that `SentenceTransformer` computes with a folder on the CPU."""
    model = sentence_transformers.SentenceTransformer(
        str(folder), device="cpu", local_files_only=True
    )
    found = model.encode(list(texts), show_progress_bar=False, convert_to_numpy=True)
    return Outputs([], [torch.from_numpy(vector) for vector in found])


def unpadded(inputs: Mapping[str, Tensor], outputs: Sequence[Tensor]) -> Outputs:
    """Take a padded batch of outputs apart: [N, L, …] or [N, num_labels], or several of [N, L]."""
    kept = inputs["attention_mask"].bool()
    values = outputs[0] if len(outputs) == 1 else torch.stack(list(outputs), dim=-1)
    per_token = values.dim() == 3
    return Outputs(
        [ids[mask].tolist() for ids, mask in zip(inputs["input_ids"], kept, strict=True)],
        [value[mask] if per_token else value for value, mask in zip(values, kept, strict=True)],
    )


def measure_parity(ours: Outputs, theirs: Outputs, what: str) -> Parity:
    """Compare two models' outputs for the same texts.

    Raises `ClozeError` if they did not read the same tokens or the outputs differ by more
    than rounding; `what` names the other model.
    """
    if ours.input_ids != theirs.input_ids:
        raise ClozeError(
            f"{what} reads a text as other tokens than Cloze does; is its tokenizer.json one that "
            "looks at the text around a special token?"
        )
    pairs = list(zip(ours.values, theirs.values, strict=True))
    parity = Parity(
        max(float((one - other).abs().max()) for one, other in pairs),
        max(float(other.abs().max()) for _, other in pairs),
    )
    if not parity.holds:
        raise ClozeError(
            f"{what} computes other numbers than Cloze: the largest difference is "
            f"{parity.max_abs_difference:.3g}, outputs reach {parity.largest_output:.3g}; "
            "the folder is not published, since it would not be the same model"
        )
    return parity


def require_onnx() -> None:
    """Raise `ClozeError` with the command that installs it if a library is missing."""
    for name in _PACKAGES.split():
        require_module(name, "--onnx", "onnx", _PACKAGES)


class _FirstOutputs(nn.Module):
    """A `transformers` model that takes its inputs in a fixed order and returns some tensors."""

    def __init__(self, model: nn.Module, names: list[str], num_outputs: int) -> None:
        super().__init__()
        self.model, self.names, self.num_outputs = model, names, num_outputs

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the logits or, of a bare encoder, the last hidden states."""
        outputs = self.model(**dict(zip(self.names, inputs, strict=True)), return_dict=False)
        return tuple(outputs[: self.num_outputs])


def export_onnx(peer: TransformersModel, inputs: Mapping[str, Tensor], path: Path) -> None:
    """Write the peer's graph; its inputs have any number of texts of any length."""
    axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
    names = list(inputs)
    with warnings.catch_warnings():
        # The exporter warns of what it simplifies; the parity check says whether it was right.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _FirstOutputs(peer.model, names, len(peer.output_names)),
            tuple(inputs.values()),
            path,
            input_names=names,
            output_names=list(peer.output_names),
            dynamic_shapes=(tuple(axes for _ in names),),
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def onnx_outputs(path: Path, inputs: Mapping[str, Tensor]) -> Outputs:
    """Return what `onnxruntime` computes on the CPU."""
    runtime = require_module("onnxruntime", "--onnx", "onnx", _PACKAGES)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    arrays = {name: value.numpy() for name, value in inputs.items()}
    return unpadded(inputs, [torch.from_numpy(found) for found in session.run(None, arrays)])
