import bz2
import json
import lzma
import os
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import prepare_task
from cloze.errors import ClozeError
from cloze.files import sha256_file
from cloze.tasks.task import load_task

TRAIN = "sentence,label\nA fine film,1\nA poor film,0\nNot a fine film,0\n"
VALIDATION = "sentence,label\na FINE  film,1\npoor film,0\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def prepare(folder: Path, train: Path, validation: Path | None, *more: str) -> int:
    arguments = ["--train", str(train), "--output", str(folder / "task")]
    if validation is not None:
        arguments += ["--validation", str(validation)]
    if "--text-column" not in more:
        arguments += ["--text-column", "sentence", "--label-column", "label"]
    return prepare_task.main([*arguments, *more])


def failure(capsys, *arguments) -> str:
    assert prepare(*arguments) == 1
    return capsys.readouterr().err


def rows(folder: Path, split: str) -> list[tuple[str, int]]:
    table = pq.read_table(folder / "task" / f"{split}.parquet")
    assert table.schema.field("text").type == pa.string()
    assert table.schema.field("label").type == pa.int32()
    return [(row["text"], row["label"]) for row in table.to_pylist()]


@pytest.fixture
def files(tmp_path):
    return write(tmp_path / "train.csv", TRAIN), write(tmp_path / "validation.csv", VALIDATION)


def test_a_csv_task_is_written_and_described(tmp_path, files):
    labels = ["--labels", "negative", "positive"]
    assert prepare(tmp_path, *files, "--origin", "made up", "--name", "films", *labels) == 0
    assert rows(tmp_path, "train") == [
        ("A fine film", 1),
        ("A poor film", 0),
        ("Not a fine film", 0),
    ]
    assert rows(tmp_path, "validation") == [("a FINE  film", 1), ("poor film", 0)]
    facts = load_task(tmp_path / "task").facts
    assert (facts["name"], facts["labels"], facts["origin"]) == (
        "films", ["negative", "positive"], "made up",
    )  # fmt: skip
    assert facts["splits"]["train"] == {
        "rows": 3, "rows_by_label": {"negative": 2, "positive": 1}, "empty_texts": 0,
        "sha256": sha256_file(tmp_path / "task" / "train.parquet"),
    }  # fmt: skip
    assert facts["overlap_with_train"] == {"validation": {"equal": 1, "inside": 2}}
    assert facts["sources"]["train"][0]["file"] == "train.csv"
    assert len(facts["sources"]["train"][0]["sha256"]) == 64
    assert "test" not in facts["splits"]
    assert not (tmp_path / "task" / "test.parquet").exists()


def test_the_same_files_give_the_same_bytes(tmp_path, files):
    prepare(tmp_path, *files)
    names = ("train.parquet", "validation.parquet", "task.json")
    before = [(tmp_path / "task" / name).read_bytes() for name in names]
    prepare(tmp_path, *files)
    assert [(tmp_path / "task" / name).read_bytes() for name in names] == before


def test_every_format_gives_the_same_rows(tmp_path, files):
    prepare(tmp_path, *files)
    expected = rows(tmp_path, "train")
    records = [{"sentence": text, "label": label} for text, label in expected]
    jsonl = "".join(json.dumps(record) + "\n" for record in records)
    tsv = "".join(f"{label}\t{text}\n" for text, label in expected)
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "train.parquet")
    (tmp_path / "train.csv.xz").write_bytes(lzma.compress(TRAIN.encode()))
    (tmp_path / "train.jsonl.bz2").write_bytes(bz2.compress(jsonl.encode()))
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("inner/train.jsonl", jsonl)
    write(tmp_path / "train.jsonl", jsonl)
    for name in ("parquet", "csv.xz", "jsonl.bz2", "zip", "jsonl"):
        assert prepare(tmp_path, tmp_path / f"train.{name}", files[1]) == 0
        assert rows(tmp_path, "train") == expected, name
    train = write(tmp_path / "headless", tsv)
    columns = ["--no-header", "--format=tsv", "--text-column", "1", "--label-column", "0"]
    assert prepare(tmp_path, train, train, *columns) == 0
    assert rows(tmp_path, "train") == expected


