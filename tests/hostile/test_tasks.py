"""Labelled files of every kind, and task folders, with what no text, row or label may be."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import baselines
import prepare_task
from tests.hostile.damage import VALUES, WHOLE_FILES, changed, damage_file, flipped, of_keys
from tests.hostile.outcome import by_name, check, run
from tests.tiny_questions import squad
from tests.tiny_task import write_task

pytestmark = pytest.mark.slow

ROWS = [
    {"text": f"w{n} w{n + 1}", "label": "ab"[n % 2], "pair": f"w{n}", "group": f"g{n}"}
    for n in range(12)
]
COLUMNS = [
    "--text-column=text", "--label-column=label", "--text-pair-column=pair", "--group-column=group",
]  # fmt: skip
FIELDS = ("text", "label", "pair", "group")


def prepare(path: Path, folder: Path, *flags: str) -> bool:
    """Prepare a task of one file, from which rows are held out; returns whether it was refused."""
    output = folder / "task"
    flags = flags or tuple(COLUMNS)
    given = ["--train", path, "--hold-out-fraction=0.3", "--output", output, *flags]
    refused = check(run(prepare_task, *given, folder=folder), str(path))
    assert refused == (not (output / "task.json").exists())
    return refused


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Return the prepared rows, in order of their text."""
    tables = [
        pq.read_table(folder / "task" / f"{name}.parquet") for name in ("train", "validation")
    ]
    rows = [row for table in tables for row in table.to_pylist()]
    return sorted(rows, key=lambda row: str(row["text"]))


def with_value(field: str, value: Any) -> list[dict[str, Any]]:
    return [{**row, field: value} if number == 5 else row for number, row in enumerate(ROWS)]


def as_lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


CELLS: dict[str, Any] = {
    **VALUES,
    "a NUL": "a\0b",
    "a line end": "a\nb",
    "a number beyond floats": 10**400,
    "a small float": 1e-320,
    "a deep list": json.loads("[" * 200 + "]" * 200),
}
# What each column admits; all else is refused.
RIGHT = {
    "text": {"no text", "text", "digits", "a long text", "a NUL", "a line end"},
    "label": {
        "true", "zero", "minus one", "ten million", "a large number", "text", "digits",
        "a long text", "a NUL", "a line end", "a number beyond floats",
    },
    "group": {
        "true", "zero", "minus one", "ten million", "a large number", "text", "digits",
        "a long text", "a NUL", "a line end", "a number beyond floats",
    },
}  # fmt: skip


@by_name({f"{field} is {name}": (field, name) for field in FIELDS for name in CELLS})
def test_a_cell_of_json_lines_is_text_or_refused(tmp_path, case):
    field, name = case
    path = tmp_path / "rows.jsonl"
    path.write_bytes(as_lines(with_value(field, CELLS[name])))
    if not prepare(path, tmp_path):
        assert name in RIGHT["text" if field == "pair" else field], "taken"
        assert len(rows_of(tmp_path)) <= len(ROWS)


LINES: dict[str, bytes] = {
    "deep JSON": b"[" * 100_000,
    "a deep cell": b'{"text": ' + b"[" * 100_000,
    "a number of 5,000 digits": b'{"text": "x", "label": ' + b"9" * 5000 + b"}",
    "a list": b"[1]",
    "no JSON": b"{text: x}",
    "half of an object": b'{"text": "x"',
    "two objects": b'{"text": "x"} {"text": "y"}',
    "a key twice": b'{"text": "x", "text": "y", "label": "a", "pair": "z", "group": "1"}',
    "bytes that are no text": b'{"text": "\xff", "label": "a", "pair": "z", "group": "1"}',
    "a NUL": b"\0",
    "a surrogate as a key": b'{"\\ud800": "x"}',
    "a column less": b'{"text": "x", "label": "a", "pair": "z"}',
}  # fmt: skip


@by_name(LINES)
def test_a_line_that_is_no_row_is_named(tmp_path, case):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(as_lines(ROWS) + case + b"\n" + as_lines(ROWS))
    refused = prepare(path, tmp_path)
    assert refused or b'"text": "y"' in case


