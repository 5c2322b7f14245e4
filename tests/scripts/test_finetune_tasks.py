"""Kinds of tasks from files to metrics: pairs, scores, many labels; how training may end."""

import json
import random

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import pearsonr
from sklearn.metrics import matthews_corrcoef
from transformers import AutoModelForSequenceClassification

import baselines
import evaluate
import finetune
import prepare_task
from tests.tiny_task import write_encoder, write_task

FAST = ["--max-length=24", "--threads=1", "--learning-rate=3e-3", "--precision=fp32"]


@pytest.fixture
def root(tmp_path):
    write_encoder(tmp_path / "encoder")
    return tmp_path


def words(rng, count):
    return [f"w{rng.randrange(10, 59)}" for _ in range(count)]


def write_pairs(root, label):
    """Rows of two texts that share some words; `label(shared)` says what they are worth."""
    rng = random.Random(5)
    for name, count in (("train", 160), ("validation", 40)):
        lines = ["first,second,label"]
        for _ in range(count):
            shared, one = rng.randrange(5), words(rng, 4)
            two = [*one[:shared], *words(rng, 4 - shared)]
            lines.append(f"{' '.join(one)},{' '.join(two)},{label(shared)}")
        (root / f"{name}.csv").write_text("\n".join(lines) + "\n")


def prepare(root, *more):
    files = ["--train", str(root / "train.csv"), "--validation", str(root / "validation.csv")]
    columns = ["--text-column=first", "--text-pair-column=second", "--label-column=label"]
    assert prepare_task.main([*files, *columns, *more, "--output", str(root / "task")]) == 0


def train(root, *more, code=0):
    arguments = ["--model", str(root / "encoder"), "--task", str(root / "task")]
    output = ["--output", str(root / "classifier")]
    assert finetune.main([*arguments, *output, *FAST, *more]) == code
    return None if code else read(root / "classifier")


def measure(root, *more):
    arguments = ["--model", str(root / "classifier"), "--task", str(root / "task")]
    output = ["--output", str(root / "evaluation"), "--max-length=24", "--threads=1"]
    assert evaluate.main([*arguments, *output, *more]) == 0
    return read(root / "evaluation"), pq.read_table(root / "evaluation" / "predictions.parquet")


def read(folder):
    return json.loads((folder / "metrics.json").read_text())["metrics"]


def test_scores_of_pairs_are_learnt_and_transformers_agrees(root):
    write_pairs(root, lambda shared: shared / 2)
    prepare(root, "--regression")
    trained = train(root, "--num-train-epochs=2", "--dropout=0")
    assert "train_accuracy" not in trained
    measured, table = measure(root)
    labels, predictions = table["label"].to_numpy(), table["prediction"].to_numpy()
    assert measured["pearson"] == pearsonr(labels, predictions).statistic
    assert measured["score"] == (measured["pearson"] + measured["spearman"]) / 2
    assert table["text_pair"].null_count == 0
    peer = AutoModelForSequenceClassification.from_pretrained(root / "classifier").eval()
    assert peer.config.problem_type == "regression"
    vocabulary = json.loads((root / "classifier" / "tokenizer.json").read_text())["model"]["vocab"]
    for row in table.slice(0, 4).to_pylist():
        first, second = ([vocabulary[w] for w in row[c].split()] for c in ("text", "text_pair"))
        ids = torch.tensor([[2, *first, 3, *second, 3]])
        types = torch.tensor([[0] * (len(first) + 2) + [1] * (len(second) + 1)])
        with torch.inference_mode():
            score = peer(input_ids=ids, token_type_ids=types).logits.item()
        assert score == pytest.approx(row["prediction"], abs=1e-4)


def test_scores_are_learnt_alike_in_any_unit(root):
    found = {}
    for name, unit in (("plain", lambda n: n), ("salary", lambda n: 50_000 + 1_000 * n)):
        write_pairs(root, unit)
        prepare(root, "--regression")
        train(root, "--num-train-epochs=4", "--dropout=0")
        measured, table = measure(root)
        variance = np.var(table["label"].to_numpy())
        found[name] = measured["mean_squared_error"] / variance
    assert found["salary"] == pytest.approx(found["plain"], rel=1e-2)
    # Going on from that model begins where it ended, in the unit of the task.
    (root / "classifier").rename(root / "encoder-with-head")
    train(root, "--model", str(root / "encoder-with-head"), "--max-steps=1", "--learning-rate=1e-9")
    measured, _ = measure(root)
    assert measured["mean_squared_error"] / variance == pytest.approx(found["salary"], rel=1e-2)


