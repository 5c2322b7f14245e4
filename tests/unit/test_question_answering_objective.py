"""The loss of packed windows is that of each by itself; held-out rows choose the threshold."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import prepare_task
from cloze.model.device import Compute
from cloze.model.hf_config import config_from_folder
from cloze.objectives.answer_spans import FoundAnswers
from cloze.objectives.question_answering import QuestionAnswering, given_answers, span_losses
from cloze.objectives.task import TrainingRows
from cloze.tasks.task import load_task
from cloze.tokens.tokenizer import load_tokenizer
from cloze.train.finetuning import _recipe
from tests.tiny_questions import write_questions
from tests.tiny_task import write_encoder

SETTINGS = Namespace(
    seed=0, max_length=20, doc_stride=4, max_answer_length=5, class_weights="none",
    classifier_dropout=0.0,
)  # fmt: skip


class TestSpanLosses:
    def test_each_window_has_the_cross_entropies_over_its_own_tokens(self):
        torch.manual_seed(0)
        logits = torch.randn(2, 8, 2, dtype=torch.float64)
        sample_ids = torch.tensor([[1, 1, 1, 2, 2, 2, 2, 0], [1, 1, 1, 1, 1, 0, 0, 0]])
        columns = torch.tensor([[[1, 2], [3, 3]], [[4, 4], [0, 0]]])
        found = span_losses(logits, sample_ids, columns)
        for row, number, part in ((0, 0, slice(0, 3)), (0, 1, slice(3, 7)), (1, 0, slice(0, 5))):
            own = logits[row, part].T
            target = columns[row, number] - part.start
            expected = F.cross_entropy(own, target).item()
            assert found[row, number].item() == pytest.approx(expected)

    def test_where_a_row_has_no_window_nothing_is_learnt(self):
        logits = torch.randn(1, 4, 2, requires_grad=True)
        sample_ids, columns = torch.tensor([[1, 1, 0, 0]]), torch.zeros(1, 3, 2, dtype=torch.int64)
        losses = span_losses(logits, sample_ids, columns)
        (losses * torch.tensor([[0.5, 0.0, 0.0]])).sum().backward()
        assert torch.isfinite(losses).all()
        assert torch.isfinite(logits.grad).all()
        assert (logits.grad[0, 2:] == 0).all()
        assert (logits.grad[0, :2] != 0).all()


@pytest.fixture(scope="module")
def objective(tmp_path_factory):
    """An objective of 240 questions, a third of them without an answer, on two windows each."""
    root = tmp_path_factory.mktemp("objective")
    flags = write_questions(root / "files", words=18)
    assert prepare_task.main([*flags, "--output", str(root / "task")]) == 0
    task = load_task(root / "task")
    write_encoder(root / "encoder")
    tokenizer = load_tokenizer(root / "encoder" / "tokenizer.json")
    split = task.split("train")
    encoded = QuestionAnswering.encode(tokenizer, split, SETTINGS, 64)
    torch.manual_seed(0)
    model = QuestionAnswering.build(config_from_folder(root / "encoder"), task, SETTINGS)
    data = TrainingRows(task, split, encoded, np.arange(200), np.arange(200, 240))
    return QuestionAnswering(model, data, SETTINGS)


def test_a_batch_points_to_the_words_of_its_answers(objective):
    assert objective.data.encoded.windows_per_question.min() == 2
    batch = objective.batch(0, 64, 0.0, None)
    tokens = batch.packed.input_ids.gather(1, batch.targets.flatten(1)).view(batch.targets.shape)
    pairs = {tuple(pair) for pair in tokens[batch.weights > 0].tolist()}
    # [CLS] twice, or the words with which answers start and end, w1 and w2.
    assert pairs == {(2, 2), (6, 7)}
    assert batch.weights.sum().item() == pytest.approx(1)


def test_the_losses_of_parts_add_up_to_that_of_the_batch(objective):
    objective.model.eval()
    with torch.inference_mode():
        whole = objective.loss(objective.model, objective.batch(0, 32, 0.0, None))
        parts = [
            objective.loss(objective.model, objective.batch(0, 32, 0.0, part))
            for part in ((0, 20), (20, 32), (32, 32))
        ]
    assert parts[2] == 0
    assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-5)


def test_held_out_questions_alone_choose_the_threshold(objective):
    assert objective.model.null_threshold == 0.0
    compute = Compute("cpu", "fp32", False, 1)
    score = objective.evaluate(compute, 40)["held_out_score"]
    chosen = objective.model.null_threshold
    assert chosen != 0.0
    assert objective.model.training
    # An encoder that learnt nothing does best where it never answers.
    split = objective.data.split.take(objective.data.held_out)
    without = np.mean([not answers["text"] for answers in split.labels])
    assert score >= without
    objective.calibrate(compute)
    assert objective.model.null_threshold == chosen


def test_what_is_said_follows_the_threshold():
    found = FoundAnswers(
        np.array([3, 3, 0]), np.array([5, 5, 0]), np.array([0.8, 0.8, 0.0]),
        np.array([0.6, 0.6, 1.0]), np.array([1.0, 2.0, 9.0]),
    )  # fmt: skip
    said = given_answers(found, 1.5)
    assert said.ends.tolist() == [5, 0, 0]
    # The best answer's share of what no answer leaves, or that of no answer.
    assert said.scores.tolist() == pytest.approx([0.8 * 0.4, 0.6, 1.0])
    always = given_answers(found, None)
    assert always.ends.tolist() == [5, 5, 0]
    assert always.scores.tolist() == [0.8, 0.8, 0.0]
    assert always.null_probabilities.tolist() == [0, 0, 0]


def test_the_language_is_part_of_a_run(objective, tmp_path):
    """Another language may choose another epoch and another threshold."""
    folder, root = tmp_path / "task", objective.data.task.folder
    folder.mkdir()
    for name in ("task.json", "train.parquet"):
        (folder / name).write_bytes((root / name).read_bytes())
    args = Namespace(
        **vars(SETTINGS), model=root.parent / "encoder", task=folder, from_scratch=True
    )
    script = Path(prepare_task.__file__).with_name("finetune.py")
    first = _recipe(args, load_task(folder), script)
    facts = json.loads((folder / "task.json").read_text())
    (folder / "task.json").write_text(json.dumps(facts | {"origin": "elsewhere"}))
    assert _recipe(args, load_task(folder), script) == first
    (folder / "task.json").write_text(json.dumps(facts | {"language": "de"}))
    assert _recipe(args, load_task(folder), script) != first
