"""Text and lines from byte streams, with errors that say where the fault is."""

from collections.abc import Iterator
from typing import BinaryIO

from cloze.errors import ClozeError

_BYTE_ORDER_MARK = "\ufeff"
_BLOCK_BYTES = 1 << 20
# No novel has a tenth of it; what a bomb unpacks to must not fill the memory.
MAX_DOCUMENT_BYTES = 64 << 20


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
