"""The rows of tables from byte streams: CSV in any dialect, JSON lines, parquet."""

import contextlib
import csv
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cloze.cli import log
from cloze.contents import HEAD_BYTES, not_format, refuse, web_page
from cloze.corpus.arrays import one_line
from cloze.corpus.text_streams import (
    MAX_DOCUMENT_BYTES,
    read_blocks,
    read_lines,
    require_bounded,
    require_text,
)
from cloze.errors import ClozeError

# A row group may be as large as the file.
_BUFFER_BYTES = 1 << 20
_BATCH_ROWS = 256
_BATCH_BYTES = 16 << 20
# Of a column of a row group: `_BATCH_ROWS` times as much, if each row repeats it, fits anywhere.
_MAX_REPEATED_BYTES = 2 << 20
# Writers put so many values into a page before they look at its size, and a page is read whole.
_PAGE_ROWS = 1024
_MAX_PAGE_BYTES = 1 << 30
_PARQUET_MARK = b"PAR1"
# What is tried where a file's own delimiter does not fit it.
_DELIMITERS = (",", "\t", ";", "|")
_DELIMITER_NAMES = {"tab": "\t", "\\t": "\t"}
_SNIFFED_ROWS = 50
_NO_HEADER = (
    "; if they are the first row's values, there is no header: say --no-header (header: false), "
    "and columns are numbers from 0"
)
_NAME_CHARACTERS, _NAMES_SHOWN = 40, 20
_TO_LINES = "; make it so: jq -c 'if type == \"array\" then .[] else . end' IN > OUT"
_SNIFFED_CHARACTERS = 1 << 16

OnBadRow = Callable[[str, ClozeError], None]
"""What is done about a row that cannot be read: raise its error, or take note and go on."""


class Dialect(NamedTuple):
    """How CSV and TSV are written; None: as the file's first rows show.

    `header`: whether the first row names the columns, which are else numbers from 0. `delimiter`:
    one character, or `tab`. `quoting`: whether quotation marks enclose what holds a delimiter or a
    line end, and two stand for one of them (RFC 4180).
    """

    header: bool = True
    delimiter: str | None = None
    quoting: bool | None = None


def _refuse(place: str, error: ClozeError) -> None:
    raise error


def read_columns(
    stream: BinaryIO,
    where: str,
    format: str,
    columns: Sequence[str],
    dialect: Dialect = Dialect(),  # noqa: B008
) -> Iterator[tuple[str, list[str]]]:
    """Yield `(place, values)` of each row: "line 7" or "row 7", and its texts in `columns`.

    `format` is `csv` or `tsv` (see `_sniffed`), `jsonl` (an object a line) or `parquet` (needs a
    stream that can be rewound). Null is the empty text. Blank lines are passed over.

    Raises `ClozeError`, naming `where` and the place, for a column that is not there (with
    those that are), a value that is no text, and a row that is malformed.
    """
    for place, values in read_values(stream, where, format, columns, dialect):
        for index, value in enumerate(values):
            if not isinstance(value, str):
                values[index] = _text(value, f"{where}: {place}: column {columns[index]!r}")
        yield place, values


def read_values(
    stream: BinaryIO,
    where: str,
    format: str,
    columns: Sequence[str],
    dialect: Dialect = Dialect(),  # noqa: B008
    on_bad_row: OnBadRow = _refuse,
) -> Iterator[tuple[str, list[Any]]]:
    """Yield rows as `read_columns` does, their values as the format types them, null as None.

    Raises `ClozeError` as `read_columns` does, but for values that are no text; what is malformed
    in one row alone, and text that is none or too long, goes to `on_bad_row`.
    """
    if format == "parquet":
        rows = _parquet_rows(stream, where, columns, on_bad_row)
    elif format == "jsonl":
        rows = _json_rows(stream, where, columns, on_bad_row)
    else:
        rows = _delimited_rows(stream, where, format, columns, dialect, on_bad_row)
    for place, values in rows:
        try:
            for column, value in zip(columns, values, strict=True):
                # Nearly every value passes here, and a corpus has millions.
                if isinstance(value, str) and value.isascii() and len(value) <= MAX_DOCUMENT_BYTES:
                    continue
                require_text(value, f"{where}: {place}: column {column!r}")
        except ClozeError as error:
            on_bad_row(place, error)
            continue
        yield place, values


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    raise ClozeError(f"{where} holds {type(value).__name__}, not text; name a text column")


