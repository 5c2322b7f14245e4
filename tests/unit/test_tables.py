"""Tables in the dialects that people have them in, and their bad rows."""

import io
import json

import pytest

from cloze.corpus.tables import Dialect, read_values
from cloze.errors import ClozeError


def read(text: str, format: str = "csv", columns=("text", "label"), dialect=Dialect()):  # noqa: B008
    stream = io.BytesIO(text.encode())
    return [values for _, values in read_values(stream, "a", format, list(columns), dialect)]


@pytest.mark.parametrize(("format", "usual"), [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_read_off_the_header(format, usual, delimiter, caplog):
    rows = [["label", "text", "other"], ["1", "a fine film", "x"], ["0", "a poor one", "y"]]
    text = "".join(f"{delimiter.join(row)}\n" for row in rows)
    with caplog.at_level("INFO"):
        assert read(text, format) == [["a fine film", "1"], ["a poor one", "0"]]
    assert ("columns are separated by" in caplog.text) == (delimiter != usual)


def test_the_delimiter_of_rows_without_header_makes_them_equally_long():
    dialect, columns = Dialect(header=False), ("1", "0")
    text = "1;fine, and long\n0;poor\n1;so, so, so\n"
    assert read(text, columns=columns, dialect=dialect) == [
        ["fine, and long", "1"], ["poor", "0"], ["so, so, so", "1"],
    ]  # fmt: skip


def test_the_usual_delimiter_is_taken_where_several_fit():
    assert read("text\na;b\n", columns=["text"]) == [["a;b"]]
    assert read("text,label\na;b,1\n") == [["a;b", "1"]]


@pytest.mark.parametrize("delimiter", ["tab", "\\t", "\t"])
def test_a_named_delimiter_is_not_questioned(delimiter):
    assert read("text\tlabel\na,b\t1\n", dialect=Dialect(delimiter=delimiter)) == [["a,b", "1"]]
    with pytest.raises(ClozeError, match="no column 'text'; there are: text;label"):
        read("text;label\na;1\n", dialect=Dialect(delimiter=","))
    with pytest.raises(ClozeError, match="--delimiter '::': is no single character, nor tab"):
        read("text::label\na::1\n", dialect=Dialect(delimiter="::"))


QUOTED = 'text\tlabel\n"He said ""hi"" twice"\t1\n"two\nlines"\t0\nplain\t1\n'


def test_quotes_of_a_writer_that_quotes_are_taken_off_tsv():
    assert read(QUOTED, "tsv") == [['He said "hi" twice', "1"], ["two\nlines", "0"], ["plain", "1"]]


@pytest.mark.parametrize(
    "cell",
    ['"whole"', '"open', '"so" he said', 'it is "so"', '""', '"a" and ""b""'],
)
def test_quotes_that_may_be_text_stay_in_tsv(cell):
    assert read(f"text\tlabel\n{cell}\t1\nplain\t0\n", "tsv")[0] == [cell, "1"]


def test_quotes_in_tsv_are_what_the_settings_say():
    text = 'text\tlabel\n"whole"\t1\n'
    assert read(text, "tsv", dialect=Dialect(quoting=True)) == [["whole", "1"]]
    assert read('text,label\n"a,1\n', dialect=Dialect(quoting=False)) == [['"a', "1"]]


@pytest.mark.parametrize(
    ("format", "text", "place"),
    [
        ("csv", 'text,label\na,1\nb\nc,"0\n', "line 3"),
        ("csv", 'text,label\na,1\n"b"x,0\nc,0\n', "line 3"),
        ("tsv", "text\tlabel\na\t1\nb\tc\t0\nc\t0\n", "line 3"),
        ("jsonl", '{"text": "a", "label": 1}\nno\n{"text": "c", "label": 0}\n', "line 2"),
        ("jsonl", '{"text": "a", "label": 1}\n[1]\n{"text": "c", "label": 0}\n', "line 2"),
        ("jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n', "line 2"),
    ],
)
def test_a_bad_row_is_told_of_and_the_others_are_read(format, text, place):
    bad: dict[str, str] = {}
    rows = list(
        read_values(
            io.BytesIO(text.encode()),
            "a",
            format,
            ["text", "label"],
            on_bad_row=lambda place, error: bad.update({place: str(error)}),
        )
    )
    good = [json.loads(json.dumps(values)) for _, values in rows]
    assert ["a", 1] in good or ["a", "1"] in good
    assert bad[place].startswith(f"a: {place}: ")
    with pytest.raises(ClozeError, match=f"a: {place}"):
        read(text, format)
