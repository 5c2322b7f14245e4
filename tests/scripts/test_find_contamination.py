from pathlib import Path

import numpy as np
import pytest

import extract_documents
import find_contamination
from cloze.corpus.documents import read_documents
from cloze.files import read_json, write_json
from cloze.tasks.task import TaskSplit, write_split
from tests.texts import damage_pages, random_text, write_documents
from tests.tiny_task import write_task

LEAKED = [
    "It isn't often that a film of this length feels as short as this one did.",
    "A dull, dull, dull film that nobody at all would ever want to see again!",
    "They were eight words in a row once",
]
BY_NGRAM = (
    "whoever wrote this long sentence made sure that only a part of it would ever be planted "
    "in the corpus"
)
SHORT = "good film"
CLEAN = ["None of these words were planted anywhere in the corpus, not even one.", "nor these", ""]


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A task whose splits hold planted rows: the last two of `LEAKED` in test."""
    folder = write_task(tmp_path / "task", test_rows=4)
    validation = [CLEAN[0], LEAKED[0], SHORT, BY_NGRAM, CLEAN[2]]
    test = [LEAKED[1], CLEAN[1], LEAKED[2], LEAKED[1].upper()]
    for name, texts in (("validation", validation), ("test", test)):
        labels = np.arange(len(texts)) % 2
        write_split(folder / f"{name}.parquet", TaskSplit(texts, labels))
    return folder


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """Documents with the leaks in the middle, at both ends, in other case and white space."""
    texts = [random_text(seed, 20) for seed in range(60)]
    words = BY_NGRAM.split()
    texts[7] = " \n\t".join([*LEAKED[0].split(), texts[7]])
    texts[20] = f"{texts[20]} {LEAKED[1].lower().replace(',', ' ,')}"
    texts[21] = texts[20]
    texts[33] = f"{texts[33]} <b>{LEAKED[2]}</b> {SHORT} {texts[34]}"
    texts[50] = f"{texts[50]} {' '.join(words[3:16])} {texts[51]}"
    texts[51] = f"{texts[51]} {' '.join(words[:12])}"
    for split in ("validation", "test"):
        write_documents(tmp_path / "documents" / f"{split}.parquet", [" ".join(CLEAN)])
    write_documents(tmp_path / "documents" / "train.parquet", texts, first_id=100)
    return tmp_path / "documents"


def find(task: Path, documents: Path, output: Path) -> int:
    arguments = ["--task", str(task), "--documents", str(documents)]
    return find_contamination.main([*arguments, "--output", str(output)])


def test_every_planted_row_is_found_and_nothing_else(
    task: Path, documents: Path, tmp_path: Path
) -> None:
    assert find(task, documents, tmp_path / "found.json") == 0
    metrics = read_json(tmp_path / "found.json")["metrics"]
    assert metrics["task"] == "tiny-task"
    assert list(metrics["splits"]) == ["validation", "test"]
    validation, test = metrics["splits"].values()
    examples = validation.pop("examples")
    assert validation == {
        "rows": 5, "long_rows": 3, "exact": 2, "long_exact": 1, "ngram": 2, "contaminated": 2,
        "share": 0.4,
    }  # fmt: skip
    assert examples == [
        {"row": 3, "text": BY_NGRAM, "exact": False, "document_id": 150},
        {"row": 1, "text": LEAKED[0], "exact": True, "document_id": 107},
    ]
    examples = test.pop("examples")
    assert test == {
        "rows": 4, "long_rows": 3, "exact": 3, "long_exact": 3, "ngram": 2, "contaminated": 3,
        "share": 0.75,
    }  # fmt: skip
    assert [(e["row"], e["document_id"]) for e in examples] == [(0, 120), (3, 120), (2, 133)]


def test_a_task_without_a_test_split_has_one_count(
    task: Path, documents: Path, tmp_path: Path
) -> None:
    facts = read_json(task / "task.json")
    del facts["splits"]["test"]
    write_json(task / "task.json", facts)
    assert find(task, documents, tmp_path / "found.json") == 0
    assert list(read_json(tmp_path / "found.json")["metrics"]["splits"]) == ["validation"]


def test_leaks_in_a_corpus_that_was_extracted_are_found(task: Path, tmp_path: Path) -> None:
    texts = [random_text(seed, 5).replace("\n", " ") for seed in range(40)]
    planted = [f"{text} {leak} {text}" for text, leak in zip(texts, LEAKED, strict=False)]
    (tmp_path / "corpus.txt").write_text("\n\n".join([*planted, *texts]), encoding="utf-8")
    source = ["--format", "paragraphs", "--input", str(tmp_path / "corpus.txt")]
    assert extract_documents.main([*source, "--output", str(tmp_path / "extracted")]) == 0
    trained = [d.text for d in read_documents(tmp_path / "extracted" / "train.parquet")]
    expected = sum(leak in text for text in trained for leak in LEAKED)
    assert expected >= 2
    assert find(task, tmp_path / "extracted", tmp_path / "found.json") == 0
    splits = read_json(tmp_path / "found.json")["metrics"]["splits"].values()
    repeated = sum(LEAKED[1] in text for text in trained)
    assert sum(split["contaminated"] for split in splits) == expected + repeated


def test_what_cannot_be_read_is_named(
    task: Path, documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage_pages(documents / "train.parquet")
    assert find(task, documents, tmp_path / "found.json") == 1
    assert "train.parquet: not a whole file of documents" in capsys.readouterr().err
    (task / "validation.parquet").write_bytes(b"no parquet")
    assert find(task, documents, tmp_path / "found.json") == 1
    assert "validation.parquet: not a whole split of a task" in capsys.readouterr().err
    assert not (tmp_path / "found.json").exists()


def test_a_pair_is_one_row_and_counts_where_either_text_does(
    task: Path, documents: Path, tmp_path: Path
) -> None:
    first, second = [CLEAN[0], LEAKED[0], CLEAN[1]], [BY_NGRAM, LEAKED[1], CLEAN[2]]
    write_split(task / "validation.parquet", TaskSplit(first, np.zeros(3, np.int64), second))
    assert find(task, documents, tmp_path / "found.json") == 0
    found = read_json(tmp_path / "found.json")["metrics"]["splits"]["validation"]
    assert (found["rows"], found["exact"], found["contaminated"]) == (3, 1, 2)
    assert found["share"] == pytest.approx(2 / 3)
    assert {(example["row"], example["text"]) for example in found["examples"]} == {
        (0, BY_NGRAM), (1, LEAKED[0]), (1, LEAKED[1]),
    }  # fmt: skip
