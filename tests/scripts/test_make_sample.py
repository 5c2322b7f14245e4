import os
import subprocess
import sys
from pathlib import Path

from make_sample import main

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "resources" / "sample"
REVIEWS = ("reviews-train.tsv", "reviews-validation.tsv")
SCORED = ("pairs-train.tsv", "pairs-validation.tsv")
FILES = (
    "corpus.txt",
    *REVIEWS,
    *SCORED,
    *("entities-train.conll", "entities-validation.conll"),
    *("topics-train.csv", "topics-validation.csv"),
    *("questions-train.json", "questions-validation.json"),
)


def test_the_committed_sample_is_what_the_script_writes(tmp_path: Path):
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    command = [sys.executable, str(ROOT / "scripts" / "make_sample.py"), "--output", str(tmp_path)]
    subprocess.run(command, check=True, env=environment)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (COMMITTED / name).read_bytes(), name


def test_another_seed_writes_another_corpus(tmp_path: Path):
    assert main(["--output", str(tmp_path), "--seed", "1"]) == 0
    assert (tmp_path / "corpus.txt").read_bytes() != (COMMITTED / "corpus.txt").read_bytes()


def test_the_sample_is_between_1_and_5_megabytes():
    assert 1e6 < sum((COMMITTED / name).stat().st_size for name in FILES) < 5e6


def test_rows_have_two_columns_and_known_labels():
    for name in REVIEWS:
        header, *rows = (COMMITTED / name).read_text(encoding="utf-8").splitlines()
        assert header.split("\t") == ["sentence", "label"]
        assert {row.split("\t")[1] for row in rows} == {"0", "1"}
        assert all(
            len(row.split("\t")) == 2 and row.split("\t")[0].strip() == row.split("\t")[0]
            for row in rows
        )


def test_pairs_have_three_columns_and_known_scores():
    for name in SCORED:
        header, *rows = (COMMITTED / name).read_text(encoding="utf-8").splitlines()
        assert header.split("\t") == ["first", "second", "score"]
        assert all(len(row.split("\t")) == 3 for row in rows)
        assert {row.split("\t")[2] for row in rows} == {"0", "2", "3", "5"}


def test_reviews_are_single_paragraphs():
    reviews = (COMMITTED / "corpus.txt").read_text(encoding="utf-8").rstrip("\n").split("\n\n")
    assert len(reviews) == len(set(reviews)) > 3000
    assert not any("\n" in review for review in reviews)
