"""Text, lines and the rows of tables from byte streams, with errors that say where the fault is."""

import csv
import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from cloze.errors import ClozeError

_BYTE_ORDER_MARK = "\ufeff"
_BLOCK_BYTES = 1 << 20
# No novel has a tenth of it; what a bomb unpacks to must not fill the memory.
MAX_DOCUMENT_BYTES = 64 << 20
_BATCH_ROWS = 256


def read_text(stream: BinaryIO, where: str) -> str:
    """Return the whole stream as text, without its byte order mark, line ends as they are.

    Raises `ClozeError` at the first byte that is not UTF-8, and if there are more than
    64 MiB; `where` names the stream.
    """
    data = stream.read(MAX_DOCUMENT_BYTES + 1)
    require_bounded(len(data), where)
    return _decode(data, where, 0).removeprefix(_BYTE_ORDER_MARK)


def require_bounded(size: int, where: str) -> None:
    """Raise `ClozeError` if one document, or one line, has more than 64 MiB."""
    if size > MAX_DOCUMENT_BYTES:
        raise ClozeError(
            f"{where}: a document or line of more than {MAX_DOCUMENT_BYTES >> 20} MiB; cut it, "
            "or read it with another --format, paragraphs for one long text, if it is text at all"
        )


def read_blocks(stream: BinaryIO, where: str) -> Iterator[str]:
    r"""Yield a stream as text in blocks of whole lines, `\r\n` as `\n`.

    A block has about 1 MiB, more if one line has; only the last one may end without a
    line end. A byte order mark at the start is left out. Raises `ClozeError` as `read_text`
    does, for a line of more than 64 MiB too.
    """
    offset, held = 0, list[bytes]()
    while data := stream.read(_BLOCK_BYTES):
        cut = data.rfind(b"\n") + 1
        held.append(data[:cut] if cut else data)
        if not cut:
            require_bounded(_BLOCK_BYTES * len(held), where)
        else:
            whole = b"".join(held)
            yield _block(whole, where, offset)
            offset += len(whole)
            held = [data[cut:]]
    if rest := b"".join(held):
        yield _block(rest, where, offset)


def read_lines(stream: BinaryIO, where: str) -> Iterator[str]:
    r"""Yield the lines of a stream with their line end, `\r\n` as `\n`.

    Only `\n` ends a line: other separators, such as U+2028, belong to the text.
    A byte order mark at the start is left out. Raises `ClozeError` as `read_text` does.
    """
    for block in read_blocks(stream, where):
        *lines, rest = block.split("\n")
        for line in lines:
            yield f"{line}\n"
        if rest:
            yield rest


def _block(data: bytes, where: str, offset: int) -> str:
    text = _decode(data, where, offset)
    if offset == 0:
        text = text.removeprefix(_BYTE_ORDER_MARK)
    return text.replace("\r\n", "\n") if "\r" in text else text