def test_text_labels_are_named_in_order_of_the_alphabet(tmp_path):
    train = write(tmp_path / "train.csv", "sentence,label\na,Neutral\nb,Bad\nc,Good\nd,Bad\n")
    assert prepare(tmp_path, train, train) == 0
    assert load_task(tmp_path / "task").labels == ["Bad", "Good", "Neutral"]
    assert rows(tmp_path, "train") == [("a", 2), ("b", 0), ("c", 1), ("d", 0)]


def test_number_labels_are_ordered_by_value_and_are_names_if_names_are_numbers(tmp_path):
    train = write(tmp_path / "train.csv", "sentence,label\na,10\nb,9\nc,1\n")
    assert prepare(tmp_path, train, train) == 0
    assert load_task(tmp_path / "task").labels == ["1", "9", "10"]
    assert rows(tmp_path, "train") == [("a", 2), ("b", 1), ("c", 0)]


def test_a_label_outside_the_task_is_named(tmp_path, files, capsys):
    validation = write(tmp_path / "validation.csv", "sentence,label\na,1\nb,2\n")
    message = failure(capsys, tmp_path, files[0], validation, "--labels", "negative", "positive")
    assert "validation.csv: line 3: label '2' is not one of the task's labels" in message
    assert "(negative, positive)" in message
    assert "declare the label with --labels" in message


def test_a_label_that_only_validation_has_is_refused(tmp_path, capsys):
    train = write(tmp_path / "train.csv", "sentence,label\na,good\nb,bad\n")
    validation = write(tmp_path / "validation.csv", "sentence,label\na,fair\n")
    message = failure(capsys, tmp_path, train, validation)
    assert "label 'fair' is not one of the task's labels (bad, good)" in message


@pytest.mark.parametrize("row", ["b,", 'b,"  "'])
def test_a_missing_label_is_refused(tmp_path, files, capsys, row):
    validation = write(tmp_path / "validation.csv", f"sentence,label\na,1\n{row}\n")
    message = failure(capsys, tmp_path, files[0], validation)
    assert "validation.csv: line 3: the label is missing" in message


def test_a_null_label_or_text_is_refused(tmp_path, files, capsys):
    table = pa.table({"sentence": ["a", None], "label": pa.array([None, 1], pa.int8())})
    pq.write_table(table, tmp_path / "validation.parquet")
    message = failure(capsys, tmp_path, files[0], tmp_path / "validation.parquet")
    assert "validation.parquet: row 1: the label is missing" in message
    pq.write_table(table.slice(1), tmp_path / "validation.parquet")
    message = failure(capsys, tmp_path, files[0], tmp_path / "validation.parquet")
    assert "row 1: column 'sentence' holds null, no text" in message


def test_a_label_that_is_a_fraction_is_refused(tmp_path, files, capsys):
    validation = write(tmp_path / "v.jsonl", '{"sentence": "a", "label": 0.5}\n')
    message = failure(capsys, tmp_path, files[0], validation)
    assert "column 'label' holds 0.5, neither a text nor a whole number" in message


def test_a_row_with_too_few_columns_is_named(tmp_path, files, capsys):
    validation = write(tmp_path / "validation.csv", "sentence,label\na,1\nonly a text\n")
    message = failure(capsys, tmp_path, files[0], validation)
    assert "validation.csv: line 3: 1 columns where the first row has 2" in message


def test_a_missing_column_lists_those_there_are(tmp_path, files, capsys):
    columns = ["--text-column", "text", "--label-column", "label"]
    message = failure(capsys, tmp_path, *files, *columns)
    assert "train.csv: no column 'text'; there are: sentence, label" in message


