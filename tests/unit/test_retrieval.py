"""Collections in BEIR's layout, and what a ranking is worth."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest

from cloze.errors import ClozeError
from cloze.settings.tasks import is_qrels
from cloze.tasks.retrieval import best_documents, ranking_measures, read_collection

DOCUMENTS = {"d1": ("Paris", "Capital of France."), "d2": ("", "A river."), "d3": ("", "A hill.")}
QUERIES = {"q1": "Which city?", "q2": "Which water?", "q3": "Which hill?"}
JUDGED = [("q1", "d1", 2), ("q1", "d3", 1), ("q2", "d2", 1), ("q2", "d1", 0)]


def write_collection(
    folder: Path, judged: list[tuple[str, str, object]], packed: bool = False
) -> Path:
    """Write a collection; returns the qrels of its test split."""
    corpus = [{"_id": key, "title": t, "text": text} for key, (t, text) in DOCUMENTS.items()]
    queries = [{"_id": key, "text": text} for key, text in QUERIES.items()]
    for name, records in (("corpus", corpus), ("queries", queries)):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        if packed:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(lines.encode()))
        else:
            path.write_text(lines, encoding="utf-8")
    qrels = folder / "qrels" / "test.tsv"
    qrels.parent.mkdir()
    rows = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in judged)]
    qrels.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return qrels


@pytest.mark.parametrize("packed", [False, True])
def test_a_collection_has_the_queries_of_the_split_and_all_documents(tmp_path, packed):
    found = read_collection(write_collection(tmp_path, JUDGED, packed))
    assert found.queries == ["Which city?", "Which water?"]
    assert found.documents.ids == ["d1", "d2", "d3"]
    assert found.documents.texts == ["Paris Capital of France.", "A river.", "A hill."]
    assert found.relevant == [{0: 2, 2: 1}, {1: 1}]


def test_qrels_are_known_by_their_folder():
    assert is_qrels(Path("scifact/qrels/test.tsv"))
    assert not is_qrels(Path("scifact/test.tsv"))


def test_queries_without_a_relevant_document_are_named_or_left_out(tmp_path):
    qrels = write_collection(tmp_path, [*JUDGED, ("q3", "d1", 0)])
    with pytest.raises(ClozeError, match=r"no document is relevant to query q3, so"):
        read_collection(qrels)
    found = read_collection(qrels, leave_out=True)
    assert (len(found.queries), found.left_out) == (2, 1)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (("q9", "d1", 1), r"line 6: query 'q9' does not stand in queries.jsonl"),
        (("q1", "d9", 1), r"line 6: document 'd9' does not stand in corpus.jsonl"),
        (("q1", "d2", "much"), r"line 6: score 'much' is no whole number"),
    ],
)
def test_a_judgement_of_nothing_known_is_refused(tmp_path, row, problem):
    with pytest.raises(ClozeError, match=problem):
        read_collection(write_collection(tmp_path, [*JUDGED, row]))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", r"corpus.jsonl: line 4: not JSON"),
        ('{"_id": "d4"}', r"corpus.jsonl: line 4: needs an id under '_id' and a text"),
        ('{"_id": "d1", "text": "a"}', r"corpus.jsonl: line 4: the id 'd1' stands there twice"),
    ],
)
def test_a_line_that_is_no_document_is_refused(tmp_path, line, problem):
    qrels = write_collection(tmp_path, JUDGED)
    with open(tmp_path / "corpus.jsonl", "a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    with pytest.raises(ClozeError, match=problem):
        read_collection(qrels)


def test_a_folder_without_its_files_is_named(tmp_path):
    qrels = write_collection(tmp_path, JUDGED)
    (tmp_path / "queries.jsonl").unlink()
    with pytest.raises(ClozeError, match=r"has no queries.jsonl; a collection in BEIR's layout"):
        read_collection(qrels)


def test_the_best_documents_come_first_and_ties_in_the_order_of_the_source():
    scores = np.array([0.1, 0.5, 0.3, 0.5, 0.5])
    assert best_documents(scores, 2).tolist() == [1, 3]
    assert best_documents(scores, 9).tolist() == [1, 3, 4, 2, 0]


def dcg(gains: list[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def test_ndcg_is_that_of_trec_eval():
    # trec_eval: gains are grades, discounts log2(rank + 1), the ideal is of all judged documents.
    ranking = np.array([4, 0, 7, 2])
    relevant = {0: 2, 2: 1, 9: 3}
    (found,) = ranking_measures([ranking], [relevant])["ndcg_at_10"]
    assert found == pytest.approx(dcg([0, 2, 0, 1]) / dcg([3, 2, 1]))


def test_ndcg_counts_no_document_behind_the_tenth():
    ranking = np.arange(20)
    relevant = {10: 1, 3: 1}
    measures = ranking_measures([ranking], [relevant])
    assert measures["ndcg_at_10"][0] == pytest.approx(dcg([0, 0, 0, 1]) / dcg([1, 1]))
    assert measures["recall_at_10"][0] == 0.5
    assert measures["recall_at_100"][0] == 1
    assert measures["mrr_at_10"][0] == 0.25


def test_more_relevant_documents_than_ten_can_be_ranked_perfectly():
    measures = ranking_measures([np.arange(12)], [dict.fromkeys(range(12), 1)])
    assert measures["ndcg_at_10"][0] == pytest.approx(1)
    assert measures["recall_at_10"][0] == pytest.approx(10 / 12)


def test_a_ranking_of_one_document_has_measures():
    measures = ranking_measures([np.array([0]), np.array([0])], [{0: 1}, {1: 1}])
    assert measures["ndcg_at_10"].tolist() == [1, 0]
    assert measures["mrr_at_10"].tolist() == [1, 0]