def _require_columns(
    where: str, columns: Sequence[str], present: Sequence[str], advice: str = ""
) -> None:
    for column in columns:
        if column not in present:
            names = [_shortened(name) for name in present[:_NAMES_SHOWN]]
            more = f" and {len(present) - _NAMES_SHOWN} more" * (len(present) > _NAMES_SHOWN)
            raise ClozeError(
                f"{where}: no column {column!r}; there are: {', '.join(names)}{more}{advice}"
            )
        if present.count(column) > 1:
            raise ClozeError(
                f"{where}: has {present.count(column)} columns {column!r}; rename all but one"
            )


def _shortened(name: str) -> str:
    # A name may be half of a surrogate pair, in JSON.
    shown = name.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= _NAME_CHARACTERS else f"{shown[:_NAME_CHARACTERS]}…"


def _delimited_rows(
    stream: BinaryIO,
    where: str,
    format: str,
    columns: Sequence[str],
    dialect: Dialect,
    on_bad_row: OnBadRow,
) -> Iterator[tuple[str, list[str]]]:
    csv.field_size_limit(MAX_DOCUMENT_BYTES)
    blocks = read_blocks(stream, where)
    first = next(blocks, "")
    refuse(where, web_page(first[:HEAD_BYTES].encode()))
    found = _sniffed(first, where, format, columns, dialect)
    lines = itertools.chain(_lines(first), itertools.chain.from_iterable(map(_lines, blocks)))
    reader = _reader(lines, found)
    width, indices, line = 0, [0], 1
    while True:
        place = f"line {line}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            line = reader.line_num + 1
            on_bad_row(
                place,
                ClozeError(f"{where}: {place}: {error}; mend the row that starts there"),
            )
            continue
        if cells is None:
            return
        line = reader.line_num + 1
        if not cells:
            continue
        if not width:
            width = len(cells)
            names = cells if found.header else [str(index) for index in range(width)]
            _require_columns(where, columns, names, _NO_HEADER if found.header else "")
            indices = [names.index(column) for column in columns]
            if found.header:
                continue
        if len(cells) != width:
            advice = (
                "quote a text that holds the delimiter, or mend the row"
                if found.quoting
                else "a file with a text a line has no columns: read it with --format lines"
                if width == 1
                else "quotation marks are text in this file, so a text can hold no delimiter or "
                "line end: mend the row, or say quoting: true"
            )
            message = f"{where}: {place}: {len(cells)} columns where the first row has {width}"
            on_bad_row(place, ClozeError(f"{message}; {advice}"))
            continue
        yield place, [cells[index] for index in indices]


def _lines(block: str) -> list[str]:
    """Return the lines of a block with their line ends, which are newlines alone."""
    lines = block.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _reader(lines: Iterable[str], dialect: Dialect) -> Any:
    # Strict: a stray quotation mark is an error instead of a field that swallows the rest.
    return csv.reader(
        lines,
        delimiter=dialect.delimiter or ",",
        quoting=csv.QUOTE_MINIMAL if dialect.quoting else csv.QUOTE_NONE,
        strict=True,
    )


