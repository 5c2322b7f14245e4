"""Questions are read with every answer at its place, or the file and the question are named."""

import gzip
import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cloze.errors import ClozeError
from cloze.tasks.kind import LeftOut
from cloze.tasks.question_answering import (
    Answer,
    AnswerPredictions,
    QuestionRow,
    Questions,
    answers_outcome,
    best_matching_sentence,
)
from cloze.tasks.scores import score_of_sums
from cloze.tasks.task import Task, write_split
from tests.tiny_task import task_settings

CONTEXT = "Die Stadt Köln hat 1 Dom. Köln liegt am Rhein."


def read_questions(path: Path, format: str | None = None, **changes: Any) -> list[QuestionRow]:
    settings = task_settings(format=format, train=[path], **changes)
    return list(Questions().read(settings, path, LeftOut(settings)))


def described(rows: list[QuestionRow]) -> dict[str, Any]:
    kind = Questions()
    return kind.describe(kind.encode(Path("train.json"), rows, []), [])


def asked(**changes: Any) -> dict[str, Any]:
    question = {
        "id": "q1",
        "question": "Wo liegt Köln?",
        "answers": [{"text": "am Rhein", "answer_start": 37}],
    }
    return {key: value for key, value in (question | changes).items() if value is not None}


def squad(*questions: dict[str, Any], **paragraph: Any) -> dict[str, Any]:
    paragraphs = [{"context": CONTEXT, "qas": list(questions), **paragraph}]
    return {"version": "1.1", "data": [{"title": "Köln", "paragraphs": paragraphs}]}


def write(path: Path, held: Any) -> Path:
    path.write_text(json.dumps(held), encoding="utf-8")
    return path


def refuse(path: Path, held: Any, match: str) -> None:
    with pytest.raises(ClozeError, match=match) as caught:
        list(read_questions(write(path, held)))
    assert str(path) in str(caught.value)


class TestSquad:
    def test_questions_have_context_answers_and_the_title_of_their_article(self, tmp_path):
        held = squad(asked(), asked(id="q2", answers=[], is_impossible=True))
        (first, second) = read_questions(write(tmp_path / "train.json", held))
        assert first.context[37:45] == "am Rhein"
        assert first == first._replace(
            id="q1", answers=[Answer("am Rhein", 37)], group="Köln", repaired=0
        )
        assert second.answers == []
        assert described([first, second]) == {
            "answerable": 1,
            "unanswerable": 1,
            "contexts": 1,
            "articles": 1,
            "repaired_offsets": 0,
        }

    def test_a_compressed_file_is_read_in_place(self, tmp_path):
        path = tmp_path / "train.json.gz"
        path.write_bytes(gzip.compress(json.dumps(squad(asked())).encode()))
        assert [row.id for row in read_questions(path)] == ["q1"]

    def test_an_article_without_a_title_is_a_group_all_the_same(self, tmp_path):
        held = squad(asked())
        held["data"].append({"paragraphs": [{"context": CONTEXT, "qas": [asked(id="q2")]}]})
        del held["data"][0]["title"]
        rows = read_questions(write(tmp_path / "train.json", held))
        assert [row.group for row in rows] == ["data[0]", "data[1]"]

    @pytest.mark.parametrize(
        ("held", "match"),
        [
            ([], "the file: holds list where SQuAD has an object"),
            ({"version": "1.1"}, "the file: has no list 'data'"),
            ({"data": [{"title": "Köln"}]}, r"data\[0\]: has no list 'paragraphs'"),
            ({"data": [{"paragraphs": [{}]}]}, r"data\[0\].paragraphs\[0\]: has no list 'qas'"),
            (
                {"data": [{"paragraphs": [{"qas": [asked()]}]}]},
                r"data\[0\].paragraphs\[0\]: no key 'context'",
            ),
            (squad(asked(id=None)), r"paragraphs\[0\].qas\[0\]: no key 'id'"),
            (squad(asked(question=None)), "no key 'question'"),
            (squad(asked(answers=None)), "no key 'answers'"),
            (squad(asked(answers="am Rhein")), "id q1: answers holds str, not a list"),
            (squad(asked(answers=["am Rhein"])), "id q1: answers: holds str where SQuAD has"),
            (squad(asked(answers=[{"text": "Dom"}])), "id q1: an answer has no key 'answer_start'"),
            (squad(asked(question=" ")), "id q1: question is empty"),
            (squad(asked(), context=""), "id q1: context is empty"),
            (squad(asked(question=["Wo?"])), "id q1: question holds list, not a text"),
            (
                squad(asked(question="\ud83d")),
                r"id q1: question holds '\\ud83d', half of a surrogate pair",
            ),
            (squad(asked(), asked()), "the id 'q1' is there twice"),
            (squad(asked(is_impossible=True)), "id q1: is_impossible is true and there are"),
        ],
    )
    def test_what_is_missing_or_of_a_wrong_kind_is_named(self, tmp_path, held, match):
        refuse(tmp_path / "train.json", held, match)

    def test_what_is_no_json_is_said(self, tmp_path):
        path = tmp_path / "train.json"
        path.write_text('{"data": [')
        with pytest.raises(ClozeError, match="not JSON"):
            list(read_questions(path))

    def test_a_suffix_that_says_nothing_asks_for_the_format(self, tmp_path):
        path = write(tmp_path / "train.txt", squad(asked()))
        with pytest.raises(ClozeError, match=r"give --format \(squad, jsonl, parquet\)"):
            list(read_questions(path))
        assert len(list(read_questions(path, "squad"))) == 1