def test_a_missing_or_empty_file_is_named(tmp_path, files, capsys):
    assert "nowhere.csv: no such file" in failure(
        capsys, tmp_path, tmp_path / "nowhere.csv", files[1]
    )
    empty = write(tmp_path / "empty.csv", "sentence,label\n")
    assert "empty.csv: has no rows" in failure(capsys, tmp_path, files[0], empty)
    assert "empty.csv: has no rows" in failure(capsys, tmp_path, empty, files[1])


def test_a_task_of_one_label_is_refused(tmp_path, capsys):
    train = write(tmp_path / "train.csv", "sentence,label\na,good\nb,good\n")
    message = failure(capsys, tmp_path, train, train)
    assert "a task needs two labels or more, this one has good; check --label-column" in message


def test_an_archive_of_several_files_is_refused(tmp_path, files, capsys):
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        archive.writestr("a.csv", TRAIN)
        archive.writestr("b.csv", TRAIN)
    message = failure(capsys, tmp_path, tmp_path / "both.zip", files[1])
    assert "holds more than one file (a.csv, b.csv); unpack it and name one" in message


def test_an_unknown_suffix_asks_for_the_format(tmp_path, files, capsys):
    train = write(tmp_path / "train.data", TRAIN)
    assert "give --format (csv, tsv, jsonl, parquet)" in failure(capsys, tmp_path, train, files[1])
    assert prepare(tmp_path, train, files[1], "--format", "csv") == 0


def test_the_hold_out_replaces_the_validation_file(tmp_path, files):
    sentences = [f"sentence number {n} of many" for n in range(40)]
    phrases = [f"number {n}" for n in range(40)]
    text = "".join(f"{row},{n % 2}\n" for n, row in enumerate(sentences + phrases))
    train = write(tmp_path / "train.csv", f"sentence,label\n{text}")
    assert prepare(tmp_path, train, tmp_path / "never-opened.csv", "--hold-out-fraction=0.25") == 0
    kept, held_out = rows(tmp_path, "train"), rows(tmp_path, "validation")
    assert len(held_out) == 10
    assert len(kept) == 60
    numbers = {text.split()[2] for text, _ in held_out}
    assert not any(number in text.split() for text, _ in kept for number in numbers)
    facts = load_task(tmp_path / "task").facts
    assert facts["hold_out"] == {
        "fraction": 0.25, "seed": 0, "rows_held_out": 10, "rows_removed_inside_held_out": 10,
    }  # fmt: skip
    assert facts["overlap_with_train"] == {"validation": {"equal": 0, "inside": 0}}
    assert set(facts["sources"]) == {"train"}


def test_a_hold_out_that_leaves_a_side_empty_is_refused(tmp_path, files, capsys):
    message = failure(capsys, tmp_path, files[0], None, "--hold-out-fraction", "0.01")
    assert "leaves one side empty (3 rows to train on, 0 held out)" in message
    message = failure(capsys, tmp_path, files[0], None, "--hold-out-fraction", "1")
    assert "--hold-out-fraction: must lie between 0 and 1" in message
    assert "--validation: give a validation file, or" in failure(capsys, tmp_path, files[0], None)


def test_a_test_split_of_an_earlier_run_does_not_stay(tmp_path, files):
    assert prepare(tmp_path, *files, "--test", str(files[1])) == 0
    assert rows(tmp_path, "test") == rows(tmp_path, "validation")
    assert prepare(tmp_path, *files) == 0
    assert not (tmp_path / "task" / "test.parquet").exists()


def test_further_splits_have_names_of_their_own(tmp_path, files, capsys):
    other = write(tmp_path / "other.csv", "sentence,label\na FINE  film,0\n")
    assert prepare(tmp_path, *files, "--test", str(other), "--split", "other", str(other)) == 0
    task = load_task(tmp_path / "task")
    assert task.evaluation_splits == ["validation", "test", "other"]
    assert rows(tmp_path, "other") == [("a FINE  film", 0)]
    assert task.facts["overlap_with_train"]["other"] == {"equal": 1, "inside": 1}
    for name in ("train", "test", "a/b"):
        message = failure(capsys, tmp_path, *files, "--split", name, str(other))
        assert f"--split {name}: give it a name of its own" in message


