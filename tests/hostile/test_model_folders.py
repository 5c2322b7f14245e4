"""Model folders as they come from elsewhere: believed only so far as their files bear it out."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import import_encoder
import predict
from cloze.model.heads import SequenceClassifier
from cloze.model.hf import save_model
from cloze.model.hf_config import config_to_hf
from tests.hostile.damage import VALUES, WHOLE_FILES, Damage, changed, damage_file, flipped, of_keys
from tests.hostile.outcome import Outcome, by_name, check, run
from tests.tiny import write_tokenizer
from tests.tiny_model import make_config, perturbed

pytestmark = pytest.mark.slow

LAYOUTS = ("bert", "modernbert", "roberta", "distilbert", "electra")
HEAD_KEYS = {
    "id2label": {"0": "bad", "1": "good"},
    "label2id": {"bad": 0, "good": 1},
    "problem_type": "single_label_classification",
    "architectures": ["BertForSequenceClassification"],
    "classifier_pooling": "cls",
    "auto_map": {},
    "quantization_config": {},
    "tokenizer_class": "BertTokenizer",
    "hidden_act": "gelu",
    "label_threshold": 0.5,
}
LABELS: dict[str, Any] = {
    "names that are numbers": {"0": 1, "1": 2},
    "no 0": {"1": "bad", "2": "good"},
    "one name": {"0": "bad"},
    "three names": {"0": "bad", "1": "good", "2": "best"},
    "names twice": {"0": "good", "1": "good"},
    "a name that is a list": {"0": "bad", "1": ["good"]},
    "a list of names": ["bad", "good"],
    "half of a surrogate pair": {"0": "bad", "1": "\udcff"},
}


def write_model(folder: Path, layout: str = "bert") -> Path:
    """Write a classifier of two labels; returns its folder."""
    tokenizer = write_tokenizer(folder.parent / "tokenizer")
    torch.manual_seed(0)
    model = perturbed(SequenceClassifier(make_config(layout), 2))
    save_model(folder, model, tokenizer.parent, ["bad", "good"])
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {layout: write_model(root / layout / "model", layout) for layout in LAYOUTS}


def classify(model: Path, folder: Path) -> Outcome:
    flags = ["--model", model, "--json", "--device=cpu"]
    return run(predict, "classify", "w1 w2", *flags, folder=folder)


def judge(model: Path, sound: Path, folder: Path) -> None:
    """Assert that a damaged model is refused by its file's name, or predicts as the sound one."""
    outcome = classify(model, folder)
    if not check(outcome, str(model)):
        found, right = (json.loads(o.output) for o in (outcome, classify(sound, folder)))
        shares = [list(answer["probabilities"].values()) for answer in (found, right)]
        assert np.allclose(*shares, atol=1e-5), (found, right)


def _config_cases() -> dict[str, tuple[str, Damage]]:
    cases: dict[str, tuple[str, Damage]] = {}
    for layout in LAYOUTS:
        keys = config_to_hf(make_config(layout))
        keys |= HEAD_KEYS if layout == "bert" else {}
        found = of_keys(keys, layout, each=3 if layout == "bert" else 1)
        cases |= {f"{layout}: {name}": (layout, damage) for name, damage in found.items()}
    # Absent, it is 160,000, as published models take it: another encoder, and a sound one.
    del cases["modernbert: without global_rope_theta"]
    for name, value in LABELS.items():
        cases[f"id2label: {name}"] = ("bert", changed("id2label", value=value))
    for name, damage in WHOLE_FILES.items():
        cases[f"config.json: {name}"] = ("bert", damage)
    return cases


def _with_all_keys(path: Path, layout: str) -> None:
    """Have a config.json the keys that a damage may change or leave out."""
    given = json.loads(path.read_text())
    keys = HEAD_KEYS if layout == "bert" else {}
    path.unlink()
    path.write_text(json.dumps({**keys, **config_to_hf(make_config(layout)), **given}))


@by_name(_config_cases())
def test_a_configuration_that_is_wrong_is_one_sentence(models, tmp_path, case):
    layout, damage = case
    model = Path(shutil.copytree(models[layout], tmp_path / "model"))
    _with_all_keys(model / "config.json", layout)
    damage_file(model / "config.json", damage)
    judge(model, models[layout], tmp_path)


def header(length: int | None = None, **tensors: Any) -> bytes:
    """Return a safetensors file of this header, which may lie about its length, and no data."""
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