def test_five_labels_of_which_one_never_occurs(root):
    write_pairs(root, lambda shared: "abde"[min(shared, 3)])
    prepare(root, "--labels", *"abcde", "--metric=matthews")
    train(root, "--num-train-epochs=1", "--class-weights=balanced")
    measured, table = measure(root)
    assert measured["per_class"]["c"]["support"] == 0
    assert measured["score"] == matthews_corrcoef(
        table["label"].to_numpy(), table["prediction"].to_numpy()
    )


@pytest.mark.parametrize("flags", [[], ["--regression"]])
def test_baselines_read_both_texts_of_a_pair(root, flags):
    write_pairs(root, lambda shared: int(shared > 1))
    prepare(root, *flags)
    output = root / "baselines.json"
    assert baselines.main(["--task", str(root / "task"), "--output", str(output)]) == 0
    measured = json.loads(output.read_text())["metrics"]["splits"]["validation"]
    majority, tfidf = measured["majority"], measured["tfidf_logistic_regression"]
    assert tfidf["score"] > majority["score"] + 0.05


def test_the_best_epoch_on_a_held_out_part_is_kept(root):
    write_task(root / "task")
    trained = train(root, "--num-train-epochs=30", "--early-stopping-patience=2")
    scores = trained["held_out_scores"]
    epoch = -(-trained["train_examples"] // 32)
    assert trained["best_step"] == epoch * (1 + int(np.argmax(scores)))
    assert len(scores) in (30, trained["best_step"] // epoch + 2)
    assert trained["train_examples"] < 128
    assert trained["steps"] == len(scores) * epoch


def test_a_split_too_small_to_hold_a_part_out_is_refused(root, capsys):
    write_task(root / "task", train_rows=2)
    train(root, "--num-train-epochs=1", "--early-stopping-patience=1", code=1)
    assert "set --early-stopping-patience 0" in capsys.readouterr().err


def test_what_is_unset_follows_the_size_of_the_task_and_the_encoder(root):
    write_task(root / "task", train_rows=32)
    arguments = ["--model", str(root / "encoder"), "--task", str(root / "task"), "--threads=1"]
    assert finetune.main([*arguments, "--output", str(root / "c"), "--max-length=16"]) == 0
    recipe = read(root / "c")["recipe"]
    assert (recipe["num_train_epochs"], recipe["learning_rate"]) == (10, 1e-3)
    assert recipe["classifier_pooling"] == "cls"


@pytest.mark.parametrize(
    ("flags", "pooling"), [([], "mean"), (["--classifier-pooling=cls"], "cls")]
)
def test_modernbert_pools_the_mean_unless_told(tmp_path, flags, pooling):
    write_encoder(tmp_path / "encoder", "modernbert")
    write_task(tmp_path / "task", train_rows=32)
    assert (
        train(tmp_path, "--num-train-epochs=1", *flags)["recipe"]["classifier_pooling"] == pooling
    )
    config = json.loads((tmp_path / "classifier" / "config.json").read_text())
    assert config["classifier_pooling"] == pooling
    probabilities = [measure(tmp_path)[1]["probabilities"][0].as_py()]
    (tmp_path / "classifier" / "config.json").write_text(
        json.dumps({**config, "classifier_pooling": "cls" if pooling == "mean" else "mean"})
    )
    probabilities.append(measure(tmp_path)[1]["probabilities"][0].as_py())
    assert probabilities[0] != probabilities[1]


def test_layerwise_decay_leaves_low_layers_nearer_to_where_they_were(root):
    write_task(root / "task")
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    before = load_file(root / "encoder" / "model.safetensors")[name]
    moved = []
    for decay in ("1", "0.1"):
        train(root, "--num-train-epochs=1", f"--layerwise-lr-decay={decay}")
        moved.append((load_file(root / "classifier" / "model.safetensors")[name] - before).norm())
    assert moved[1] < 0.1 * moved[0]