def test_a_split_that_the_task_no_longer_has_is_none_of_its_splits(tmp_path, files):
    assert prepare(tmp_path, *files, "--split", "other", str(files[1])) == 0
    assert prepare(tmp_path, *files) == 0
    with pytest.raises(ClozeError, match=r"has no split 'other'; .* the splits: train, validation"):
        load_task(tmp_path / "task").split("other")


def test_test_rows_without_labels_are_refused(tmp_path, files, capsys):
    unlabelled = write(tmp_path / "test.csv", "sentence,label\na,-1\nb,-1\n")
    message = failure(capsys, tmp_path, *files, "--test", str(unlabelled))
    assert "test.csv: no row has a label (all are -1)" in message


@pytest.mark.skipif("CLOZE_DATA" not in os.environ, reason="CLOZE_DATA names no folder of corpora")
def test_sst2_and_its_grouped_hold_out(tmp_path):
    data = Path(os.environ["CLOZE_DATA"]) / "sst2"
    assert prepare(tmp_path, data / "train.parquet", data / "dev.parquet") == 0
    assert load_task(tmp_path / "task").facts["splits"]["validation"]["rows"] == 872
    assert prepare(tmp_path, data / "train.parquet", None, "--hold-out-fraction", "0.1") == 0
    assert load_task(tmp_path / "task").facts["overlap_with_train"]["validation"]["inside"] == 0


@pytest.mark.skipif("CLOZE_DATA" not in os.environ, reason="CLOZE_DATA names no folder of corpora")
def test_a_csv_with_line_breaks_and_four_labels(tmp_path):
    data = Path(os.environ["CLOZE_DATA"]) / "twitter_entity"
    columns = ["--no-header", "--text-column", "3", "--label-column", "2"]
    train, validation = data / "twitter_training.csv.xz", data / "twitter_validation.csv"
    assert prepare(tmp_path, train, validation, *columns) == 0
    facts = load_task(tmp_path / "task").facts
    assert facts["labels"] == ["Irrelevant", "Negative", "Neutral", "Positive"]
    assert facts["splits"]["train"]["rows"] == 74682
    assert facts["splits"]["train"]["empty_texts"] == 858


PAIRS = "a,b,score,author\none two,three,0.5,x\nfour,five,4.25,x\nsix,seven,3,y\n"
PAIR_COLUMNS = ["--text-column", "a", "--text-pair-column", "b", "--label-column", "score"]


def test_pairs_with_scores_and_groups_are_written_and_described(tmp_path):
    train = write(tmp_path / "train.csv", PAIRS)
    validation = write(tmp_path / "dev.csv", "a,b,score,author\nOne TWO,three,1,x\nsix,eight,2,z\n")
    more = [*PAIR_COLUMNS, "--group-column", "author", "--regression"]
    assert prepare(tmp_path, train, validation, *more) == 0
    task = load_task(tmp_path / "task")
    assert (task.labels, task.is_regression, task.metric) == (
        ["score"],
        True,
        "pearson_and_spearman",
    )
    split = task.split("train")
    assert split.texts == ["one two", "four", "six"]
    assert split.pairs == ["three", "five", "seven"]
    assert split.groups == ["x", "x", "y"]
    assert split.labels.tolist() == [0.5, 4.25, 3.0]
    assert task.facts["splits"]["validation"]["scores"] == {"min": 1.0, "max": 2.0, "mean": 1.5}
    assert task.facts["overlap_with_train"]["validation"] == {
        "equal": 1, "inside": 1, "same_group": 1,
    }  # fmt: skip
    assert list(task.iterate_texts("train")) == ["one two", "three", "four", "five", "six", "seven"]