def _decode(data: bytes, where: str, offset: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ClozeError(
            f"{where}: byte {offset + error.start} ({data[error.start]:#04x}) is not valid UTF-8; "
            "convert the file first, for example: iconv -f WINDOWS-1252 -t UTF-8 IN > OUT"
        ) from error


def read_columns(
    stream: BinaryIO, where: str, format: str, columns: Sequence[str], header: bool = True
) -> Iterator[tuple[str, list[str]]]:
    """Yield `(place, values)` of each row: "line 7" or "row 7", and its texts in `columns`.

    `format` is `csv` (RFC 4180 quotes), `tsv` (no quoting: quotation marks are text, as
    in GLUE's files), `jsonl` (an object a line) or `parquet` (needs a stream that can be
    rewound). Without a `header` the columns of CSV and TSV are numbers counted from 0.
    Null is the empty text. Blank lines are passed over.

    Raises `ClozeError`, naming `where` and the place, for a column that is not there (with
    those that are), a value that is no text, and a row that is malformed.
    """
    for place, values in read_values(stream, where, format, columns, header):
        for index, value in enumerate(values):
            # Nearly every value passes here, and a corpus has millions.
            if not isinstance(value, str) or not value.isascii():
                values[index] = _text(value, f"{where}: {place}: column {columns[index]!r}")
        yield place, values


def read_values(
    stream: BinaryIO, where: str, format: str, columns: Sequence[str], header: bool = True
) -> Iterator[tuple[str, list[Any]]]:
    """Yield rows as `read_columns` does, their values as the format types them, null as None.

    Raises `ClozeError` as `read_columns` does, but for values that are no text.
    """
    if format == "parquet":
        yield from _parquet_rows(stream, where, columns)
    elif format == "jsonl":
        yield from _json_rows(stream, where, columns)
    else:
        yield from _delimited_rows(stream, where, format, columns, header)


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ClozeError(f"{where} holds {type(value).__name__}, not text; name a text column")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ClozeError(
            f"{where} holds {error.object[error.start]!a}, half of a surrogate pair, which is no "
            "character; write the file again with valid Unicode"
        ) from error
    return value


def _require_columns(where: str, columns: Sequence[str], present: Sequence[str]) -> None:
    for column in columns:
        if column not in present:
            raise ClozeError(f"{where}: no column {column!r}; there are: {', '.join(present)}")


def _delimited_rows(
    stream: BinaryIO, where: str, format: str, columns: Sequence[str], header: bool
) -> Iterator[tuple[str, list[str]]]:
    csv.field_size_limit(MAX_DOCUMENT_BYTES)
    # Strict: a stray quotation mark is an error instead of a field that swallows the rest.
    reader = csv.reader(
        read_lines(stream, where),
        delimiter="," if format == "csv" else "\t",
        quoting=csv.QUOTE_MINIMAL if format == "csv" else csv.QUOTE_NONE,
        strict=True,
    )
    width, indices, line = 0, [0], 1
    try:
        for cells in reader:
            place, line = f"line {line}", reader.line_num + 1
            if not cells:
                continue
            if not width:
                width = len(cells)
                names = cells if header else [str(index) for index in range(width)]
                _require_columns(where, columns, names)
                indices = [names.index(column) for column in columns]
                if header:
                    continue
            if len(cells) != width:
                raise ClozeError(
                    f"{where}: {place}: {len(cells)} columns where the first row has {width}; "
                    + (
                        "quote a text that holds the delimiter, or mend the row"
                        if format == "csv"
                        else "tsv has no quoting, so a text can hold no tab or line break: use csv"
                    )
                )
            yield place, [cells[index] for index in indices]
    except csv.Error as error:
        raise ClozeError(
            f"{where}: line {line}: {error}; mend the row that starts there"
        ) from error


def _json_rows(
    stream: BinaryIO, where: str, columns: Sequence[str]
) -> Iterator[tuple[str, list[Any]]]:
    for number, line in enumerate(read_lines(stream, where), start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ClozeError(
                f"{where}: {place}: not JSON ({error}); jsonl is one object a line"
            ) from error
        if not isinstance(record, dict):
            raise ClozeError(
                f"{where}: {place}: not a JSON object; jsonl is one object a line, "
                'such as {"text": "…"}'
            )
        _require_columns(f"{where}: {place}", columns, list(record))
        yield place, [record[column] for column in columns]


def _parquet_rows(
    stream: BinaryIO, where: str, columns: Sequence[str]
) -> Iterator[tuple[str, list[Any]]]:
    if not stream.seekable():
        raise ClozeError(
            f"{where}: parquet inside a compressed file or an archive cannot be read; "
            "unpack it first"
        )
    try:
        # Buffered: a row group may be as large as the file.
        file = pq.ParquetFile(stream, buffer_size=1 << 20)
        _require_columns(where, columns, file.schema_arrow.names)
        row = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns)):
            for values in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
                row += 1
                yield f"row {row}", list(values)
    except pa.ArrowException as error:
        raise ClozeError(
            f"{where}: not a whole parquet file ({error}); fetch the file again"
        ) from error
