"""Vectors of pairs: their batches, and a loss that belongs to the whole batch."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from cloze.model.hf_config import config_from_folder
from cloze.objectives.contrastive import cosent_loss
from cloze.objectives.sentence_similarity import SentenceSimilarity, texts_of
from cloze.objectives.task import TrainingRows
from cloze.tasks.task import load_task
from cloze.tokens.tokenizer import load_tokenizer
from cloze.train.budget import Span
from cloze.train.processes import World
from cloze.train.step import TrainingStep
from tests.tiny_pretraining import CPU, PLAN, RECIPE
from tests.tiny_similarity import (
    PAIR,
    SCORED,
    TRIPLES,
    prepare,
    write_collection,
    write_pairs,
    write_rows,
    write_scored,
)
from tests.tiny_task import write_encoder

ROWS, BATCH_SIZE = 21, 8
KINDS = {"scored": SCORED, "pairs": TRIPLES, "texts": ["--text-column=first"], "queries": []}


def make_objective(root: Path, kind: str, dropout: float = 0.0) -> SentenceSimilarity:
    """Return the objective of a tiny encoder on a training split of this kind."""
    folder = write_encoder(root / "encoder")
    collection = write_collection(root / "collection", 3)
    train = {
        "scored": lambda: write_scored(root / "train.tsv", ROWS, 1),
        "pairs": lambda: write_pairs(root / "train.tsv", ROWS, 1),
        "texts": lambda: write_pairs(root / "train.tsv", ROWS, 1),
        "queries": lambda: collection,
    }[kind]()
    validation = write_scored(root / "validation.tsv", 8, 2) if kind == "scored" else collection
    task = load_task(prepare(root / "task", train, validation, *KINDS[kind]))
    settings = Namespace(
        model=folder, max_length=16, truncation="head", seed=0, temperature=0.05, pooling=None
    )
    split, config = task.split("train"), config_from_folder(folder).with_dropout(dropout)
    torch.manual_seed(0)
    model = SentenceSimilarity.build(config, task, settings)
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    encoded = SentenceSimilarity.encode(tokenizer, split, settings, config.vocab_size)
    rows = np.arange(len(split))
    data = TrainingRows(task, split, encoded, rows, np.empty(0, dtype=np.int64))
    return SentenceSimilarity(model, data, settings)


def vectors_by_text(objective: SentenceSimilarity) -> dict[str, torch.Tensor]:
    """Return the vector of each text of the training split, with a graph."""
    model, encoded = objective.model, objective.data.encoded
    found = objective.predict(model, encoded, CPU, None)
    return dict(zip(texts_of(objective.data.split), torch.from_numpy(found), strict=True))


def gradient(objective: SentenceSimilarity, losses: list[torch.Tensor]) -> list[torch.Tensor]:
    return list(torch.autograd.grad(sum(losses), list(objective.model.parameters())))


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_costs_what_its_vectors_do(tmp_path, kind):
    objective = make_objective(tmp_path, kind)
    found = objective.loss(objective.model.eval(), objective.batch(0, BATCH_SIZE, 0.0, None))
    vectors, split = vectors_by_text(objective), objective.data.split
    texts = texts_of(split)
    examples = objective._texts_of_batch(0, BATCH_SIZE)
    names = [[texts[number] for number in objective._pairs[example]] for example in examples]
    first, *others = (
        torch.stack([vectors[name] for name in column]) for column in zip(*names, strict=True)
    )
    if kind == "scored":
        scores = torch.from_numpy(split.labels[examples]).float()
        expected = cosent_loss(first, others[0], scores, 0.05)
    else:
        # Topics repeat, texts hardly do; those that do are no negatives.
        logits = first @ torch.cat(others).T / 0.05
        answers = [name[1] for name in names] + [name[2] for name in names if len(name) > 2]
        for row, name in enumerate(names):
            for column, answer in enumerate(answers):
                same_anchor = column < len(names) and names[column][0] == name[0]
                if column != row and (answer == name[1] or same_anchor):
                    logits[row, column] = -torch.inf
        expected = F.cross_entropy(logits, torch.arange(len(names)))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [0, 2], ids=["whole batch", "last batch of an epoch"])
def test_processes_give_loss_and_gradient_of_the_whole_batch(tmp_path, kind, step):
    objective = make_objective(tmp_path, kind)
    model = objective.model
    whole = objective.loss(model, objective.batch(step, BATCH_SIZE, 0.0, None))
    # Of a last batch of five pairs the third process of four has one, the fourth none.
    shares = [(start, start + 2) for start in range(0, BATCH_SIZE, 2)]
    batches = [objective.batch(step, BATCH_SIZE, 0.0, part) for part in shares]
    with torch.no_grad():
        outputs = [objective.outputs(model, batch) for batch in batches]
    collected: list[torch.Tensor] = []
    for batch, output in zip(batches, outputs, strict=True):
        objective.decoupled(batch, output, lambda own: collected.append(own) or own)
    everything = torch.stack(collected).sum(dim=0)
    decoupled = [
        objective.decoupled(batch, output, lambda own: everything.clone())
        for batch, output in zip(batches, outputs, strict=True)
    ]
    losses = [objective.loss(model, batch) for batch in decoupled]
    torch.testing.assert_close(sum(losses), whole)
    expected = gradient(objective, [whole])
    for one, other in zip(gradient(objective, losses), expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("kind", ["scored", "pairs", "texts"])
@pytest.mark.parametrize("micro_batch_size", [1, 2])
def test_parts_of_a_batch_make_the_steps_of_the_whole(tmp_path, kind, micro_batch_size):
    losses = []
    for size in (None, micro_batch_size):
        recipe = replace(RECIPE, train_batch_size=BATCH_SIZE)
        plan = replace(PLAN, recipe=recipe, micro_batch_size=size, compute=CPU)
        step = TrainingStep(make_objective(tmp_path, kind), plan, World())
        losses.append([step(number, Span(0.5, 0.5))[0].item() for number in range(5)])
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert losses[0][-1] < losses[0][0]


def test_the_second_pass_draws_the_dropout_of_the_first(tmp_path, monkeypatch):
    objective = make_objective(tmp_path, "texts", dropout=0.3)
    plan = replace(PLAN, recipe=replace(RECIPE, train_batch_size=BATCH_SIZE), micro_batch_size=1)
    step = TrainingStep(objective, plan, World())
    objective.model.train()
    passes: list[torch.Tensor] = []
    compute = SentenceSimilarity.outputs

    def noted(model: torch.nn.Module, batch: object) -> torch.Tensor:
        found = compute(model, batch)
        passes.append(found.detach())
        return found

    monkeypatch.setattr(SentenceSimilarity, "outputs", staticmethod(noted))
    step(0, Span(0.5, 0.5))
    half = len(passes) // 2
    assert half > 1
    for first, second in zip(passes[:half], passes[half:], strict=True):
        torch.testing.assert_close(first, second, atol=0, rtol=0)


def test_simcse_sees_each_text_twice_under_dropout_of_its_own(tmp_path):
    objective = make_objective(tmp_path, "texts", dropout=0.3)
    assert (objective._pairs[:, 0] == objective._pairs[:, 1]).all()
    batch = objective.batch(0, 4, 0.0, None)
    assert sorted(batch.places[batch.places >= 0].tolist()) == list(range(8))
    vectors = objective.outputs(objective.model.train(), batch)
    first, second = (vectors[batch.places == number][0] for number in (0, 4))
    assert 0.2 < F.cosine_similarity(first, second, dim=0) < 0.9999


def test_texts_that_read_alike_are_one_example_of_simcse(tmp_path):
    write_encoder(tmp_path / "encoder")
    objective = make_objective(tmp_path, "texts")
    rows = [["w1 w2"], ["w1 w2"], ["w3"]]
    train = write_rows(tmp_path / "twice.tsv", "first", rows)
    qrels = tmp_path / "collection" / "qrels" / "test.tsv"
    split = load_task(prepare(tmp_path / "twice", train, qrels, *PAIR[:1])).split("train")
    settings = Namespace(max_length=16, truncation="head", seed=0, temperature=0.05)
    tokenizer = load_tokenizer(tmp_path / "encoder" / "tokenizer.json")
    encoded = SentenceSimilarity.encode(tokenizer, split, settings, 64)
    data = TrainingRows(objective.data.task, split, encoded, np.arange(3), np.empty(0, np.int64))
    assert SentenceSimilarity(objective.model, data, settings).num_examples == 2