def test_a_hold_out_by_groups_leaves_no_group_on_both_sides(tmp_path):
    lines = [f"text {number},{number % 2},author {number // 5}" for number in range(100)]
    train = write(tmp_path / "train.csv", "sentence,label,author\n" + "\n".join(lines) + "\n")
    more = ["--group-column", "author", "--hold-out-fraction", "0.2"]
    assert prepare(tmp_path, train, None, *more) == 0
    task = load_task(tmp_path / "task")
    assert task.facts["splits"]["validation"]["rows"] == 20
    assert task.facts["overlap_with_train"]["validation"]["same_group"] == 0


def test_a_label_of_no_row_keeps_its_place(tmp_path, files):
    labels = ["--labels", "bad", "good", "neutral"]
    assert prepare(tmp_path, *files, *labels) == 0
    assert load_task(tmp_path / "task").facts["splits"]["train"]["rows_by_label"] == {
        "bad": 2, "good": 1, "neutral": 0,
    }  # fmt: skip


def test_a_label_that_is_no_score_is_named(tmp_path, capsys):
    train = write(tmp_path / "train.csv", PAIRS.replace("4.25", "high"))
    message = failure(capsys, tmp_path, train, train, *PAIR_COLUMNS, "--regression")
    assert "train.csv: line 3: label 'high' is not a number, which --regression asks for" in message


def test_a_metric_of_other_tasks_is_refused(tmp_path, capsys, files):
    message = failure(capsys, tmp_path, *files, "--metric", "spearman")
    assert "--metric spearman: does not measure classes" in message


@pytest.mark.slow
@pytest.mark.skipif("CLOZE_DATA" not in os.environ, reason="CLOZE_DATA names no folder of corpora")
def test_the_published_twitter_split_is_known_to_measure_memory(tmp_path):
    data = Path(os.environ["CLOZE_DATA"]) / "twitter_entity"
    train, validation = data / "twitter_training.csv.xz", data / "twitter_validation.csv"
    columns = ["--text-column", "3", "--label-column", "2", "--group-column", "0", "--no-header"]
    assert prepare(tmp_path, train, validation, *columns) == 0
    overlap = load_task(tmp_path / "task").facts["overlap_with_train"]["validation"]
    assert overlap["same_group"] == 1000
    assert overlap["equal"] >= 517
    assert prepare(tmp_path, train, None, *columns, "--hold-out-fraction", "0.1") == 0
    assert load_task(tmp_path / "task").facts["overlap_with_train"]["validation"]["same_group"] == 0


LABELS = ("--labels", "negative", "positive")


def test_a_split_is_read_from_files_and_folders_in_order(tmp_path, files):
    folder = tmp_path / "more"
    folder.mkdir()
    write(folder / "b.tsv", "sentence\tlabel\nfrom b\t0\n")
    write(folder / "a.csv", "sentence;label\nfrom a;1\n")
    write(folder / ".hidden.csv", "x")
    assert prepare(tmp_path, files[0], files[1], *LABELS, "--test", str(folder)) == 0
    assert rows(tmp_path, "test") == [("from a", 1), ("from b", 0)]
    facts = load_task(tmp_path / "task").facts
    assert [source["file"] for source in facts["sources"]["test"]] == ["a.csv", "b.tsv"]
    assert prepare(
        tmp_path, files[0], files[1], *LABELS, "--train", *map(str, (files[0], folder / "a.csv"))
    ) == 0  # fmt: skip
    assert rows(tmp_path, "train")[3:] == [("from a", 1)]