class TestOffsets:
    def read(self, tmp_path, text, start):
        held = squad(asked(answers=[{"text": text, "answer_start": start}]))
        (row,) = read_questions(write(tmp_path / "train.json", held))
        return row

    @pytest.mark.parametrize("start", [35, 38, 40])
    def test_one_that_is_a_little_off_is_repaired_and_counted(self, tmp_path, start):
        row = self.read(tmp_path, "am Rhein", start)
        assert row.answers == [Answer("am Rhein", 37)]
        assert described([row])["repaired_offsets"] == 1

    def test_an_answer_that_stands_twice_nearby_is_refused(self, tmp_path):
        with pytest.raises(ClozeError, match=r"id q1: the answer 'Köln' .* but at 10, 26"):
            self.read(tmp_path, "Köln", 12)

    def test_one_that_is_far_off_is_refused_with_the_right_one(self, tmp_path):
        with pytest.raises(ClozeError, match="answer_start 0 but at 37; correct the offset"):
            self.read(tmp_path, "am Rhein", 0)

    def test_an_answer_from_elsewhere_is_refused(self, tmp_path):
        with pytest.raises(ClozeError, match="'am Main' does not stand in its context"):
            self.read(tmp_path, "am Main", 37)

    @pytest.mark.parametrize("start", [None, 3.0, "3", True])
    def test_one_that_is_no_number_is_refused(self, tmp_path, start):
        with pytest.raises(ClozeError, match="not a whole number"):
            self.read(tmp_path, "am Rhein", start)


class TestTables:
    ROW: ClassVar[dict[str, Any]] = {
        "id": "q1",
        "title": "Köln",
        "context": CONTEXT,
        "question": "Wo liegt Köln?",
        "answers": {"text": ["am Rhein"], "answer_start": [37]},
    }

    def write(self, path, row):
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist([row]), path)
        else:
            path.write_text(json.dumps(row) + "\n", encoding="utf-8")
        return path

    @pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
    def test_the_columns_of_the_hub_give_what_squad_gives(self, tmp_path, suffix):
        path = self.write(tmp_path / f"train.{suffix}", self.ROW)
        (row,) = read_questions(path)
        (expected,) = read_questions(write(tmp_path / "train.json", squad(asked())))
        assert row._replace(place="") == expected._replace(place="")

    @pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
    def test_no_answer_is_an_empty_list(self, tmp_path, suffix):
        kind = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])
        empty = self.ROW | {"answers": {"text": [], "answer_start": []}}
        path = self.write(tmp_path / f"train.{suffix}", empty)
        if suffix == "parquet":
            table = pa.Table.from_pylist([empty])
            pq.write_table(table.set_column(4, "answers", pa.array([empty["answers"]], kind)), path)
        assert [row.answers for row in read_questions(path)] == [[]]

    def test_a_column_may_have_another_name_and_serve_twice(self, tmp_path):
        row = {("absatz" if key == "context" else key): value for key, value in self.ROW.items()}
        path = self.write(tmp_path / "train.jsonl", row)
        (found,) = read_questions(path, text_pair_column="absatz", group_column="absatz")
        assert found.group == found.context == CONTEXT

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"answers": {"text": ["Dom"]}}, "line 1: answers: has no list 'answer_start'"),
            (
                {"answers": {"text": ["Dom"], "answer_start": []}},
                "line 1: answers has 1 texts and 0 offsets",
            ),
            ({"answers": None}, "line 1, id q1: answers holds NoneType, not a list"),
            ({"title": None}, "line 1, id q1: title holds NoneType"),
        ],
    )
    def test_what_is_wrong_is_named_with_its_line(self, tmp_path, changes, match):
        path = self.write(tmp_path / "train.jsonl", self.ROW | changes)
        with pytest.raises(ClozeError, match=match):
            list(read_questions(path))

    def test_a_missing_column_is_named(self, tmp_path):
        row = {key: value for key, value in self.ROW.items() if key != "context"}
        path = self.write(tmp_path / "train.jsonl", row)
        with pytest.raises(ClozeError, match="line 1: no column 'context'; there are: id"):
            list(read_questions(path))


