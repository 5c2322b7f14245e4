import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import accuracy_score, f1_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import evaluate
import finetune
from cloze.files import write_json
from cloze.tasks.task import write_split
from tests.tiny_task import make_split, write_encoder, write_task

FAST = ["--num-train-epochs=1", "--learning-rate=3e-3", "--max-length=16", "--threads=1"]


@pytest.fixture(scope="module", params=["bert", "modernbert"])
def trained(request, tmp_path_factory):
    """A model folder, a task folder and the classifier trained on it to the end."""
    root = tmp_path_factory.mktemp(request.param)
    encoder, task = write_encoder(root / "encoder", request.param), write_task(root / "task")
    arguments = ["--model", str(encoder), "--task", str(task), "--output", str(root / "classifier")]
    recipe = ["--num-train-epochs=16", "--learning-rate=3e-3", "--max-length=16", "--threads=1"]
    assert finetune.main([*arguments, *recipe, "--precision=fp32", "--seed=1"]) == 0
    arguments = ["--model", str(root / "classifier"), "--task", str(task)]
    output = ["--output", str(root / "evaluation"), "--max-length=16", "--threads=1"]
    assert evaluate.main([*arguments, *output]) == 0
    return root


def run_finetune(root, output, *more):
    arguments = ["--model", str(root / "encoder"), "--task", str(root / "task")]
    return finetune.main([*arguments, "--output", str(output), *FAST, *more])


@pytest.fixture
def root(tmp_path):
    write_encoder(tmp_path / "encoder")
    write_task(tmp_path / "task", train_rows=32, validation_rows=8)
    return tmp_path


def read_metrics(folder):
    return json.loads((folder / "metrics.json").read_text())["metrics"]


def test_the_classifier_learns_and_says_what_it_did(trained):
    metrics = read_metrics(trained / "classifier")
    assert metrics["train_accuracy"] > 0.95
    assert (metrics["seed"], metrics["steps"], metrics["from_scratch"]) == (1, 64, False)
    assert metrics["recipe"]["learning_rate"] == 3e-3
    assert metrics["truncated_texts"] == 0
    written = json.loads((trained / "classifier" / "metrics.json").read_text())
    made_from = {"args": written["args"], "inputs": written["inputs"]}
    assert read_metrics(trained / "evaluation")["finetuning"] == {**metrics, **made_from}


def test_evaluation_agrees_with_scikit_learn_and_covers_the_split(trained):
    table = pq.read_table(trained / "evaluation" / "predictions.parquet")
    expected = make_split(40, 2)
    assert table["text"].to_pylist() == expected.texts
    assert table["label"].to_pylist() == expected.labels.tolist()
    assert table["row"].to_pylist() == list(range(40))
    predictions = table["prediction"].to_pylist()
    probabilities = np.array(table["probabilities"].to_pylist())
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(40), abs=1e-5)
    assert probabilities.argmax(axis=1).tolist() == predictions
    metrics = read_metrics(trained / "evaluation")
    assert metrics["accuracy"] == accuracy_score(expected.labels, predictions)
    assert metrics["macro_f1"] == pytest.approx(
        f1_score(expected.labels, predictions, average="macro")
    )
    assert metrics["accuracy"] > 0.85


def test_transformers_loads_the_classifier_and_agrees(trained):
    model = AutoModelForSequenceClassification.from_pretrained(trained / "classifier").eval()
    assert model.config.id2label == {0: "negative", 1: "positive"}
    tokenizer = AutoTokenizer.from_pretrained(trained / "encoder" / "tokenizer")
    table = pq.read_table(trained / "evaluation" / "predictions.parquet").slice(0, 8)
    for row in table.to_pylist():
        with torch.inference_mode():
            ids = tokenizer(row["text"], return_tensors="pt").input_ids
            probabilities = model(input_ids=ids).logits.softmax(-1)[0]
        assert probabilities.tolist() == pytest.approx(row["probabilities"], abs=1e-4)


def test_two_runs_give_the_same_bytes(root):
    for output in ("one", "two"):
        assert run_finetune(root, root / output, "--seed=3") == 0
    names = ("model.safetensors", "config.json", "tokenizer.json")
    for name in names:
        assert (root / "one" / name).read_bytes() == (root / "two" / name).read_bytes()


def test_from_scratch_needs_no_weights_and_starts_from_the_seed(root):
    assert run_finetune(root, root / "pretrained") == 0
    (root / "encoder" / "model.safetensors").unlink()
    assert run_finetune(root, root / "scratch", "--from-scratch") == 0
    assert run_finetune(root, root / "scratch-2", "--from-scratch", "--seed=2") == 0
    name = "bert.encoder.layer.1.attention.output.dense.weight"
    weights = [
        load_file(root / folder / "model.safetensors")[name]
        for folder in ("pretrained", "scratch", "scratch-2")
    ]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])
    assert read_metrics(root / "scratch")["from_scratch"] is True


def test_the_validation_split_is_never_opened(root):
    (root / "task" / "validation.parquet").unlink()
    assert run_finetune(root, root / "classifier") == 0


