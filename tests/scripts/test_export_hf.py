"""Exported folders: `transformers` loads them alone, with equal outputs and honest papers."""

import importlib.util
import json
import subprocess
import sys

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

import export_hf
from cloze.files import read_json, sha256_file, write_json
from cloze.model.encoder import Encoder
from cloze.model.heads import (
    MaskedLM,
    MaskedLMWithNextSentence,
    QuestionAnswerer,
    SequenceClassifier,
)
from cloze.model.hf import load_classifier, save_model
from cloze.use.hf_export import Outputs, measure_parity
from tests.tiny import write_tokenizer
from tests.tiny_model import make_config, perturbed, single_samples

transformers = pytest.importorskip("transformers")

LABELS = ["bad", "fair", "good"]
HEADS = {
    "masked-lm": (MaskedLM, "AutoModelForMaskedLM"),
    "classifier": (
        lambda config: SequenceClassifier(config, num_labels=3),
        "AutoModelForSequenceClassification",
    ),
    "answerer": (QuestionAnswerer, "AutoModelForQuestionAnswering"),
    "encoder": (Encoder, "AutoModel"),
}


def write_model(folder, layout="bert", head="masked-lm", **changes):
    model = perturbed(HEADS[head][0](make_config(layout, **changes)))
    labels = LABELS if head == "classifier" else None
    save_model(folder, model, write_tokenizer(folder / "tokenizer").parent, labels)
    return folder