def test_the_sentence_with_the_most_words_of_the_question_is_a_baseline():
    found = best_matching_sentence("Wo liegt die Stadt Köln?", CONTEXT, "de")
    assert found == Answer("Die Stadt Köln hat 1 Dom.", 0)
    assert best_matching_sentence("Liegt Köln am Rhein?", CONTEXT, "de").start == 26
    # Of equal ones the first; punctuation is no word.
    assert best_matching_sentence("???", CONTEXT, "de").start == 0


class TestOutcome:
    ROWS = (
        QuestionRow("1", "q1", "Wo?", CONTEXT, [Answer("am Rhein", 37)], "Köln"),
        QuestionRow("2", "q2", "Wer?", CONTEXT, [], "Köln"),
        QuestionRow("3", "q3", "Was?", CONTEXT, [Answer("1 Dom", 19)], "Köln"),
    )

    def outcome(self, metric, language="en"):
        task = Task(Path(), "t", [], {"metric": metric, "language": language})
        split = Questions().encode(Path(), self.ROWS, [])
        starts, ends = np.array([40, 0, 15]), np.array([45, 0, 24])
        return answers_outcome(task, split, AnswerPredictions.certain(starts, ends))

    @pytest.mark.parametrize(("metric", "score"), [("answer_f1", 37 / 45), ("exact_match", 1 / 3)])
    def test_the_score_is_the_mean_of_its_statistics(self, metric, score):
        outcome = self.outcome(metric)
        assert outcome.columns["prediction"].to_pylist() == ["Rhein", "", "hat 1 Dom"]
        # F1: 2 * 1 / (1 + 2), 1, 2 * 2 / (3 + 2).
        assert outcome.columns["answer_f1"].to_pylist() == pytest.approx([2 / 3, 1, 0.8])
        assert outcome.metrics["answer_f1"] == pytest.approx((2 / 3 + 1 + 0.8) / 3)
        assert outcome.metrics["score"] == outcome.metrics[metric] == pytest.approx(score)
        sums = outcome.statistics.sum(axis=0, keepdims=True)
        assert score_of_sums(metric, sums)[0] == pytest.approx(outcome.metrics["score"])
        assert outcome.metrics["unanswerable"]["exact_match"] == 1

    def test_what_a_split_holds_can_be_stored(self, tmp_path):
        split = Questions().encode(Path(), self.ROWS, [])
        write_split(tmp_path / "train.parquet", split)
        facts = {"objective": "question_answering", "splits": {"train": {}}}
        found = Task(tmp_path, "t", [], facts).split("train")
        assert (found.texts, found.pairs, found.groups) == (split.texts, split.pairs, split.groups)
        assert found.labels.tolist() == split.labels.tolist()
        assert found.columns["id"].to_pylist() == ["q1", "q2", "q3"]


def test_a_training_file_without_any_answer_is_refused():
    settings = task_settings(train=[Path("train.json")])
    with pytest.raises(ClozeError, match=r"train\.json: no question has an answer"):
        Questions().label_names(settings, TestOutcome.ROWS[1:2])
    with pytest.raises(ClozeError, match="--labels: questions have answers and no labels"):
        Questions().label_names(task_settings(labels=["a"]), TestOutcome.ROWS)