def test_long_texts_are_cut_and_counted(root):
    assert run_finetune(root, root / "classifier", "--max-length=4") == 0
    assert read_metrics(root / "classifier")["truncated_texts"] > 16


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max-length=3"], "--max-length 3: leaves no room for a text"),
        (["--max-length=64"], "--max-length 64: the encoder has 32 positions"),
    ],
)
def test_impossible_flags_are_refused(root, capsys, flags, message):
    assert run_finetune(root, root / "classifier", *flags) == 1
    assert message in capsys.readouterr().err


def test_a_folder_without_weights_says_what_is_missing(root, capsys):
    (root / "encoder" / "model.safetensors").unlink()
    assert run_finetune(root, root / "classifier") == 1
    assert "encoder: has no model.safetensors" in capsys.readouterr().err


def test_a_task_folder_that_was_not_prepared_is_refused(root, capsys):
    write_json(root / "task" / "task.json", {"name": "x", "labels": ["a", "b"]})
    assert run_finetune(root, root / "classifier") == 1
    assert "task.json: has no key 'origin'; run prepare_task.py again" in capsys.readouterr().err


def test_labels_that_the_task_does_not_name_are_refused(root, capsys):
    split = make_split(4, 1)
    split.labels[2] = 2
    write_split(root / "task" / "train.parquet", split)
    assert run_finetune(root, root / "classifier") == 1
    assert "train.parquet: holds labels that task.json does not name" in capsys.readouterr().err


def test_evaluation_leaves_fp32_to_what_knows_no_other(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    arguments = ["--model", str(trained / "classifier"), "--task", str(trained / "task")]
    assert evaluate.main([*arguments, "--output", str(tmp_path), "--max-length=16"]) == 0
    assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"


def test_a_model_of_other_labels_cannot_be_evaluated(root, capsys):
    assert run_finetune(root, root / "classifier") == 0
    facts = json.loads((root / "task" / "task.json").read_text())
    write_json(root / "task" / "task.json", facts | {"labels": ["bad", "good"]})
    arguments = ["--model", str(root / "classifier"), "--task", str(root / "task")]
    assert evaluate.main([*arguments, "--output", str(root / "evaluation"), "--max-length=16"]) == 1
    message = capsys.readouterr().err
    assert (
        "the model knows the labels negative, positive, the task tiny-task has bad, good" in message
    )


def test_a_split_that_is_not_there_lists_those_that_are(root, capsys):
    assert run_finetune(root, root / "classifier") == 0
    arguments = ["--model", str(root / "classifier"), "--task", str(root / "task")]
    output = ["--output", str(root / "evaluation"), "--max-length=16", "--split=test"]
    assert evaluate.main([*arguments, *output]) == 1
    assert "this task has the splits: train, validation" in capsys.readouterr().err


def test_an_encoder_without_labels_cannot_be_evaluated(root, capsys):
    arguments = ["--model", str(root / "encoder"), "--task", str(root / "task")]
    assert evaluate.main([*arguments, "--output", str(root / "evaluation")]) == 1
    assert (
        "config.json: has no id2label, and the weights beside it no classifier; fine-tune"
        in capsys.readouterr().err
    )


def test_finished_work_is_published_again_without_a_step(root, monkeypatch):
    kept = ["--seed=1", f"--run-dir={root / 'runs'}"]
    assert run_finetune(root, root / "first", *kept) == 0
    assert run_finetune(root, root / "plain", "--seed=1") == 0

    def step(self, number, span):
        raise AssertionError("a finished run took a step")

    monkeypatch.setattr("cloze.train.step.TrainingStep.__call__", step)
    assert run_finetune(root, root / "again", *kept) == 0
    for name in ("model.safetensors", "config.json", "metrics.json", "tokenizer.json"):
        first = (root / "first" / name).read_bytes()
        assert (root / "again" / name).read_bytes() == first
    weights = (root / "first" / "model.safetensors").read_bytes()
    assert (root / "plain" / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("change", ["--seed=2", "--weight-decay=0.5", "--from-scratch"])
def test_another_recipe_takes_no_finished_work(root, change):
    kept = [f"--run-dir={root / 'runs'}", "--seed=1"]
    assert run_finetune(root, root / "first", *kept) == 0
    assert run_finetune(root, root / "other", *kept, change) == 0
    first = (root / "first" / "model.safetensors").read_bytes()
    assert (root / "other" / "model.safetensors").read_bytes() != first
    assert len(list((root / "runs").iterdir())) == 2


def test_another_encoder_takes_no_finished_work(root):
    kept = [f"--run-dir={root / 'runs'}", "--seed=1"]
    assert run_finetune(root, root / "first", *kept) == 0
    weights = root / "encoder" / "model.safetensors"
    tensors = {name: tensor + 0.01 for name, tensor in load_file(weights).items()}
    save_file(tensors, weights)
    assert run_finetune(root, root / "other", *kept) == 0
    assert len(list((root / "runs").iterdir())) == 2
