"""UTF-8 text from byte streams, with errors that say where the bad byte is."""

from collections.abc import Iterator
from typing import BinaryIO

from cloze.errors import ClozeError

_BYTE_ORDER_MARK = "\ufeff"


def read_text(stream: BinaryIO, where: str) -> str:
    """Return the whole stream as text, without its byte order mark, line ends as they are.

    Raises `ClozeError` at the first byte that is not UTF-8; `where` names the stream.
    """
    return _decode(stream.read(), where, 0).removeprefix(_BYTE_ORDER_MARK)


def read_lines(stream: BinaryIO, where: str) -> Iterator[str]:
    r"""Yield the lines of a stream with their line end, `\r\n` as `\n`.

    Only `\n` ends a line: other separators, such as U+2028, belong to the text.
    A byte order mark at the start is left out. Raises `ClozeError` as `read_text` does.
    """
    offset = 0
    for data in stream:
        line = _decode(data, where, offset)
        if offset == 0:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        offset += len(data)
        yield f"{line[:-2]}\n" if line.endswith("\r\n") else line


def _decode(data: bytes, where: str, offset: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ClozeError(
            f"{where}: byte {offset + error.start} ({data[error.start]:#04x}) is not valid UTF-8; "
            "convert the file first, for example: iconv -f WINDOWS-1252 -t UTF-8 IN > OUT"
        ) from error