def tensor(shape: list[Any], offsets: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


WEIGHTS: dict[str, Damage] = {
    **WHOLE_FILES,
    **{f"bits {n}": flipped(f"weights {n}") for n in range(4)},
    "a bit of the header": lambda content: content[:30] + b"\x00" + content[31:],
    "a header of 2**63 bytes": lambda content: header(2**63),
    "a header of a terabyte": lambda content: header(1 << 40),
    "a header of 99 MB": lambda content: header(99_000_000) + content,
    "a header of no bytes": lambda content: header(0),
    "a header that is a list": lambda content: struct.pack("<Q", 2) + b"[]",
    "a deep header": lambda content: struct.pack("<Q", 100_000) + b"[" * 100_000,
    "a shape of a terabyte": lambda content: header(a=tensor([1 << 20, 1 << 20], [0, 4])),
    "a negative shape": lambda content: header(a=tensor([-1, 4], [0, 4])),
    "a shape that is text": lambda content: header(a=tensor(["x"], [0, 4])),
    "an unknown type": lambda content: header(a=tensor([1], [0, 4], "F99")),
    "offsets beyond the end": lambda content: header(a=tensor([4], [0, 16])),
    "no tensors": lambda content: header(),
}


@by_name(WEIGHTS)
def test_weights_that_are_damaged_are_one_sentence(models, tmp_path, case):
    model = Path(shutil.copytree(models["bert"], tmp_path / "model"))
    damage_file(model / "model.safetensors", case)
    outcome = classify(model, tmp_path)
    # A number whose bit changed is a number: only a hash tells, which no such folder has.
    check(outcome, "model.safetensors")


def _more_layers(weights: dict[str, torch.Tensor]) -> None:
    for name in [name for name in weights if ".layer.2." in name]:
        weights[name.replace(".layer.2.", ".layer.3.")] = weights[name]


def _of_nan(weights: dict[str, torch.Tensor]) -> None:
    weights["bert.encoder.layer.1.output.dense.weight"][0, 0] = float("nan")


def _of_infinity(weights: dict[str, torch.Tensor]) -> None:
    weights["classifier.bias"][0] = float("inf")


def _as_integers(weights: dict[str, torch.Tensor]) -> None:
    weights["classifier.bias"] = weights["classifier.bias"].to(torch.int64)


def _too_large(weights: dict[str, torch.Tensor]) -> None:
    weights["classifier.weight"] *= 1e38
    weights["bert.pooler.dense.bias"] += 1e38


def _scalar(weights: dict[str, torch.Tensor]) -> None:
    weights["classifier.bias"] = torch.tensor(1.0)


def _transposed(weights: dict[str, torch.Tensor]) -> None:
    name = "bert.embeddings.word_embeddings.weight"
    weights[name] = weights[name].T.contiguous()


def _huge_number_of_a_layer(weights: dict[str, torch.Tensor]) -> None:
    weights[f"bert.encoder.layer.{10**12}.output.dense.bias"] = torch.zeros(1)


def _without_embeddings(weights: dict[str, torch.Tensor]) -> None:
    del weights["bert.embeddings.word_embeddings.weight"]


TENSORS = {
    change.__name__.strip("_").replace("_", " "): change
    for change in (
        _more_layers, _of_nan, _of_infinity, _as_integers, _too_large, _scalar, _transposed,
        _huge_number_of_a_layer, _without_embeddings,
    )
}  # fmt: skip


@by_name(TENSORS)
def test_weights_of_another_model_are_refused(models, tmp_path, case):
    model = Path(shutil.copytree(models["bert"], tmp_path / "model"))
    weights = load_file(model / "model.safetensors")
    case(weights)
    (model / "model.safetensors").unlink()
    save_file(weights, model / "model.safetensors")
    assert check(classify(model, tmp_path), str(model)), "predicted with it"


def _index(value: Any) -> Any:
    def write(model: Path) -> None:
        (model / "model.safetensors.index.json").write_text(json.dumps(value))

    return write


def _replace(name: str, content: bytes) -> Any:
    def write(model: Path) -> None:
        (model / name).unlink(missing_ok=True)
        (model / name).write_bytes(content)

    return write


def _vocabulary(token: str, number: int) -> Any:
    def write(model: Path) -> None:
        path = model / "tokenizer.json"
        whole = json.loads(path.read_text())
        whole["model"]["vocab"][token] = number
        path.unlink()
        path.write_text(json.dumps(whole))

    return write


def _folder_for_file(name: str) -> Any:
    def write(model: Path) -> None:
        (model / name).unlink()
        (model / name).mkdir()

    return write


BESIDE: dict[str, Any] = {
    "an index that is empty": _index({}),
    "an index that is a list": _index([]),
    "an index of no files": _index({"weight_map": {}}),
    "an index of numbers": _index({"weight_map": {"a": 1}}),
    "an index that leads out": _index({"weight_map": {"a": "../model/model.safetensors"}}),
    "an index of a file that is not there": _index({"weight_map": {"a": "b.safetensors"}}),
    "a folder for weights": _folder_for_file("model.safetensors"),
    "a folder for config.json": _folder_for_file("config.json"),
    "a folder for tokenizer.json": _folder_for_file("tokenizer.json"),
    "a token beyond the embeddings": _vocabulary("w1", 1000),
    "a token far beyond the embeddings": _vocabulary("w1", 4_000_000_000),
    "a pickle alone": lambda model: (model / "model.safetensors").rename(
        model / "pytorch_model.bin"
    ),
    "added tokens that are a list": _replace("added_tokens.json", b"[1]"),
    "added tokens of text": _replace("added_tokens.json", b'{"a": "b"}'),
    "an added token far away": _replace("added_tokens.json", b'{"a": 100000000}'),
    "a tokenizer class of its own": _replace(
        "tokenizer_config.json", b'{"tokenizer_class": "MyTokenizer"}'
    ),
    "a tokenizer class that is a list": _replace(
        "tokenizer_config.json", b'{"tokenizer_class": []}'
    ),
    **{
        f"{name}: {what}": (
            lambda model, name=name, damage=damage: (
                (model / name).exists() or (model / name).write_bytes(b"{}"),
                damage_file(model / name, damage),
            )
        )
        for name in ("tokenizer.json", "tokenizer_config.json", "metrics.json", "modules.json")
        for what, damage in WHOLE_FILES.items()
    },
    **{
        f"metrics.json: max_length is {what}": _replace(
            "metrics.json", json.dumps({"metrics": {"recipe": {"max_length": value}}}).encode()
        )
        for what, value in VALUES.items()
    },
    "metrics.json: another truncation": _replace(
        "metrics.json", b'{"metrics": {"recipe": {"truncation": "middle"}}}'
    ),
    "metrics.json: a recipe that is a list": _replace(
        "metrics.json", b'{"metrics": {"recipe": [1]}}'
    ),
    "metrics.json of another program": _replace("metrics.json", b'{"accuracy": 0.9}'),
}


@by_name(BESIDE)
def test_what_lies_beside_the_weights_is_not_believed(models, tmp_path, case):
    model = Path(shutil.copytree(models["bert"], tmp_path / "model"))
    case(model)
    judge(model, models["bert"], tmp_path)


POOLING: dict[str, Any] = {
    **{f"modules.json: {name}": ("modules.json", damage) for name, damage in WHOLE_FILES.items()},
    **{
        f"its settings: {name}": ("1_Pooling/config.json", damage)
        for name, damage in WHOLE_FILES.items()
    },
    **{
        f"its limits: {name}": ("sentence_bert_config.json", damage)
        for name, damage in WHOLE_FILES.items()
    },
    **{
        f"max_seq_length is {name}": (
            "sentence_bert_config.json", changed("max_seq_length", value=value)
        )
        for name, value in VALUES.items()
    },
    "a path that is a number": ("modules.json", changed("1", "path", value=7)),
    "a path that leads out": ("modules.json", changed("1", "path", value="../../..")),
    "a type that is a number": ("modules.json", changed("0", "type", value=7)),
}  # fmt: skip


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cloze.model.encoder import Encoder
    from cloze.model.pooling import Pooling, SentenceEncoder

    folder = tmp_path_factory.mktemp("embedder") / "model"
    tokenizer = write_tokenizer(folder.parent / "tokenizer")
    model = SentenceEncoder(make_config(), Pooling())
    assert isinstance(model.encoder, Encoder)
    save_model(folder, perturbed(model), tokenizer.parent)
    return folder


def embed(model: Path, output: Path, folder: Path) -> Outcome:
    flags = ["--model", model, "--output", output, "--device=cpu"]
    return run(predict, "embed", "w1 w2", *flags, folder=folder)


@by_name(POOLING)
def test_how_texts_become_vectors_is_not_guessed(embedder, tmp_path, case):
    name, damage = case
    model = Path(shutil.copytree(embedder, tmp_path / "model"))
    damage_file(model / name, damage)
    found, right = tmp_path / "vectors.npy", tmp_path / "right.npy"
    outcome = embed(model, found, tmp_path)
    if not check(outcome, str(model)):
        assert not check(embed(embedder, right, tmp_path))
        assert np.allclose(np.load(found), np.load(right))


@by_name({name: WEIGHTS[name] for name in list(WEIGHTS)[::3]})
def test_an_import_leaves_nothing_of_a_damaged_model(models, tmp_path, case):
    model = Path(shutil.copytree(models["bert"], tmp_path / "model"))
    damage_file(model / "model.safetensors", case)
    output = tmp_path / "imported"
    outcome = run(import_encoder, "--pretrained", model, "--output", output, folder=tmp_path)
    if check(outcome, "model.safetensors"):
        assert not (output / "model.safetensors").exists()
