"""Objectives over labelled texts: their batches, their weights and their vocabulary."""

from argparse import Namespace

import numpy as np
import pytest
import torch

from cloze.errors import ClozeError
from cloze.model.heads import SequenceClassifier
from cloze.model.hf_config import config_from_folder
from cloze.objectives.classification import Classification
from cloze.objectives.regression import Regression
from cloze.objectives.sequence import SequenceObjective
from cloze.objectives.task import TrainingRows, objective_of
from cloze.objectives.texts import encode_texts, pack_texts
from cloze.tasks.task import load_task
from cloze.tokens.tokenizer import load_tokenizer
from tests.tiny_pretraining import CPU
from tests.tiny_task import write_encoder, write_task

TEXTS, BATCH_SIZE = 21, 8


@pytest.fixture
def objective(tmp_path) -> SequenceObjective:
    folder = write_encoder(tmp_path / "encoder")
    task = load_task(write_task(tmp_path / "task", train_rows=TEXTS))
    torch.manual_seed(0)
    model = SequenceClassifier(config_from_folder(folder), 2).eval()
    split = task.split("train")
    encoded = encode_texts(load_tokenizer(folder / "tokenizer.json"), split.texts, 32, 64)
    data = TrainingRows(task, split, encoded, np.arange(TEXTS), np.empty(0, dtype=np.int64))
    return objective_of(task)(model, data, Namespace(class_weights="none", seed=0))


def test_each_epoch_shows_every_text_once_in_an_order_of_its_own(objective):
    steps = objective.steps_per_epoch(BATCH_SIZE)
    assert steps == 3
    epochs = [
        np.concatenate([objective._texts_of_batch(first + n, BATCH_SIZE) for n in range(steps)])
        for first in (0, steps)
    ]
    for texts in epochs:
        assert sorted(texts.tolist()) == list(range(TEXTS))
    assert epochs[0].tolist() != epochs[1].tolist()


@pytest.mark.parametrize("step", [0, 2], ids=["whole batch", "last batch of an epoch"])
def test_a_batch_costs_the_mean_of_its_texts_and_so_do_its_parts(objective, step):
    texts = objective._texts_of_batch(step, BATCH_SIZE)
    assert len(texts) == (BATCH_SIZE if step == 0 else TEXTS % BATCH_SIZE)
    logits = torch.from_numpy(
        objective.predict(objective.model, objective.data.encoded, CPU, texts)
    )
    labels = torch.from_numpy(objective.data.split.labels[texts])
    expected = torch.nn.functional.cross_entropy(logits, labels)

    def loss(part):
        return objective.loss(objective.model, objective.batch(step, BATCH_SIZE, 0.0, part))

    torch.testing.assert_close(loss(None), expected)
    # Five of eight fill the last batch of the epoch: the last process has none of them.
    parts = [loss((start, start + 2)) for start in range(0, BATCH_SIZE, 2)]
    torch.testing.assert_close(sum(parts), expected)
    assert (float(parts[-1].detach()) == 0) == (step == 2)


def test_a_model_with_only_the_tokens_that_occur_says_the_same(objective):
    model, encoded = objective.model, objective.data.encoded
    whole = model.encoder.token_embedding.weight.detach().clone()
    occurring = np.unique(encoded.input_ids)
    before = objective.batch(0, BATCH_SIZE, 0.0, None)
    with torch.no_grad():
        expected = model(pack_texts(encoded, np.arange(TEXTS))[0])
        with objective.only_occurring_tokens():
            assert model.encoder.token_embedding.num_embeddings == len(occurring) < 64
            found = model(pack_texts(objective._encoded, np.arange(TEXTS))[0])
            model.encoder.token_embedding.weight += 1
    assert torch.equal(found, expected)
    rest = np.setdiff1d(np.arange(64), occurring)
    after = model.encoder.token_embedding.weight.detach()
    assert torch.equal(after[occurring], whole[occurring] + 1)
    assert torch.equal(after[rest], whole[rest])
    again = objective.batch(0, BATCH_SIZE, 0.0, None)
    assert torch.equal(again.packed.input_ids, before.packed.input_ids)


def test_balanced_classes_count_alike_whatever_their_rows():
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    weights = Classification.text_weights(labels, np.arange(6), "balanced")
    counted = [weights[:6][labels[:6] == label].sum() for label in (0, 1)]
    assert counted == [3.0, 3.0]
    assert Classification.text_weights(labels, np.arange(8), "none").tolist() == [1.0] * 8
    with pytest.raises(ClozeError, match="--class-weights balanced: a task of scores"):
        Regression.text_weights(labels.astype(float), np.arange(8), "balanced")