def _sniffed(
    text: str, where: str, format: str, columns: Sequence[str], dialect: Dialect
) -> Dialect:
    """Return the dialect with what it leaves open, as the start of a file shows it.

    The delimiter is a comma (`csv`) or a tab (`tsv`) unless only another one of comma, tab,
    semicolon and bar makes a first row that has the `columns`, or, without a header, rows of one
    length. Quotation marks enclose text in `csv`; in `tsv` they are text, as in GLUE's files,
    unless every cell that begins with one is written as only a quoting writer does: with a
    delimiter, a line end or a doubled mark inside. Says what it found where that is not usual.
    """
    usual = "," if format == "csv" else "\t"
    given = dialect.delimiter and _DELIMITER_NAMES.get(dialect.delimiter, dialect.delimiter)
    if given and (len(given) > 1 or given in '"\r\n'):
        raise ClozeError(f"--delimiter {dialect.delimiter!r}: is no single character, nor tab")
    quoting = dialect.quoting
    delimiter = given or usual
    if given is None:
        fitting = [mark for mark in _DELIMITERS if _fits(text, columns, dialect, mark, format)]
        if fitting and usual not in fitting:
            delimiter = fitting[0]
    if quoting is None:
        quoting = format == "csv" or _is_quoted(text, delimiter)
    if (delimiter, quoting) != (usual, format == "csv"):
        shown = "tab" if delimiter == "\t" else delimiter
        marks = "enclose text" if quoting else "are text"
        log.info("%s: columns are separated by %r, quotation marks %s", where, shown, marks)
    return Dialect(dialect.header, delimiter, quoting)


def _fits(text: str, columns: Sequence[str], dialect: Dialect, delimiter: str, format: str) -> bool:
    """Tell whether the first rows have the columns if this is what separates them."""
    quoting = format == "csv" if dialect.quoting is None else dialect.quoting
    rows = _reader(_lines(text), Dialect(dialect.header, delimiter, quoting))
    try:
        found = [cells for cells in itertools.islice(rows, _SNIFFED_ROWS) if cells]
    except csv.Error:
        return False
    if not found:
        return False
    if dialect.header:
        return set(columns) <= set(found[0])
    widths = {len(cells) for cells in found}
    numbers = [int(column) for column in columns if column.isdecimal()]
    return len(widths) == 1 and max(numbers, default=0) < min(widths)


def _is_quoted(text: str, delimiter: str) -> bool:
    """Tell whether a writer of quotes put every quotation mark that begins a cell."""
    mark = re.escape(delimiter)
    begins = re.compile(rf'(?:^|(?<=[\n{mark}]))"')
    cell = re.compile(rf'"((?:[^"]|"")*)"(?=[\n{mark}]|\Z)')
    place, any_quoted = 0, False
    while (begin := begins.search(text, place)) and begin.start() < _SNIFFED_CHARACTERS:
        found = cell.match(text, begin.start())
        if not found or not any(needs in found[1] for needs in (delimiter, "\n", '"')):
            return False
        any_quoted, place = True, found.end()
    return any_quoted


