"""Tagged words as files have them, their schemes, and what predictions of them are worth."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOBES

from cloze.errors import ClozeError
from cloze.tasks.kind import LeftOut
from cloze.tasks.resampled_scores import paired_difference_of_sums
from cloze.tasks.scores import score_of_sums
from cloze.tasks.tag_scores import entities, scheme_of, tags_outcome
from cloze.tasks.task import Task
from cloze.tasks.token_labels import TokenLabels
from tests.tiny_task import task_settings

BIO = ["O", "B-loc", "I-loc", "B-per", "I-per"]


def read(path: Path, text: str, **given):
    path.write_text(text, encoding="utf-8")
    settings = task_settings(**given)
    return list(TokenLabels().read(settings, path, LeftOut(settings)))


def test_conll_takes_any_column_and_any_blank_line(tmp_path):
    text = "-DOCSTART- -X- O\n\nIn IN O\nRome NNP B-loc\n\t\nJo\tNNP\tB-per\n   \n"
    rows = read(tmp_path / "a.conll", text)
    assert [row.tokens for row in rows] == [["In", "Rome"], ["Jo"]]
    assert [row.tags for row in rows] == [["O", "B-loc"], ["B-per"]]
    assert [row.place for row in rows] == ["line 3", "line 6"]
    assert {row.group for row in rows} == {"document 1"}
    assert read(tmp_path / "a.conll", text, label_column="1")[0].tags == ["IN", "NNP"]


def test_conllu_leaves_out_multi_word_tokens_and_empty_nodes(tmp_path):
    def line(number, word, tag):
        return "\t".join([number, word, "_", tag, *"______"])

    text = "\n".join(
        ["# newdoc id = x", "# text = do", line("1-2", "do", "_"), line("1", "de", "ADP"),
         line("2", "o", "DET"), line("2.1", "e", "_"), "", line("1", "a b", "NOUN"), ""]
    )  # fmt: skip
    rows = read(tmp_path / "a.conllu", text)
    assert [(row.tokens, row.tags) for row in rows] == [
        (["de", "o"], ["ADP", "DET"]), (["a b"], ["NOUN"])
    ]  # fmt: skip
    assert rows[0].group == "x"


def test_tables_hold_lists_of_words_and_of_tags_or_their_numbers(tmp_path):
    text = '{"tokens": ["In", "Rome"], "tags": [0, 1]}\n'
    assert read(tmp_path / "a.jsonl", text, labels=["O", "B-loc"])[0].tags == ["O", "B-loc"]
    assert read(tmp_path / "a.jsonl", text)[0].tags == ["0", "1"]


@pytest.mark.parametrize(
    ("name", "text", "given", "message"),
    [
        ("a.jsonl", '{"tokens": ["a"]}\n', {}, "no column 'tags'"),
        ("a.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}\n', {},
         "line 1: 2 words in 'tokens' but 1 tags in 'tags'"),
        ("a.jsonl", '{"tokens": "a b", "tags": ["O"]}\n', {},
         "column 'tokens' holds \"a b\", no list"),
        ("a.jsonl", '{"tokens": ["a"], "tags": [null]}\n', {}, "'tags' holds null, no tag"),
        ("a.jsonl", '{"tokens": ["a"], "tags": [7]}\n', {"labels": ["O", "X"]},
         "holds tag 7, but --labels names 2"),
        ("a.conll", "word\n", {}, "line 1: has 1 columns, none of them the tag's"),
        ("a.conll", "a O\n\nb\tO\nc\n", {"label_column": "3"}, "line 1: has 2 columns"),
        ("a.conll", "a O\n", {"label_column": "tag"}, "column 'tag' is no number"),
        ("a.conllu", "1\ta\n", {}, "line 1: has 2 columns where CoNLL-U has 10"),
        ("a.conllu", "", {"label_column": "pos"}, "CoNLL-U has no column 'pos'; there are: id"),
        ("a.csv", "a,b\n", {}, "csv is no format of this kind of task; it is read from conll"),
    ],
)  # fmt: skip
def test_what_is_amiss_is_named(tmp_path, name, text, given, message):
    with pytest.raises(ClozeError) as error:
        read(tmp_path / name, text, **given)
    assert message in str(error.value)
    assert name in str(error.value)


def kind_of(tags: list[list[str]], **given) -> tuple[TokenLabels, list[str]]:
    kind = TokenLabels()
    rows = [Namespace(tags=row) for row in tags]
    return kind, kind.label_names(task_settings(**given), rows)


@pytest.mark.parametrize(
    ("tags", "scheme", "inconsistent"),
    [
        ([["B-x", "I-x", "O"]], "bio", 0),
        ([["I-x", "I-x", "B-x", "O"]], "iob1", 0),
        ([["B-x", "I-x"], ["O", "I-x"]], "bio", 1),
        ([["S-x", "B-x", "E-x"]], "bioes", 0),
        ([["S-x", "B-x", "O", "I-x"]], "bioes", 3),
        ([["NOUN", "VERB"]], "plain", 0),
        ([["NOUN", "B-x"]], "plain", 0),
    ],
)
def test_the_scheme_is_that_of_the_tags_and_contradictions_are_counted(tags, scheme, inconsistent):
    kind, _ = kind_of(tags)
    assert kind.facts(task_settings()) == {"scheme": scheme, "inconsistent_tags": inconsistent}


def test_a_scheme_has_each_prefix_of_every_type():
    assert kind_of([["B-y", "B-x"]])[1] == ["O", "B-x", "I-x", "B-y", "I-y"]
    assert kind_of([["VERB", "NOUN"]])[1] == ["NOUN", "VERB"]


@pytest.mark.parametrize(
    ("tags", "given", "message"),
    [
        (["NOUN"], "bio", "--scheme bio: contradicts the tag 'NOUN'"),
        (["S-x"], "bio", "contradicts tags that begin with E- or S-"),
        (["B-x"], "bioes", "none begins with E- or S-"),
    ],
)
def test_a_scheme_that_contradicts_the_tags_is_refused(tags, given, message):
    with pytest.raises(ClozeError, match=message):
        kind_of([tags], scheme=given)


def test_plain_tags_have_no_entities_to_be_judged_by():
    kind, names = kind_of([["NOUN"]])
    assert kind.default_metric(task_settings(), names) == "token_accuracy"
    with pytest.raises(ClozeError, match="the tags are plain and mark no entities"):
        kind.check_metric("entity_f1", names)


def test_unknown_tags_are_refused_with_their_place():
    rows = [Namespace(tokens=["a"], tags=["B-new"], place="line 9", group=None)]
    with pytest.raises(ClozeError, match=r"dev.conll: line 9: tag 'B-new' is not one of the task"):
        TokenLabels().encode(Path("dev.conll"), rows, ["O", "B-x"])


def random_tags(seed: int, names: list[str], sentences: int = 60) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, len(names), size=rng.integers(1, 9)) for _ in range(sentences)]


def noisy(tags: list[np.ndarray], names: list[str], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        np.where(rng.random(len(row)) < 0.3, rng.integers(0, len(names), len(row)), row)
        for row in tags
    ]


def task_of(names: list[str], scheme: str, metric: str = "entity_f1") -> Task:
    facts = {"scheme": scheme, "metric": metric, "objective": "token_classification"}
    return Task(Path("task"), "tags", names, facts)


@pytest.mark.parametrize("scheme", ["bio", "iob1", "bioes"])
def test_every_figure_is_that_of_seqeval_to_the_last_digit(scheme):
    names = BIO if scheme != "bioes" else ["O", *(f"{p}-{t}" for t in "xy" for p in "BIES")]
    true = random_tags(1, names)
    found = noisy(true, names, 2)
    outcome = tags_outcome(task_of(names, scheme), [["w"] * len(row) for row in true], true, found)
    named = [[[names[tag] for tag in row] for row in side] for side in (true, found)]
    strict = {"mode": "strict", "scheme": IOBES} if scheme == "bioes" else {}
    for measure, function in (
        ("entity_f1", f1_score), ("precision", precision_score), ("recall", recall_score)
    ):  # fmt: skip
        assert outcome.metrics[measure] == function(*named, **strict)
    for kind in outcome.metrics["per_type"]:
        expected = f1_score(*named, average=None, zero_division=0, **strict)
        place = sorted({*outcome.metrics["per_type"]}).index(kind)
        assert outcome.metrics["per_type"][kind]["f1"] == expected[place]
    sums = outcome.statistics.sum(axis=0, keepdims=True)
    assert score_of_sums("entity_f1", sums)[0] == pytest.approx(outcome.metrics["score"], abs=1e-12)


def test_plain_tags_are_judged_by_the_words_that_are_right():
    names = ["NOUN", "VERB"]
    true, found = [np.array([0, 1, 1]), np.array([0])], [np.array([0, 0, 1]), np.array([0])]
    outcome = tags_outcome(
        task_of(names, "plain", "token_accuracy"), [["a"] * 3, ["b"]], true, found
    )
    assert outcome.metrics["score"] == 0.75
    assert outcome.metrics["per_type"]["VERB"] == {
        "precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2
    }  # fmt: skip
    assert outcome.metrics["confusions"] == [{"label": "VERB", "prediction": "NOUN", "words": 1}]
    assert outcome.statistics.tolist() == [[2, 3], [1, 1]]


def test_what_is_right_more_often_differs_by_more_than_the_choice_of_sentences():
    true = random_tags(3, BIO, 200)
    task, words = task_of(BIO, "bio"), [["w"] * len(row) for row in true]
    ours = tags_outcome(task, words, true, noisy(true, BIO, 4)).statistics
    theirs = tags_outcome(task, words, true, random_tags_like(true)).statistics
    found = paired_difference_of_sums("entity_f1", ours[None], theirs[None])
    assert found.difference > 0.3
    assert found.ci95[0] > 0


def random_tags_like(tags: list[np.ndarray]) -> list[np.ndarray]:
    rng = np.random.default_rng(9)
    return [rng.integers(0, len(BIO), len(row)) for row in tags]


def test_entities_begin_as_conlleval_has_them_begin():
    assert entities(["I-x", "I-x", "B-x", "I-y", "O"], "bio") == [
        ("x", 0, 1), ("x", 2, 2), ("y", 3, 3)
    ]  # fmt: skip
    assert entities(["B-x", "I-x", "S-x", "B-x", "E-x"], "bioes") == [("x", 2, 2), ("x", 3, 4)]


def test_a_model_tells_its_scheme_by_its_labels():
    assert scheme_of(BIO) == "bio"
    assert scheme_of(["O", "S-x", "B-x"]) == "bioes"
    assert scheme_of(["NOUN", "B-x"]) == "plain"
    assert scheme_of(["O"]) == "plain"
