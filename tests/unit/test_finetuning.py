"""Fine-tuning a tiny encoder on a tiny task: what training does to the weights."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file

import finetune
from cloze.files import read_json
from cloze.tasks.task import load_task
from cloze.train.finetuning import default_epochs, default_learning_rate
from tests.tiny_task import write_encoder, write_task

HEAD = "classifier.weight"
EMBEDDINGS = "bert.embeddings.word_embeddings.weight"
# So small a rate moves no float32 weight.
STILL = ["--num-train-epochs=1", "--learning-rate=1e-12"]


@pytest.fixture
def root(tmp_path):
    write_encoder(tmp_path / "encoder")
    write_task(tmp_path / "task")
    return tmp_path


def train(root, name, *more, code=0):
    """Fine-tune as 16 texts a step do in four epochs, unless told otherwise."""
    files = [f"--model={root / 'encoder'}", f"--task={root / 'task'}", f"--output={root / name}"]
    machine = ["--device=cpu", "--precision=fp32", "--threads=1", "--max-length=32"]
    recipe = ["--learning-rate=3e-3", "--num-train-epochs=4", "--train-batch-size=16"]
    assert finetune.main([*files, *machine, *recipe, "--warmup-ratio=0.1", *more]) == code
    return None if code else load_file(root / name / "model.safetensors")


def metrics(root, name):
    return read_json(root / name / "metrics.json")["metrics"]


def test_the_seed_draws_the_head_and_leaves_the_encoder(root):
    one, other = (train(root, f"seed-{seed}", f"--seed={seed}", *STILL) for seed in (1, 2))
    same = train(root, "again", "--seed=1", *STILL)
    encoder = load_file(root / "encoder" / "model.safetensors")
    assert torch.equal(one[HEAD], same[HEAD])
    assert not torch.equal(one[HEAD], other[HEAD])
    assert torch.equal(one[EMBEDDINGS], encoder[EMBEDDINGS])
    scratch = train(root, "scratch-1", "--seed=1", "--from-scratch", *STILL)[EMBEDDINGS]
    other_scratch = train(root, "scratch-2", "--seed=2", "--from-scratch", *STILL)[EMBEDDINGS]
    assert not torch.equal(scratch, one[EMBEDDINGS])
    assert not torch.equal(scratch, other_scratch)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_learns_the_task(root, precision):
    train(root, "classifier", f"--precision={precision}", "--num-train-epochs=16", "--seed=1")
    found = metrics(root, "classifier")
    assert found["train_accuracy"] > 0.95
    assert found["train_loss"] < 0.5 * math.log(2)
    assert found["steps"] == 16 * 8
    assert found["tokens"] == 16 * tokens_of_an_epoch(root)


def tokens_of_an_epoch(root):
    """Return the tokens of the training split: words, each with [CLS] and [SEP] around a text."""
    texts = load_task(root / "task").split("train").texts
    return sum(len(text.split()) + 2 for text in texts)


def test_two_runs_give_equal_weights_and_another_seed_does_not(root):
    first, second = (train(root, name, "--seed=1") for name in ("first", "second"))
    other = train(root, "other", "--seed=2")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first[HEAD], other[HEAD])


def test_only_matrices_are_decayed(root):
    still = ["--learning-rate=1e-9", "--num-train-epochs=1"]
    plain = train(root, "plain", *still)
    decayed = train(root, "decayed", *still, "--weight-decay=1e7")
    for name, value in plain.items():
        norm_ratio = decayed[name].norm() / value.norm().clamp(min=1e-12)
        if value.dim() > 1:
            assert norm_ratio < 0.98, name
        else:
            torch.testing.assert_close(decayed[name], value, atol=1e-6, rtol=1e-5)


def test_a_loss_that_is_no_number_is_reported(root, capsys):
    path = root / "encoder" / "model.safetensors"
    broken = load_file(path)
    broken["bert.encoder.layer.0.output.dense.weight"][0, 0] = 3e38
    save_file(broken, path, metadata={"format": "pt"})
    train(root, "classifier", code=1)
    said = capsys.readouterr().err
    assert "training diverged at step 1: the loss is nan" in said
    assert "lower learning_rate (0.003)" in said
    assert "Batch: 16 rows of the training split, from 0: " in said
    assert not (root / "classifier" / "model.safetensors").exists()


@pytest.mark.parametrize(("rows", "epochs"), [(2_490, 10), (67_349, 3), (392_702, 2)])
def test_small_tasks_get_more_epochs(rows, epochs):
    assert default_epochs(rows) == epochs


@pytest.mark.parametrize(
    ("width", "rate"), [(32, 1e-3), (128, 4.8e-4), (256, 1.7e-4), (768, 3.3e-5)]
)
def test_wide_encoders_get_a_lower_rate(width, rate):
    assert default_learning_rate(width) == rate