def run(model, output, *flags):
    return export_hf.main(["--model", str(model), "--output", str(output), *map(str, flags)])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with `model` and what it was exported to, `out`, of every layout and head."""
    folders = {}
    for layout in ("bert", "modernbert"):
        for head in HEADS:
            folder = folders[layout, head] = tmp_path_factory.mktemp(f"{layout}-{head}")
            assert run(write_model(folder / "model", layout, head), folder / "out") == 0
    return folders


@pytest.mark.parametrize("layout", ["bert", "modernbert"])
@pytest.mark.parametrize("head", HEADS)
def test_the_folder_is_certified(layout, head, exported):
    folder = exported[layout, head]
    certificate = read_json(folder / "out" / "parity.json")
    assert certificate["max_abs_difference"] <= 1e-5 * max(1, certificate["largest_output"])
    assert certificate["largest_output"] > 0.1
    assert certificate["class"].startswith("Bert" if layout == "bert" else "ModernBert")
    assert certificate["sha256"]["model.safetensors"] == sha256_file(
        folder / "model" / "model.safetensors"
    )
    assert len(certificate["texts"][-1][0].split()) == 41


def test_every_folder_loads_without_our_code(exported, tmp_path):
    loads = (
        "import sys, transformers\n"
        "for name, folder in zip(sys.argv[1::2], sys.argv[2::2]):\n"
        "    getattr(transformers, name).from_pretrained(folder)\n"
        "    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)\n"
        "    print(tokenizer('w1 [MASK] w3')['input_ids'], tokenizer.model_max_length)\n"
        "assert not any(name.split('.')[0] == 'cloze' for name in sys.modules)\n"
    )
    named = [(HEADS[head][1], folder / "out") for (_, head), folder in exported.items()]
    found = subprocess.run(
        [sys.executable, "-c", loads, *(part for pair in named for part in pair)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert found.stdout.splitlines() == ["[2, 6, 4, 8, 3] 40"] * len(exported)


def test_both_heads_of_pretraining_load_as_a_masked_language_model(tmp_path):
    model = perturbed(MaskedLMWithNextSentence(make_config()))
    save_model(tmp_path / "model", model, write_tokenizer(tmp_path).parent)
    assert run(tmp_path / "model", tmp_path / "out") == 0
    assert read_json(tmp_path / "out" / "parity.json")["class"] == "BertForMaskedLM"


def test_a_pair_reads_as_a_pair_in_a_pipeline(tmp_path):
    model = write_model(tmp_path / "model", head="classifier")
    run(model, tmp_path / "out")
    pipeline = transformers.pipeline("text-classification", model=str(tmp_path / "out"), top_k=None)
    found = {
        entry["label"]: entry["score"] for entry in pipeline({"text": "w1", "text_pair": "w2"})
    }
    classifier, labels = load_classifier(model)
    ids, types = torch.tensor([[2, 6, 3, 7, 3]]), torch.tensor([[0, 0, 0, 1, 1]])
    expected = classifier.eval()(single_samples(ids, types)).softmax(-1)[0].tolist()
    assert [found[label] for label in labels] == pytest.approx(expected, abs=1e-5)


def test_the_card_holds_the_numbers_of_the_run(tmp_path):
    model = write_model(tmp_path / "model", head="classifier")
    record = {
        "metrics": {"train_score": 0.98765, "steps": 1234, "recipe": {"seed": 1}},
        "args": {"learning_rate": 1e-4, "note": "a|b"},
        "inputs": {"train.parquet": "ab" * 32},
        "environment": {"python": "3.11", "platform": "Linux", "libraries": {"torch": "2.10"}},
        "seconds": {"wall": 61.5},
    }
    write_json(model / "metrics.json", record)
    metrics = {"task": "sst2", "split": "validation", "accuracy": 0.8125, "per_class": {}}
    write_json(tmp_path / "evaluation" / "metrics.json", {"metrics": metrics})
    flags = ("--name", "My classifier", "--evaluation", tmp_path / "evaluation")
    given = ("--metadata", "language=no", "license=apache-2.0", "datasets=[glue, imdb]")
    assert run(model, tmp_path / "out", *flags, *given) == 0
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: text-classification\n")
    for line in (
        "# My classifier",
        "### sst2, validation",
        "| accuracy | 0.8125 |",
        "| train score | 0.9877 |",
        "| steps | 1,234 |",
        "| note | a\\|b |",
        f"- `train.parquet`: SHA-256 `{'ab' * 32}`",
    ):
        assert line in card.splitlines()
    header = huggingface_hub.ModelCard(card).data
    assert (header.language, header.license) == ("no", "apache-2.0")
    assert header.datasets == ["glue", "imdb"]
    (result,) = header.eval_results
    assert (result.dataset_name, result.dataset_split) == ("sst2", "validation")
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.8125)


@pytest.mark.parametrize("word", ["language", "licence=mit", "datasets=[a"])
def test_metadata_that_a_hub_does_not_read_is_refused(word, tmp_path, capsys):
    model = write_model(tmp_path / "model", head="classifier")
    assert run(model, tmp_path / "out", "--metadata", word) == 1
    assert f"--metadata '{word}'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_difference_that_is_more_than_rounding_is_refused():
    ours = Outputs([[2, 5, 3]], [torch.tensor([1.0, 2.0])])
    theirs = Outputs([[2, 5, 3]], [torch.tensor([1.0, 2.001])])
    with pytest.raises(export_hf.ClozeError, match="computes other numbers"):
        measure_parity(ours, theirs, "transformers")
    with pytest.raises(export_hf.ClozeError, match="reads a text as other tokens"):
        measure_parity(ours, Outputs([[2, 6, 3]], ours.values), "transformers")


def test_no_folder_is_left_where_the_peer_computes_something_else(tmp_path, capsys, monkeypatch):
    model = write_model(tmp_path / "model")

    def write_spoiled(source, output):
        genuine(source, output)
        weights = load_file(output / "model.safetensors")
        weights["cls.predictions.bias"] += 0.5
        save_file(weights, output / "model.safetensors", metadata={"format": "pt"})

    genuine = export_hf.write_folder
    monkeypatch.setattr(export_hf, "write_folder", write_spoiled)
    assert run(model, tmp_path / "out") == 1
    assert "transformers computes other numbers than Cloze" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_relative_positions_cannot_be_exported(tmp_path, capsys):
    model = write_model(tmp_path / "model", position_embedding_type="relative_key")
    assert run(model, tmp_path / "out") == 1
    assert "relative_key cannot be exported" in capsys.readouterr().err


def test_a_folder_that_exists_is_not_written_over(tmp_path, capsys):
    model = write_model(tmp_path / "model")
    assert run(model, model) == 1
    assert "exists already" in capsys.readouterr().err


def test_what_onnx_needs_is_named_before_anything_is_computed(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert run(write_model(tmp_path / "model"), tmp_path / "out", "--onnx") == 1
    assert "pip install onnx onnxscript onnxruntime" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="the optional libraries of --onnx are not installed",
)
@pytest.mark.parametrize("layout", ["bert", "modernbert"])
@pytest.mark.parametrize("head", HEADS)
def test_the_onnx_graph_computes_the_same_for_other_shapes(layout, head, tmp_path):
    model = write_model(tmp_path / "model", layout, head)
    assert run(model, tmp_path / "out", "--onnx") == 0
    certificate = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert certificate["onnx"]["max_abs_difference"] <= 1e-5 * max(
        1, certificate["onnx"]["largest_output"]
    )
    assert (tmp_path / "out" / "model.onnx").is_file()