def test_files_that_hold_nothing_or_stand_twice_are_named(tmp_path, files, capsys):
    (tmp_path / "empty").mkdir()
    assert f"--test: {tmp_path / 'empty'}: the folder has no files" in failure(
        capsys, tmp_path, *files, *LABELS, "--test", str(tmp_path / "empty")
    )
    assert f"--test: {files[0]}: is named twice" in failure(
        capsys, tmp_path, *files, *LABELS, "--test", str(files[0]), str(files[0])
    )
    assert "--split more: name its files" in failure(
        capsys, tmp_path, *files, *LABELS, "--split", "more"
    )


@pytest.mark.parametrize(
    ("written", "names", "expected"),
    [
        (("0.0", "1.0"), [], ["0", "1"]),
        (("0.0", "1.0"), LABELS, ["negative", "positive"]),
        (("False", "True"), LABELS, ["negative", "positive"]),
        (("false", "true"), [], ["false", "true"]),
        (("1", "2.0"), [], ["1", "2"]),
        (("01", "1"), [], ["01", "1"]),
        (("0.5", "1.0"), [], ["0.5", "1.0"]),
    ],
)
def test_labels_are_the_numbers_and_flags_that_they_are_written_as(
    tmp_path, written, names, expected
):
    text = "sentence,label\n" + "".join(f"a {label},{label}\n" for label in written)
    files = [write(tmp_path / f"{name}.csv", text) for name in ("train", "validation")]
    assert prepare(tmp_path, *files, *names) == 0
    assert load_task(tmp_path / "task").labels == expected
    assert [label for _, label in rows(tmp_path, "train")] == [0, 1]


def test_floats_and_flags_of_parquet_are_labels(tmp_path):
    for name, values in {"train": [0.0, 1.0, None], "validation": [True, False, True]}.items():
        table = pa.table({"sentence": ["a", "b", "c"], "label": values})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    files = [tmp_path / f"{name}.parquet" for name in ("train", "validation")]
    assert prepare(tmp_path, *files, *LABELS, "--unlabelled", "drop") == 0
    assert rows(tmp_path, "train") == [("a", 0), ("b", 1)]
    assert rows(tmp_path, "validation") == [("a", 1), ("b", 0), ("c", 1)]
    counts = load_task(tmp_path / "task").facts["left_out"]
    assert counts == {"train": {"unlabelled": 1, "bad": 0}}


def test_rows_without_a_label_stop_the_run_or_are_left_out_and_counted(tmp_path, capsys):
    text = "sentence,label\na,1\nb,-1\nc,-\nd,\ne,0\n"
    files = [write(tmp_path / f"{name}.csv", text) for name in ("train", "validation")]
    assert "train.csv: line 5: the label is missing" in failure(capsys, tmp_path, *files)
    assert prepare(tmp_path, *files, "--unlabelled", "drop") == 0
    assert "left out 3 rows without a label and 0 bad rows" in capsys.readouterr().err
    assert load_task(tmp_path / "task").labels == ["0", "1"]
    assert rows(tmp_path, "train") == [("a", 1), ("e", 0)]
    # A label that the task names is one.
    assert prepare(tmp_path, *files, "--unlabelled", "drop", "--labels", "-1", "0", "1") == 0
    assert rows(tmp_path, "train") == [("a", 2), ("b", 0), ("e", 1)]


def test_a_class_called_minus_one_is_questioned(tmp_path, capsys):
    files = [write(tmp_path / f"{name}.csv", "sentence,label\na,1\nb,-1\nc,0\n") for name in "tv"]
    assert prepare(tmp_path, *files) == 0
    assert "the label '-1' is taken for a class" in capsys.readouterr().err


