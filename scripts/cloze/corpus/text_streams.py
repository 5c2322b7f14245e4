"""Text and lines from byte streams, with errors that say where the fault is."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from cloze.contents import HEAD_BYTES, not_text, refuse, unmarked_encoding
from cloze.errors import ClozeError

_BYTE_ORDER_MARK = "\ufeff"
_BLOCK_BYTES = 1 << 20
# No novel has a tenth of it; what a bomb unpacks to must not fill the memory.
MAX_DOCUMENT_BYTES = 64 << 20


def read_text(stream: BinaryIO, where: str) -> str:
    """Return the whole stream as text, without its byte order mark, line ends as they are.

    Raises `ClozeError` for bytes that are no text, at the first byte that is not UTF-8, and if
    there are more than 64 MiB; `where` names the stream.
    """
    data = stream.read(MAX_DOCUMENT_BYTES + 1)
    refuse(where, not_text(data[:HEAD_BYTES]))
    require_bounded(
        len(data),
        where,
        "a document",
        "cut it, or read its parts as documents with --format paragraphs (between blank lines) or "
        "lines (a document a line)",
    )
    return _decode(data, where, 0).removeprefix(_BYTE_ORDER_MARK)


def require_bounded(size: int, where: str, what: str, advice: str) -> None:
    """Raise `ClozeError` if one document, or one line, has more than 64 MiB.

    `what` it is; `advice`: what to do about it, which depends on how the file is read.
    """
    if size > MAX_DOCUMENT_BYTES:
        raise ClozeError(
            f"{where}: holds {what} of more than {MAX_DOCUMENT_BYTES >> 20} MiB; {advice}"
        )


def require_text(value: Any, where: str) -> None:
    """Raise `ClozeError` if a text, or one in a list or an object, is none or has over 64 MiB.

    JSON can spell half of a surrogate pair, which is no character; a cell of any table can be
    long. What is neither text, list nor object passes.
    """
    if isinstance(value, list):
        for item in value:
            require_text(item, where)
    elif isinstance(value, dict):
        require_text([*value, *value.values()], where)
    elif isinstance(value, str):
        try:
            size = len(value.encode())
        except UnicodeEncodeError as error:
            raise ClozeError(
                f"{where} holds {error.object[error.start]!a}, half of a surrogate pair, which is "
                "no character; write the file again with valid Unicode"
            ) from error
        require_bounded(size, where, "a text", "cut it")


def read_blocks(stream: BinaryIO, where: str) -> Iterator[str]:
    r"""Yield a stream as text in blocks of whole lines, `\r\n` as `\n`.

    A block has about 1 MiB, more if one line has; only the last one may end without a
    line end. A byte order mark at the start is left out. Raises `ClozeError` for what is no text
    as `read_text` does, and for a line of more than 64 MiB.
    """
    offset, held = 0, list[bytes]()
    while data := stream.read(_BLOCK_BYTES):
        if not offset and not held:
            refuse(where, not_text(data[:HEAD_BYTES]))
        cut = data.rfind(b"\n") + 1
        held.append(data[:cut] if cut else data)
        if not cut:
            size = _BLOCK_BYTES * len(held)
            require_bounded(size, where, "a line", "break it into lines, if it is text at all")
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
        # Chinese and Korean in UTF-16 have hardly a zero byte but in their line ends.
        refuse(where, unmarked_encoding(data[: error.start + HEAD_BYTES], zero_share=0))
        raise ClozeError(
            f"{where}: byte {offset + error.start} ({data[error.start]:#04x}) is not valid UTF-8; "
            "convert the file first, for example: iconv -f WINDOWS-1252 -t UTF-8 IN > OUT"
        ) from error