def _json_rows(
    stream: BinaryIO, where: str, columns: Sequence[str], on_bad_row: OnBadRow
) -> Iterator[tuple[str, list[Any]]]:
    for number, line in enumerate(read_lines(stream, where), start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            record = json_object(line, f"{where}: {place}")
            _require_columns(f"{where}: {place}", columns, list(record))
        except ClozeError as error:
            on_bad_row(place, error)
            continue
        yield place, [record[column] for column in columns]


def json_object(line: str, where: str) -> dict[str, Any]:
    """Return the object of a line; raises `ClozeError`, naming `where`, if it holds none."""
    # What spans several lines, or one, as JSON does that is no JSON lines.
    whole = line.lstrip().startswith("[") or line.strip() == "{"
    form = "jsonl is one object a line" + (_TO_LINES if whole else ', such as {"text": "…"}')
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        refuse(where, web_page(line[:HEAD_BYTES].encode()))
        raise ClozeError(f"{where}: not JSON ({error}); {form}") from error
    if not isinstance(record, dict):
        raise ClozeError(f"{where}: not a JSON object; {form}")
    return record


def _parquet_rows(
    stream: BinaryIO, where: str, columns: Sequence[str], on_bad_row: OnBadRow
) -> Iterator[tuple[str, list[Any]]]:
    if not stream.seekable():
        raise ClozeError(
            f"{where}: parquet inside a compressed file or an archive cannot be read; "
            "unpack it first"
        )
    with opened_parquet(stream, where) as file:
        _require_columns(where, columns, file.schema_arrow.names)
        row = 0
        for group in range(file.num_row_groups):
            reader, size = _reader_of(file, stream, group, columns, where)
            for batch in reader.iter_batches(size, row_groups=[group], columns=list(columns)):
                cells = [batch.column(name) for name in columns]
                rows: list[Any] = [None] * batch.num_rows
                with contextlib.suppress(UnicodeDecodeError):
                    rows = list(zip(*(column.to_pylist() for column in cells), strict=True))
                for index, values in enumerate(rows):
                    row += 1
                    try:
                        # Where one row of the batch is broken, each is read by itself.
                        values = values or [column[index].as_py() for column in cells]
                    except UnicodeDecodeError as error:
                        message = f"{where}: row {row}: holds text that is not UTF-8 ({error})"
                        on_bad_row(f"row {row}", ClozeError(f"{message}; write the file again"))
                        continue
                    yield f"row {row}", list(values)


def _reader_of(
    file: pq.ParquetFile, stream: BinaryIO, group: int, columns: Sequence[str], where: str
) -> tuple[pq.ParquetFile, int]:
    """Return what reads a row group, and how many of its rows may be in memory at a time.

    By the bytes that they have on the average, or by the longest text that they may repeat: that
    lies in the file once, in a dictionary, and then it is held once, too, which takes longer.
    """
    about = file.metadata.row_group(group)
    parts = [about.column(number) for number in range(about.num_columns)]
    wanted = [part for part in parts if part.path_in_schema.partition(".")[0] in columns]
    largest = max((part.total_uncompressed_size for part in wanted), default=0)
    rows = max(about.num_rows, 1)
    require_bounded(largest // rows, where, "a text", "cut it")
    if rows <= _PAGE_ROWS and largest > _MAX_PAGE_BYTES:
        raise ClozeError(
            f"{where}: has {largest >> 20} MiB in one row group of {rows} rows, which is read as a "
            "whole; write it with fewer rows a group: row_group_size=100"
        )
    average = max(largest // rows, 1)
    if largest > _MAX_REPEATED_BYTES:
        types = {name: file.schema_arrow.field(name).type for name in columns}
        are_text = (pa.types.is_string, pa.types.is_large_string)
        texts = [name for name, kind in types.items() if any(is_it(kind) for is_it in are_text)]
        held_once = pq.ParquetFile(
            stream, metadata=file.metadata, buffer_size=_BUFFER_BYTES, read_dictionary=texts
        )
        longest = _longest_repeated(held_once, group, texts)
        if longest * _BATCH_ROWS > _BATCH_BYTES:
            return held_once, max(_BATCH_BYTES // max(longest, average), 1)
    return file, min(max(_BATCH_BYTES // average, 1), _BATCH_ROWS)


def _longest_repeated(file: pq.ParquetFile, group: int, texts: Sequence[str]) -> int:
    """Return the bytes of the longest text in the dictionaries, which come with the first row."""
    first = next(file.iter_batches(1, row_groups=[group], columns=texts), None)
    lengths = (
        [pc.max(pc.binary_length(c.dictionary)).as_py() for c in first.columns] if first else []
    )
    return max((length or 0 for length in lengths), default=0)


@contextlib.contextmanager
def opened_parquet(stream: BinaryIO, where: str) -> Iterator[pq.ParquetFile]:
    """Yield a parquet file; raises `ClozeError` if it is none, or damaged where that shows."""
    try:
        yield pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES)
    except (pa.ArrowException, OSError) as error:
        # An error number comes from the file system, not from the content.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        stream.seek(0)
        head = stream.read(HEAD_BYTES)
        if not head.startswith(_PARQUET_MARK):
            refuse(where, not_format(head))
        raise ClozeError(
            f"{where}: not a whole parquet file ({one_line(error)}); fetch the file again"
        ) from error
