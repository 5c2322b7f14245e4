"""The sample's questions: answers stand in the review, and no review answers what it does not."""

import json
from pathlib import Path

import pytest

from cloze.sample.questions import build_questions
from cloze.tasks.hold_out import hold_out
from cloze.tasks.question_answering import QuestionRow, Questions
from cloze.tasks.task import Task, write_split
from tests.unit.test_question_answering import described, read_questions

SAMPLE = Path(__file__).parents[2] / "resources" / "sample"


@pytest.fixture(scope="module")
def questions(tmp_path_factory) -> dict[str, list[QuestionRow]]:
    folder = tmp_path_factory.mktemp("questions")
    for split, squad in build_questions(seed=0).items():
        (folder / f"{split}.json").write_text(json.dumps(squad), encoding="utf-8")
    return {path.stem: read_questions(path) for path in sorted(folder.iterdir())}


def test_a_quarter_has_no_answer_and_no_offset_is_off(questions):
    for rows in questions.values():
        facts = described(rows)
        assert facts["repaired_offsets"] == 0
        assert facts["articles"] == facts["contexts"]
        assert 0.2 < facts["unanswerable"] / len(rows) < 0.3
    assert len(questions["train"]) > 1000
    assert len(questions["validation"]) > 300


def test_a_hold_out_divides_reviews_though_all_are_asked_the_same(questions, tmp_path):
    write_split(tmp_path / "train.parquet", Questions().encode(Path(), questions["train"], []))
    facts = {"objective": "question_answering", "splits": {"train": {}}}
    split = Task(tmp_path, "t", [], facts).split("train")
    parts = hold_out(split, 0.1, 0)
    assert parts.num_groups > 30
    assert 0.09 < len(parts.held_out) / len(split) < 0.11
    contexts, held_out = (
        {split.pairs[row] for row in rows} for rows in (parts.train, parts.held_out)
    )
    assert not contexts & held_out


def test_splits_share_no_review_and_the_corpus_has_none(questions):
    reviews = [{row.context for row in rows} for rows in questions.values()]
    assert not reviews[0] & reviews[1]
    corpus = set((SAMPLE / "corpus.txt").read_text(encoding="utf-8").rstrip("\n").split("\n\n"))
    assert not corpus & (reviews[0] | reviews[1])


def test_every_kind_of_question_has_answers_and_few_are_always_answered(questions):
    rows = questions["train"]
    kinds = {" ".join(row.question.split()[:3]) for row in rows}
    answered = {" ".join(row.question.split()[:3]) for row in rows if row.answers}
    refused = {" ".join(row.question.split()[:3]) for row in rows if not row.answers}
    assert answered == kinds
    assert len(refused) > len(kinds) / 2


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("In which city was the weather bad?", "It was raining in"),
        ("Who is the ghost?", "is the ghost"),
        ("When was the review written?", "wrote this on"),
        ("How long is the film?", "It runs for"),
    ],
)
def test_a_question_without_an_answer_has_none_in_the_review(questions, question, says):
    rows = [row for rows in questions.values() for row in rows if row.question == question]
    assert {bool(row.answers) for row in rows} >= {True}
    assert all((says in row.context) == bool(row.answers) for row in rows)


def test_another_seed_asks_of_other_reviews():
    first, second = (build_questions(seed)["validation"]["data"][0] for seed in (0, 1))
    assert first["paragraphs"][0]["context"] != second["paragraphs"][0]["context"]
