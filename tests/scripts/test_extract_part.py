"""Parts made side by side become the very bytes that one command makes of the whole."""

import gzip
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import extract_documents
import extract_part
from cloze.corpus.documents import read_documents
from cloze.files import SPLITS, sha256_file

NAMES = [*(f"{split}.parquet" for split in SPLITS), "dropped.tsv.gz"]


@pytest.fixture
def stories(tmp_path: Path) -> list[Path]:
    """Files that repeat each other's stories, some of them short."""
    files = []
    for number in range(4):
        told = [f"Story {n} has this end." for n in range(number * 60, number * 60 + 100)]
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_text("\n\n".join([*told, f"no {number}", "no"]), encoding="utf-8")
    return files


def make(script: object, *flags: str | Path) -> None:
    assert script.main([*map(str, flags)]) == 0  # type: ignore[attr-defined]


def parts_of(folder: Path, files: list[Path], *flags: str) -> list[Path]:
    parts = []
    for file in files:
        parts.append(folder / "parts" / f"{file.name}.arrow")
        make(extract_part, *flags, "--input", file, "--output", parts[-1])
    return parts


def assert_same(one: Path, other: Path) -> None:
    for name in NAMES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    reports = [json.loads((folder / "metrics.json").read_text()) for folder in (one, other)]
    assert reports[0]["metrics"] == reports[1]["metrics"]
    assert reports[0]["inputs"] == reports[1]["inputs"]


def test_parts_and_one_command_write_the_same_bytes(tmp_path: Path, stories: list[Path]) -> None:
    flags = ("--format", "paragraphs", "--min-characters", "5")
    make(extract_documents, *flags, "--input", *stories, "--output", tmp_path / "one")
    parts = parts_of(tmp_path, stories, *flags)
    make(extract_documents, *flags, "--from-parts", "--input", *parts, "--output", tmp_path / "two")

    assert_same(tmp_path / "one", tmp_path / "two")
    report = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert report["inputs"] == {str(file): sha256_file(file) for file in stories}
    assert report["metrics"]["dropped"] == {"empty": 0, "too_short": 8, "duplicate": 120}


def test_cleaning_in_parts_is_cleaning_at_once(tmp_path: Path) -> None:
    words = [f"word{n}" for n in range(400)]
    leak = "a sentence of the evaluation that nobody should ever have trained on"
    (tmp_path / "task").mkdir()
    pq.write_table(pa.table({"text": [leak]}), tmp_path / "task" / "validation.parquet")
    files = []
    for number in range(4):
        told = [" ".join(words[start : start + 60]) for start in range(number, 340, 20)]
        # The third and fourth file hold, but for a word, what the first and second do.
        told += [f"{' '.join(words[n::7])} end{number}" for n in range(7 * (number % 2 + 1))]
        told += [f"Before it.\nHere: {leak}.", "Buy it now. " * 50, leak]
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_text("\n\n".join(told), encoding="utf-8")
    flags = (
        *("--format", "paragraphs", "--near-duplicate-threshold", "0.8"),
        *("--min-compression-ratio", "0.1", "--decontaminate", str(tmp_path / "task")),
    )
    make(extract_documents, *flags, "--input", *files, "--output", tmp_path / "one")
    parts = parts_of(tmp_path, files, *flags)
    make(extract_documents, *flags, "--from-parts", "--input", *parts, "--output", tmp_path / "two")

    assert_same(tmp_path / "one", tmp_path / "two")
    report = json.loads((tmp_path / "two" / "metrics.json").read_text())
    dropped = report["metrics"]["dropped"]
    assert (
        dropped["contaminated_paragraph"] == dropped["contaminated"] == dropped["repetitive"] == 4
    )
    assert dropped["duplicate"] >= 3
    assert dropped["near_duplicate"] >= 14
    assert str(tmp_path / "task" / "validation.parquet") in report["inputs"]
    rows = {
        row.document_id: row.text
        for split in SPLITS
        for row in read_documents(tmp_path / "two" / f"{split}.parquet")
    }
    assert not any(leak in text for text in rows.values())
    with gzip.open(tmp_path / "two" / "dropped.tsv.gz", "rt", encoding="utf-8") as stream:
        near = [line.split("\t") for line in stream if line.startswith("near_duplicate")]
    for _, detail, *_, excerpt in near:
        kept, similarity = re.fullmatch(
            r"document (\d+), similarity (0\.\d+|1\.00)", detail
        ).groups()
        assert float(similarity) >= 0.8
        shared = set(rows[int(kept)].split()) & set(excerpt.split()[:-1])
        assert len(shared) > 0.7 * len(excerpt.split()[:-1])


def test_own_splits_come_in_parts_too(tmp_path: Path, stories: list[Path]) -> None:
    flags = ("--format", "paragraphs")
    sources = ("--train", *stories[:2], "--validation", stories[2], "--test", stories[3])
    make(extract_documents, *flags, *sources, "--output", tmp_path / "one")
    p = parts_of(tmp_path, stories, *flags)
    sources = ("--train", *p[:2], "--validation", p[2], "--test", p[3])
    make(extract_documents, *flags, "--from-parts", *sources, "--output", tmp_path / "two")

    assert_same(tmp_path / "one", tmp_path / "two")


def test_shares_of_a_folder_are_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    for number in range(50):
        path = folder / f"{number % 3}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"This is text {number % 40}.")
    flags = ("--format", "text", "--members", "*.txt", "--input", folder)
    make(extract_documents, *flags, "--output", tmp_path / "one")
    parts = [tmp_path / f"{k}.arrow" for k in (1, 2, 3)]
    for k, part in enumerate(parts, start=1):
        make(extract_part, *flags, "--share", f"{k}/3", "--output", part)
    make(
        extract_documents, *flags[:4], "--from-parts", "--input", *parts,
        "--output", tmp_path / "two",
    )  # fmt: skip

    assert_same(tmp_path / "one", tmp_path / "two")


def test_parts_made_with_other_flags_are_refused(
    tmp_path: Path, stories: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    parts = parts_of(tmp_path, stories, "--format", "paragraphs", "--min-characters", "5")
    flags = ["--format", "paragraphs", "--from-parts", "--input", *map(str, parts)]
    assert extract_documents.main([*flags, "--output", str(tmp_path / "o")]) == 1
    message = capsys.readouterr().err
    assert "0.txt.arrow: made with min_characters 5 instead of 0; give extract_part.py" in message
    assert not list((tmp_path / "o").iterdir())


def test_the_order_of_the_parts_is_the_order_of_the_corpus(
    tmp_path: Path, stories: list[Path]
) -> None:
    flags = ("--format", "paragraphs")
    make(extract_documents, *flags, "--input", *stories[::-1], "--output", tmp_path / "one")
    parts = parts_of(tmp_path, stories, *flags)[::-1]
    make(extract_documents, *flags, "--from-parts", "--input", *parts, "--output", tmp_path / "two")

    assert_same(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize("share", ["0/3", "4/3", "1", "a/b"])
def test_a_share_that_is_none(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        extract_part.main(["--format", "text", "--input", "x", "--output", "y", "--share", share])
    assert f"{share!r} is not of the form 2/8" in capsys.readouterr().err


def test_a_broken_file_leaves_no_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.txt").write_bytes(b"caf\xe9")
    output = tmp_path / "parts" / "broken.arrow"
    flags = ["--format", "text", "--input", str(tmp_path / "broken.txt"), "--output", str(output)]
    assert extract_part.main(flags) == 1
    assert "broken.txt: byte 3 (0xe9) is not valid UTF-8" in capsys.readouterr().err
    assert not list(output.parent.iterdir())
