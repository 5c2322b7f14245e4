"""What `new.py` proposes for texts and tasks as people have them is valid and right."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import new
from cloze.errors import ClozeError
from cloze.settings.config import load_config
from cloze.show.new_config import propose
from tests.workflow.project import ROOT

ENGLISH = "The house by the river was quiet, and nobody had lived there for years."
PORTUGUESE = "A casa junto ao rio estava em silêncio e ninguém vivia lá havia muitos anos."


def proposed(texts: Path, task: Path | None = None) -> dict[str, Any]:
    """The proposal as data, after the workflow has accepted it."""
    text = propose("mine", texts, task)
    file = texts.parent / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    load_config([ROOT / "config.yaml", file])
    found: dict[str, Any] = {}
    for part in text.split("\n\n"):
        found |= yaml.safe_load(part)
    return found


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    for number in range(3):
        written(tmp_path / "texts" / f"{number}.txt", PORTUGUESE * 3)
    return tmp_path / "texts"


def test_a_folder_of_texts(texts: Path) -> None:
    found = proposed(texts)
    corpus = found["corpora"]["mine"]
    assert (corpus["format"], corpus["files"]) == ("text", [str(texts)])
    assert found["datasets"]["mine"]["language"] == "pt"
    assert found["reports"] == {}


def test_other_files_of_a_folder_are_left_out(texts: Path) -> None:
    written(texts / "one.csv", "a,b\n1,2\n")
    assert proposed(texts)["corpora"]["mine"]["members"] == "*.txt"


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (f"{ENGLISH}\n" * 9, "lines"),
        (f"{ENGLISH}\n\n" * 9, "paragraphs"),
        (f" = One = \n {ENGLISH}\n = Two = \n {ENGLISH}\n", "wikitext"),
    ],
)
def test_one_file_is_told_by_its_lines(content: str, format: str, tmp_path: Path) -> None:
    found = proposed(written(tmp_path / "all.txt", content))
    assert found["corpora"]["mine"]["format"] == format
    assert found["datasets"]["mine"]["language"] == "en"


def test_the_longest_column_of_a_table_is_its_text(tmp_path: Path) -> None:
    path = tmp_path / "pages.parquet"
    pq.write_table(pa.table({"id": [1, 2], "title": ["a", "b"], "body": [ENGLISH] * 2}), path)
    assert proposed(path)["corpora"]["mine"]["text_column"] == "body"


def task_of(path: Path, texts: Path) -> dict[str, Any]:
    section = proposed(texts, path)["tasks"]["mine"]
    assert section.pop("train") == str(path)
    assert section.pop("hold_out_fraction") == 0.2
    return section


ROWS = [(f"{ENGLISH} {number}", ["yes", "no", "maybe"][number % 3]) for number in range(30)]


def test_a_table_of_classes(texts: Path) -> None:
    lines = ["id\ttext\tlabel", *(f"{n}\t{t}\t{y}" for n, (t, y) in enumerate(ROWS))]
    path = written(texts.parent / "task.tsv", "\n".join(lines) + "\n")
    assert task_of(path, texts) == {"text_column": "text", "label_column": "label"}


def test_a_line_break_in_a_name_ends_no_comment(texts: Path) -> None:
    rows = {"text": [t for t, _ in ROWS], "label": [y for _, y in ROWS], "a\nseeds: [9]": [0] * 30}
    path = texts.parent / "task.parquet"
    pq.write_table(pa.table(rows), path)
    found = proposed(texts, path)
    assert found["tasks"]["mine"]["label_column"] == "label"
    assert "seeds" not in found


def test_a_table_without_a_header_and_with_semicolons(texts: Path) -> None:
    path = written(texts.parent / "task.csv", "".join(f"{y};{t}\n" for t, y in ROWS))
    assert task_of(path, texts) == {"text_column": "1", "label_column": "0", "header": False}


def test_pairs_with_scores(texts: Path) -> None:
    lines = [
        "first,second,score",
        *(f'"{t}","{t} again",{n / 7:.2f}' for n, (t, _) in enumerate(ROWS)),
    ]
    path = written(texts.parent / "task.csv", "\n".join(lines) + "\n")
    assert task_of(path, texts) == {
        "text_column": "first",
        "text_pair_column": "second",
        "label_column": "score",
        "regression": True,
    }


def test_several_labels_in_a_cell(texts: Path) -> None:
    labels = ["joy", "joy|anger", "anger", "fear|joy", "fear", "anger|fear"]
    lines = ["text\tlabels", *(f"{t}\t{labels[n % 6]}" for n, (t, _) in enumerate(ROWS))]
    path = written(texts.parent / "task.tsv", "\n".join(lines) + "\n")
    assert task_of(path, texts) == {
        "text_column": "text",
        "label_column": "labels",
        "objective": "multi_label_classification",
        "label_separator": "|",
    }


def test_a_file_that_is_sorted_by_its_labels(texts: Path) -> None:
    rows = {"text": [ENGLISH] * 20, "label": [0] * 20, "rating": [1, 2] * 10}
    path = texts.parent / "task.parquet"
    pq.write_table(pa.table(rows), path)
    assert task_of(path, texts)["label_column"] == "label"


@pytest.mark.parametrize(
    ("name", "objective"),
    [("a.conll", "token_classification"), ("a.json", "question_answering")],
)
def test_kinds_that_the_suffix_tells(name: str, objective: str, texts: Path) -> None:
    assert task_of(written(texts.parent / name, ""), texts) == {"objective": objective}


def test_tagged_words_keep_their_case(texts: Path) -> None:
    tagged = written(texts.parent / "a.conll", "")
    assert "lowercase" not in proposed(texts, tagged)["tokenizers"]["mine"]
    assert proposed(texts)["tokenizers"]["mine"]["lowercase"]


def test_what_tells_nothing_is_named(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(ClozeError, match=r"nowhere: no such file or folder"):
        propose("mine", tmp_path / "nowhere", None)
    with pytest.raises(ClozeError, match=r"task\.xyz: its suffix tells no task"):
        propose("mine", texts, written(tmp_path / "task.xyz", ""))
    lines = ["text,id", *(f'"{t}",n{n}' for n, (t, _) in enumerate(ROWS))]
    path = written(tmp_path / "task.csv", "\n".join(lines) + "\n")
    with pytest.raises(ClozeError, match=r"none of its columns \(text, id\) repeats a few values"):
        propose("mine", texts, path)


def test_the_script_writes_it_once(texts: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "novels.yaml"
    flags = ["--texts", str(texts), "--output", str(output)]
    assert new.main(flags) == 0
    assert yaml.safe_load(output.read_text().split("\n\n")[0])["corpus"] == "novels"
    assert new.main(flags) == 1
    assert "exists already" in capsys.readouterr().err
