"""The command line turns files into documents, the same bytes each time, or says what is wrong."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cloze.corpus.documents import read_documents
from cloze.files import SPLITS
from extract_documents import main

SCRIPT = Path(__file__).parents[2] / "scripts" / "extract_documents.py"
Fails = Callable[..., str]


@pytest.fixture
def stories(tmp_path: Path) -> Path:
    path = tmp_path / "stories.txt"
    path.write_text("\n\n".join(f"Story {n} has this end." for n in range(300)), encoding="utf-8")
    return path


@pytest.fixture
def fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fails:
    """Run the script, which must fail, and return its message."""

    def run(*flags: str | Path) -> str:
        output = tmp_path / "output"
        assert main([*map(str, flags), "--output", str(output)]) == 1
        assert not list(output.glob("*"))
        return capsys.readouterr().err

    return run


def texts(folder: Path) -> dict[str, list[str]]:
    return {
        split: [row.text for row in read_documents(folder / f"{split}.parquet")] for split in SPLITS
    }


def test_two_processes_write_the_same_bytes(tmp_path: Path, stories: Path) -> None:
    for seed in ("1", "2"):
        flags = ["--format", "paragraphs", "--input", str(stories)]
        subprocess.run(
            [sys.executable, SCRIPT, *flags, "--output", tmp_path / seed],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )

    for split in SPLITS:
        name = f"{split}.parquet"
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_metrics_tell_what_was_read_and_dropped(tmp_path: Path, stories: Path) -> None:
    output = tmp_path / "output"
    with stories.open("a", encoding="utf-8") as stream:
        stream.write("\n\nStory 7 has this end.\n\nshort")

    flags = ["--format", "paragraphs", "--input", stories, "--min-characters", "10"]
    assert main([*map(str, flags), "--output", str(output)]) == 0

    with gzip.open(output / "dropped.tsv.gz", "rt", encoding="utf-8") as stream:
        header, *dropped = [line.removesuffix("\n").split("\t") for line in stream]
    assert header == ["reason", "detail", "source", "title", "text"]
    assert dropped == [
        ["duplicate", "document 7", "stories.txt", "", "Story 7 has this end."],
        ["too_short", "5 characters", "stories.txt", "", "short"],
    ]
    report = json.loads((output / "metrics.json").read_text())
    assert report["metrics"]["dropped"] == {"empty": 0, "too_short": 1, "duplicate": 1}
    counts = {name: split["documents"] for name, split in report["metrics"]["splits"].items()}
    assert counts == {name: len(held) for name, held in texts(output).items()}
    assert sum(counts.values()) == 300
    assert list(report["inputs"]) == [str(stories)]
    assert "cloze/corpus/wikitext.py" in " ".join(report["code"])


def test_own_splits_stay_and_train_gives_up_what_they_hold(tmp_path: Path) -> None:
    for name, held in {"a": "1\n\n2\n\n3", "b": "2\n\n4", "c": "4\n\n5"}.items():
        (tmp_path / name).write_text(held)
    files = [f"{tmp_path}/{name}" for name in "abc"]
    flags = ["--train", files[0], "--validation", files[1], "--test", files[2]]

    main(["--format", "paragraphs", *flags, "--output", str(tmp_path / "o")])

    assert texts(tmp_path / "o") == {"train": ["1", "3"], "validation": ["2"], "test": ["4", "5"]}


def test_validation_is_drawn_from_train_where_the_source_has_none(
    tmp_path: Path, stories: Path
) -> None:
    (tmp_path / "test.txt").write_text("Story 3 has this end.")
    flags = ["--train", str(stories), "--test", str(tmp_path / "test.txt")]

    main(["--format", "paragraphs", *flags, "--output", str(tmp_path / "o")])

    held = texts(tmp_path / "o")
    assert held["test"] == ["Story 3 has this end."]
    assert len(held["train"]) + len(held["validation"]) == 299
    assert 1 <= len(held["validation"]) <= 15


def test_a_folder_is_a_corpus(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in ("b.txt", "a.txt", "c.md"):
        (folder / name).write_text(f"This is {name}.")
    flags = ["--format", "text", "--input", str(folder), "--members", "*.txt"]

    assert main([*flags, "--output", str(tmp_path / "o")]) == 0

    rows = [row for split in SPLITS for row in read_documents(tmp_path / "o" / f"{split}.parquet")]
    assert sorted((row.document_id, row.source) for row in rows) == [(0, "a.txt"), (1, "b.txt")]
    assert list(json.loads((tmp_path / "o" / "metrics.json").read_text())["inputs"]) == [
        str(folder)
    ]


def test_python_docs_needs_no_file(tmp_path: Path) -> None:
    assert main(["--format", "python-docs", "--output", str(tmp_path)]) == 0

    report = json.loads((tmp_path / "metrics.json").read_text())
    assert report["metrics"]["splits"]["train"]["words"] > 200_000
    assert report["metrics"]["splits"]["validation"]["documents"] >= 1
    rows = [row for split in SPLITS for row in read_documents(tmp_path / f"{split}.parquet")]
    titles = {row.title for row in rows}
    assert {"json.decoder", "assert"} <= titles


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--format text", "--format text needs --input, or --train and --validation"),
        ("--format text --input a --train b", "--input is split by Cloze"),
        ("--format text --input a --test b", "--input is split by Cloze"),
        ("--format text --validation b", "needs --input, or --train"),
        ("--format python-docs --input a", "a: python-docs reads no files"),
        ("--format python-docs --train a", "a: python-docs reads no files"),
        ("--format text --input a --validation-fraction 0", "--validation-fraction is 0"),
        ("--format text --input a --validation-fraction 0.6 --test-fraction 0.4", "leave nothing"),
        ("--format text --input /nowhere/a.txt", "/nowhere/a.txt: no such file; check the path"),
    ],
)
def test_flags_that_describe_no_corpus(fails: Fails, flags: str, message: str) -> None:
    assert message in fails(*flags.split())


def test_an_empty_corpus_names_its_file_and_what_was_looked_for(
    tmp_path: Path, fails: Fails
) -> None:
    path = tmp_path / "void.txt"
    path.write_text("\n \n")

    message = fails("--format", "paragraphs", "--input", path)

    assert f"{path}: --format paragraphs looks for documents separated by blank lines" in message
    assert "no document (dropped: 0 empty" in message


def test_one_document_says_what_to_do(tmp_path: Path, fails: Fails) -> None:
    path = tmp_path / "novel.txt"
    path.write_text("One long story.")

    message = fails("--format", "text", "--input", path)

    assert "no document is left for" in message
    assert "--format paragraphs" in message


def test_a_broken_input_leaves_the_earlier_documents_alone(
    tmp_path: Path, stories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--format", "paragraphs", "--output", str(tmp_path / "o"), "--input", str(stories)]
    main(flags)
    before = texts(tmp_path / "o")
    broken = tmp_path / "broken.txt"
    broken.write_bytes(b"caf\xe9")

    assert main([*flags, str(broken)]) == 1

    assert "broken.txt: byte 3 (0xe9) is not valid UTF-8" in capsys.readouterr().err
    assert texts(tmp_path / "o") == before


@pytest.mark.skipif("CLOZE_DATA" not in os.environ, reason="needs the corpora in CLOZE_DATA")
def test_wikipedia_articles_are_all_found(tmp_path: Path) -> None:
    folder = Path(os.environ["CLOZE_DATA"]) / "enwiki-2021-recent"
    flags = ["--train", str(folder / "valid.txt.xz"), "--validation", str(folder / "test.txt.xz")]

    assert main(["--format", "wikitext", *flags, "--output", str(tmp_path)]) == 0

    held = texts(tmp_path)
    assert (len(held["train"]), len(held["validation"])) == (125, 130)