@by_name(LINES)
def test_a_bad_line_is_left_out_where_that_is_allowed(tmp_path, case):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(as_lines(ROWS) + case + b"\n")
    if not prepare(path, tmp_path, *COLUMNS, "--max-bad-rows=1"):
        assert len(rows_of(tmp_path)) <= len(ROWS) + 1


TABLES: dict[str, tuple[str, bytes]] = {
    "a NUL in CSV": ("csv", b"text,label,pair,group\nx\0y,a,z,1\n"),
    "a stray quotation mark": ("csv", b'text,label,pair,group\n"x,a,z,1\n'),
    "a quotation mark inside": ("csv", b'text,label,pair,group\n"x"y",a,z,1\n'),
    "a column too many": ("csv", b"text,label,pair,group\nx,a,z,1,2\n"),
    "a column twice": ("csv", b"text,label,pair,group,text\nx,a,z,1,y\nx,b,z,2,y\n"),
    "a header alone": ("csv", b"text,label,pair,group\n"),
    "a header twice": ("csv", b"text,label,pair,group\n" * 2),
    "no UTF-8": ("csv", b"text,label,pair,group\ncaf\xe9,a,z,1\n"),
    "UTF-16": ("tsv", "text\tlabel\tpair\tgroup\nx\ta\tz\t1\n".encode("utf-16")),
    "line ends of old Macintoshes": ("csv", b"text,label,pair,group\rx,a,z,1\ry,b,z,2\r"),
    "empty": ("csv", b""),
    "blank lines": ("csv", b"\n" * 1000),
    "a byte order mark": ("csv", b"\xef\xbb\xbftext,label,pair,group\nx,a,z,1\ny,b,z,2\nu,a,v,3\n"),
    "no labels at all": ("csv", b"text,label,pair,group\nx,-1,z,1\ny,-1,z,2\n"),
}  # fmt: skip


LONG: dict[str, Callable[[], tuple[str, bytes]]] = {
    **{
        f"a {field} of 70 MB": (
            lambda field=field: ("jsonl", as_lines(with_value(field, "x " * (35 << 20))))
        )
        for field in FIELDS
    },
    "a cell of 70 MB": lambda: (
        "csv", b"text,label,pair,group\n" + b"x" * (70 << 20) + b",a,z,1\n"
    ),
    "a quoted cell of 70 MB of lines": lambda: (
        "csv", b'text,label,pair,group\n"' + b"xy\n" * (24 << 20) + b'",a,z,1\n'
    ),
    "a million columns": lambda: ("csv", b"text,label,other" + b",x" * 1_000_000 + b"\n"),
}  # fmt: skip


@by_name(LONG)
def test_what_is_too_long_is_refused(tmp_path, case):
    suffix, content = case()
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(content)
    assert prepare(path, tmp_path)


@by_name(TABLES)
def test_a_table_that_is_none_is_named(tmp_path, case):
    suffix, content = case
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(content)
    if not prepare(path, tmp_path):
        assert content.startswith(b"\xef\xbb\xbf")
        assert [row["text"] for row in rows_of(tmp_path)] == ["u", "x", "y"]


def parquet(**columns: Any) -> Callable[[Path], None]:
    """Return what writes the rows as parquet, some columns replaced."""

    def write(path: Path) -> None:
        table = pa.table({field: [row[field] for row in ROWS] for field in FIELDS})
        for name, values in columns.items():
            table = table.set_column(table.schema.get_field_index(name), name, values)
        pq.write_table(table, path)

    return write


def invalid(field: str) -> Callable[[Path], None]:
    """Return what writes a column that says it is text and holds bytes that are none."""
    values = [b"caf\xe9" if n == 5 else f"x{n % 2}".encode() for n in range(12)]
    data, offsets = b"".join(values), [0]
    for value in values:
        offsets.append(offsets[-1] + len(value))
    buffers = [None, pa.py_buffer(memoryview(bytes(pa.array(offsets, pa.int32()).buffers()[1])))]
    return parquet(
        **{field: pa.Array.from_buffers(pa.string(), 12, [*buffers, pa.py_buffer(data)])}
    )