def test_bad_rows_are_left_out_up_to_a_number_and_kept_with_the_reason(tmp_path, capsys):
    bad = "sentence,label\na,1\nb\nc,maybe\nd,0\n"
    files = write(tmp_path / "train.csv", bad), write(tmp_path / "validation.csv", VALIDATION)
    assert "line 3: 1 columns where" in failure(capsys, tmp_path, *files, *LABELS)
    message = failure(capsys, tmp_path, *files, *LABELS, "--max-bad-rows", "1")
    assert "'maybe' is not one of" in message
    assert "bad row 2, and --max-bad-rows allows 1" in message
    assert prepare(tmp_path, *files, *LABELS, "--max-bad-rows", "2") == 0
    assert rows(tmp_path, "train") == [("a", 1), ("d", 0)]
    kept = (tmp_path / "task" / "bad-rows.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in kept]
    assert [(row["file"], row["place"]) for row in found] == [
        (str(files[0]), "line 3"), (str(files[0]), "line 4"),
    ]  # fmt: skip
    assert "'maybe' is not one of the task's labels" in found[1]["reason"]
    assert load_task(tmp_path / "task").facts["left_out"]["train"]["bad"] == 2
    # What another preparation left there is gone.
    good = write(tmp_path / "train.csv", TRAIN)
    assert prepare(tmp_path, good, files[1], *LABELS) == 0
    assert not (tmp_path / "task" / "bad-rows.jsonl").exists()


@pytest.mark.parametrize("field", ["text", "label", "pair", "group"])
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_text_that_is_none_is_named_in_any_column(tmp_path, capsys, field, form):
    rows = [{"text": f"x{n}", "label": "ab"[n % 2], "pair": "y", "group": f"{n}"} for n in range(9)]
    path = tmp_path / f"rows.{form}"
    if form == "jsonl":
        rows[5][field] = "\ud800"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        expected = f"line 6: column '{field}' holds '\\ud800', half of a surrogate pair"
    else:
        table = {name: [row[name] for row in rows] for name in rows[0]}
        table[field] = pa.array([b"\xff" if n == 5 else b"ab"[n % 2 :][:1] for n in range(9)])
        table[field] = table[field].view(pa.string())
        pq.write_table(pa.table(table), path)
        expected = "row 6: holds text that is not UTF-8"
    columns = ["--text-column=text", "--label-column=label", "--text-pair-column=pair"]
    columns += ["--group-column=group", "--hold-out-fraction=0.3", "--train", str(path)]
    assert prepare_task.main([*columns, "--output", str(tmp_path / "task")]) == 1
    assert f"{path}: {expected}" in capsys.readouterr().err


@pytest.mark.parametrize("label", [10**30, "9" * 5000])
def test_a_number_of_many_digits_is_a_name(tmp_path, label):
    rows = "".join(json.dumps({"sentence": f"x{n}", "label": [label, 7][n % 2]}) + "\n"
                   for n in range(9))  # fmt: skip
    path = write(tmp_path / "train.jsonl", rows)
    assert prepare(tmp_path, path, None, "--hold-out-fraction", "0.3") == 0
    assert load_task(tmp_path / "task").labels == sorted(["7", str(label)])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 7), ("labels", "ab"), ("labels", [1, 2]), ("splits", ["train"]),
        ("splits", {"train": 3}), ("objective", "none"), ("metric", "accurate"),
    ],
)  # fmt: skip
def test_a_task_that_prepare_task_did_not_write_is_refused(tmp_path, files, key, value):
    assert prepare(tmp_path, *files) == 0
    path = tmp_path / "task" / "task.json"
    write(path, json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ClozeError, match=rf"task\.json: .*{key} .*run (prepare_task.py|it) again"):
        load_task(tmp_path / "task")


@pytest.mark.parametrize("column", ["text", "label"])
def test_a_split_with_gaps_is_refused(tmp_path, files, column):
    assert prepare(tmp_path, *files) == 0
    path = tmp_path / "task" / "train.parquet"
    table = pq.read_table(path)
    index = table.schema.get_field_index(column)
    gaps = pa.nulls(table.num_rows, table.schema.field(column).type)
    pq.write_table(table.set_column(index, column, gaps), path)
    with pytest.raises(ClozeError, match=r"train\.parquet: has rows without .*prepare it again"):
        load_task(tmp_path / "task").split("train")
