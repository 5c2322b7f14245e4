"""Evaluation sentences go, with the paragraph that holds them and nothing else."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cloze.corpus.cleaning import Decontamination
from cloze.corpus.documents import Document
from cloze.errors import ClozeError

SENTENCE = "a smart , sweet and playful romantic comedy for the whole family"
LONG = " ".join(f"word{n}" for n in range(30))


@pytest.fixture
def tasks(tmp_path: Path) -> list[Path]:
    for name, split, rows in [
        (
            "one",
            "validation",
            [SENTENCE, "a fine film", "unrelated row of more than eight words it is"],
        ),
        ("one", "test", [LONG]),
        ("one", "train", ["what the training split of a task holds may stand anywhere"]),
        ("two", "validation", ["the second task has sentences of its own , as it should"]),
    ]:
        (tmp_path / name).mkdir(exist_ok=True)
        pq.write_table(pa.table({"text": rows}), tmp_path / name / f"{split}.parquet")
    return [tmp_path / "one", tmp_path / "two"]


def cleaned(tasks: list[Path], *texts: str) -> list[tuple[str, str | None, str]]:
    documents = [Document("s", f"{n}", text) for n, text in enumerate(texts)]
    return [
        (document.text, verdict and verdict.reason, verdict.detail if verdict else "")
        for document, verdict in Decontamination(tasks).clean(documents)
    ]


def test_the_paragraph_goes_and_the_rest_stays(tasks: list[Path]) -> None:
    said = "They said: A SMART, sweet and playful\tromantic comedy for the whole family!"
    text = f"Before.\n{said}\nAfter."
    assert cleaned(tasks, "Clean.", text, "Clean too.") == [
        ("Clean.", None, ""),
        (said, "contaminated_paragraph", "one validation row 0 (whole)"),
        ("Before.\nAfter.", None, ""),
        ("Clean too.", None, ""),
    ]


def test_thirteen_words_are_enough_and_twelve_are_not(tasks: list[Path]) -> None:
    thirteen, twelve = (" ".join(LONG.split()[5 : 5 + n]) for n in (13, 12))
    found = cleaned(tasks, f"Kept.\nx {thirteen} y", f"Kept.\nx {twelve} y")
    assert [row[1:] for row in found] == [
        ("contaminated_paragraph", "one test row 0 (13 words)"),
        (None, ""),
        (None, ""),
    ]


def test_short_sentences_and_the_training_split_do_not_count(tasks: list[Path]) -> None:
    texts = ["It was a fine film.", "what the training split of a task holds may stand anywhere"]
    assert cleaned(tasks, *texts) == [(text, None, "") for text in texts]


def test_a_sentence_that_runs_over_paragraphs_costs_the_document(tasks: list[Path]) -> None:
    words = SENTENCE.split()
    text = "\n".join(["First.", " ".join(words[:6]), " ".join(words[6:]), "Last."])
    assert cleaned(tasks, text) == [(text, "contaminated", "one validation row 0 (whole)")]


def test_a_document_of_nothing_else_goes_as_one(tasks: list[Path]) -> None:
    text = "The second task has sentences of its own, as it should.\n"
    assert cleaned(tasks, text) == [(text, "contaminated", "two validation row 0 (whole)")]


def test_either_text_of_a_pair_counts(tmp_path: Path) -> None:
    rows = {"text": ["a question", LONG], "text_pair": [SENTENCE, "an answer"], "label": [0, 1]}
    pq.write_table(pa.table(rows), tmp_path / "validation.parquet")
    found = cleaned([tmp_path], f"Kept.\n{SENTENCE}\n{LONG}")
    assert found == [
        (SENTENCE, "contaminated_paragraph", f"{tmp_path.name} validation row 0 (whole)"),
        (LONG, "contaminated_paragraph", f"{tmp_path.name} validation row 1 (whole)"),
        ("Kept.", None, ""),
    ]


def test_every_planted_sentence_is_found(tasks: list[Path]) -> None:
    filler = "\n".join(f"Paragraph {n} of a harmless text." for n in range(50))
    texts = [f"{filler}\nHere: {row}.\n{filler}" for row in (SENTENCE, LONG) for _ in range(20)]
    found = cleaned(tasks, *texts)
    assert sum(row[1] == "contaminated_paragraph" for row in found) == 40
    assert [row[0] for row in found if row[1] is None] == [f"{filler}\n{filler}"] * 40


def test_what_is_no_task(tmp_path: Path) -> None:
    with pytest.raises(ClozeError, match=r"validation\.parquet: no such file"):
        Decontamination([tmp_path])
    pq.write_table(pa.table({"sentence": ["x"]}), tmp_path / "validation.parquet")
    with pytest.raises(
        ClozeError, match=r"validation\.parquet: (not a whole split of a task|has no column 'text')"
    ):
        Decontamination([tmp_path])