def twice(path: Path) -> None:
    table = pa.table({field: [row[field] for row in ROWS] for field in FIELDS})
    pq.write_table(table.append_column("text", pa.array(["other"] * 12)), path)


def in_disguise(path: Path) -> None:
    """Write a file of a few kB whose texts have 2 GB."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 12 * 22, pa.int32()), ["x" * (8 << 20)])
    rest = {field: pa.array([str(n) for n in range(12 * 22)]) for field in FIELDS[1:]}
    pq.write_table(pa.table({"text": text, **rest}), path, compression="zstd")


PARQUET: dict[str, Callable[[Path], None]] = {
    **{f"{field} that is no UTF-8": invalid(field) for field in FIELDS},
    "a column twice": twice,
    "2 GB in disguise": in_disguise,
    "bytes for text": parquet(text=pa.array([b"a\xff"] * 12)),
    "numbers for text": parquet(text=pa.array([1.5] * 12)),
    "lists for text": parquet(text=pa.array([["a"]] * 12)),
    "lists for labels": parquet(label=pa.array([["a"]] * 12)),
    "objects for labels": parquet(label=pa.array([{"a": 1}] * 12)),
    "times for labels": parquet(label=pa.array([0] * 12, pa.timestamp("s"))),
    "nulls for labels": parquet(label=pa.nulls(12)),
    "nulls for text": parquet(text=pa.nulls(12, pa.string())),
    "nulls for groups": parquet(group=pa.nulls(12)),
    "not a number for labels": parquet(label=pa.array([float("nan")] * 12)),
    "floats for groups": parquet(group=pa.array([1.5] * 12)),
    **{
        f"one {field} of 100 MB": (
            lambda path, field=field: parquet(
                **{field: pa.array(["x" * (100 << 20)] + ["y"] * 11)}
            )(path)
        )
        for field in ("text", "pair", "label")
    },
    **{
        f"file: {name}": (lambda path, damage=damage: (parquet()(path), damage_file(path, damage)))
        for name, damage in WHOLE_FILES.items()
    },
    **{
        f"bits {n}": (lambda path, n=n: (parquet()(path), damage_file(path, flipped(f"task {n}"))))
        for n in range(8)
    },
}  # fmt: skip


@by_name(PARQUET)
def test_parquet_that_is_no_task_is_named(tmp_path, case):
    path = tmp_path / "rows.parquet"
    case(path)
    if not prepare(path, tmp_path):
        # A bit that no reader sees, or one of a text; and a text is a text, however often.
        assert len(rows_of(tmp_path)) <= len(ROWS) or case is in_disguise


def conll(*lines: str) -> bytes:
    return "\n".join(lines).encode()


QUESTIONS = json.dumps(squad(6, 1)).encode()
OTHER_KINDS: dict[str, tuple[str, str, bytes]] = {
    **{
        f"questions: {name}": ("question_answering", "json", damage(QUESTIONS))
        for name, damage in {
            **WHOLE_FILES,
            **of_keys({"data": [], "version": ""}, "squad", each=6),
            **{
                f"{'.'.join(path)} is {name}": changed(*path, value=VALUES[name])
                for path in (
                    ("data", "0"), ("data", "0", "title"), ("data", "0", "paragraphs"),
                    ("data", "0", "paragraphs", "0"), ("data", "0", "paragraphs", "0", "context"),
                    ("data", "0", "paragraphs", "0", "qas"),
                    ("data", "0", "paragraphs", "0", "qas", "0", "id"),
                    ("data", "0", "paragraphs", "0", "qas", "0", "question"),
                    ("data", "0", "paragraphs", "0", "qas", "0", "answers"),
                )
                for name in ("null", "zero", "text", "a list", "half of a surrogate pair")
            },
        }.items()
    },
    "tags: one column": ("token_classification", "conll", conll("a", "b", "", "c")),
    "tags: a NUL": ("token_classification", "conll", conll("a\0 O", "b B-X", "", "c O")),
    "tags: no UTF-8": ("token_classification", "conll", b"caf\xe9 O\n"),
    "tags: odd prefixes": ("token_classification", "conll", conll("a X-A", "b Q-", "", "c -")),
    "tags: a sentence of 100,000 words": (
        "token_classification", "conll", b"a O\n" * 100_000 + b"\nb B-X\n\nc O\n"
    ),
    "tags: lists of numbers": (
        "token_classification", "jsonl", as_lines([{"tokens": [1], "tags": [1]}] * 3)
    ),
    "tags: lists of lists": (
        "token_classification", "jsonl", as_lines([{"tokens": [["a"]], "tags": [["b"]]}] * 3)
    ),
    "tags: half of a surrogate pair": (
        "token_classification", "jsonl", as_lines([{"tokens": ["\ud800"], "tags": ["O"]}] * 3)
    ),
    "tags: half of a surrogate pair as a tag": (
        "token_classification", "jsonl", as_lines([{"tokens": ["a"], "tags": ["\ud800"]}] * 3)
    ),
    "tags: empty lists": (
        "token_classification", "jsonl", as_lines([{"tokens": [], "tags": []}] * 3)
    ),
}  # fmt: skip


@by_name(OTHER_KINDS)
def test_files_of_other_kinds_of_tasks_are_judged_alike(tmp_path, case):
    objective, suffix, content = case
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(content)
    prepare(path, tmp_path, f"--objective={objective}")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("task") / "task", 40, 20)


def split_with(**columns: Any) -> Callable[[bytes], bytes]:
    """Return the damage of a split, some columns of which are replaced or, by None, left out."""

    def damage(content: bytes) -> bytes:
        table = pq.read_table(pa.BufferReader(content))
        for name, values in columns.items():
            index = table.schema.get_field_index(name)
            rows = table.num_rows
            table = (
                table.remove_column(index)
                if values is None
                else table.set_column(index, name, pa.array([values] * rows))
            )
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        return bytes(sink.getvalue())

    return damage


FOLDER: dict[str, tuple[str, Any]] = {
    **{f"task.json: {name}": ("task.json", damage) for name, damage in WHOLE_FILES.items()},
    **{
        f"task.json: {key} is {name}": ("task.json", changed(key, value=value))
        for key in ("name", "labels", "origin", "splits", "objective", "metric")
        for name, value in VALUES.items()
    },
    **{f"train.parquet: {name}": ("train.parquet", damage) for name, damage in WHOLE_FILES.items()},
    **{f"train.parquet: bits {n}": ("train.parquet", flipped(f"split {n}")) for n in range(6)},
    "no text": ("train.parquet", split_with(text=None)),
    "no label": ("train.parquet", split_with(label=None)),
    "null texts": ("train.parquet", split_with(text=pa.scalar(None, pa.string()))),
    "numbers for texts": ("train.parquet", split_with(text=7)),
    "texts for labels": ("train.parquet", split_with(label="good")),
    "a label beyond the names": ("train.parquet", split_with(label=9)),
    "a negative label": ("train.parquet", split_with(label=-1)),
    "null labels": ("train.parquet", split_with(label=pa.scalar(None, pa.int32()))),
    "labels beyond 32 bits": ("train.parquet", split_with(label=1 << 40)),
    "fractions for labels": ("train.parquet", split_with(label=0.5)),
}


@by_name(FOLDER)
def test_a_task_folder_is_not_believed(task, tmp_path, case):
    name, damage = case
    folder = Path(shutil.copytree(task, tmp_path / "task"))
    damage_file(folder / name, damage)
    output = tmp_path / "baselines.json"
    outcome = run(baselines, "--task", folder, "--output", output, folder=tmp_path)
    if check(outcome, str(folder)):
        assert not output.exists()
