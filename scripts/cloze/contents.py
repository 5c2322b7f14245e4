"""What a file is by its first bytes: pointers, archives, encodings, formats of other programs.

The one table for every reader, so that a message names what a file is. That a file is damaged is
said only where its first bytes are those of its format.
"""

import re
from typing import NamedTuple

from cloze.errors import ClozeError

HEAD_BYTES = 1 << 10
# A text has none of these; a few may stand in one that a terminal or a printer wrote.
_CONTROL = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
_BINARY_SHARE = 0.05
# Spaces and line ends alone make more zero bytes in UTF-16.
_ZERO_SHARE = 0.02
# UTF-7 (RFC 2152): a character that is not ASCII in modified base64.
_SHIFTED = re.compile(rb"\+([A-Za-z0-9+/]+)")
_FEWEST_SHIFTED, _FEWEST_WIDE = 3, 24
# From here on are characters for syllables and words, which random base64 gives most often.
_FIRST_WIDE = "\u3000"
_LOCAL_HEADER = b"PK\x03\x04"


class Content(NamedTuple):
    """What some first bytes say: a name that follows "is", and what to do about it.

    `is_ascii`: whether a text could begin with the same characters, so that they alone say
    nothing.
    """

    name: str
    advice: str
    is_ascii: bool = False


_UNPACK = "unpack it first"
_SAVE_AS_TEXT = "save it as text in UTF-8"
_SAVE_AS_TABLE = "save it as CSV in UTF-8"
_POINTERS = {
    b"version https://git-lfs.github.com/spec/": Content(
        "a pointer of Git LFS and not the file itself", "fetch the file with: git lfs pull"
    ),
    b"version https://hawser.github.com/spec/": Content(
        "a pointer of Git LFS and not the file itself", "fetch the file with: git lfs pull"
    ),
    b"/annex/objects/": Content(
        "a pointer of git-annex and not the file itself", "fetch the file with: git annex get"
    ),
}
# Longer marks before those that they begin with.
_SIGNATURES = {
    **_POINTERS,
    b"\xff\xfe\x00\x00": Content("UTF-32 text", "convert it: iconv -f UTF-32 -t UTF-8 IN > OUT"),
    b"\x00\x00\xfe\xff": Content("UTF-32 text", "convert it: iconv -f UTF-32 -t UTF-8 IN > OUT"),
    b"\xff\xfe": Content("UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8 IN > OUT"),
    b"\xfe\xff": Content("UTF-16 text", "convert it: iconv -f UTF-16 -t UTF-8 IN > OUT"),
    b"\x1f\x8b": Content("gzip data", "let its name end in .gz, an archive's in .tar.gz"),
    b"BZh": Content("bzip2 data", "let its name end in .bz2", is_ascii=True),
    b"\xfd7zXZ\x00": Content("xz data", "let its name end in .xz"),
    b"\x28\xb5\x2f\xfd": Content("zstd data", "let its name end in .zst"),
    b"\x04\x22\x4d\x18": Content("LZ4 data", f"{_UNPACK}: lz4 -d"),
    b"LZIP": Content("lzip data", f"{_UNPACK}: lzip -d", is_ascii=True),
    b"\x89LZO": Content("lzop data", f"{_UNPACK}: lzop -d"),
    b"\x5d\x00\x00": Content("LZMA data", f"{_UNPACK}: xz -d --format=lzma"),
    b"\x1f\x9d": Content("data of compress", f"{_UNPACK}: uncompress"),
    b"\x1f\xa0": Content("data of compress", f"{_UNPACK}: uncompress"),
    b"\xff\x06\x00\x00sNaPpY": Content("Snappy data", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": Content("a 7z archive", f"{_UNPACK}: 7z x"),
    b"Rar!\x1a\x07": Content("a RAR archive", f"{_UNPACK}: unrar x"),
    b"MSCF\x00": Content("a cabinet archive", f"{_UNPACK}: cabextract"),
    b"PAR1": Content("a parquet file", "read it as parquet", is_ascii=True),
    b"PARE": Content("an encrypted parquet file", "decrypt it first", is_ascii=True),
    b"ARROW1": Content(
        "an Arrow (Feather) file",
        "write it as parquet: pandas.read_feather(IN).to_parquet(OUT)",
        is_ascii=True,
    ),
    b"\xff\xff\xff\xff": Content(
        "a stream of Arrow, such as Hugging Face datasets save",
        "write it as parquet: datasets.Dataset.from_file(IN).to_parquet(OUT)",
    ),
    b"FEA1": Content("a Feather file of version 1", "write it as parquet", is_ascii=True),
    b"ORC": Content("an ORC file", "write it as parquet", is_ascii=True),
    b"Obj\x01": Content("an Avro file", "write it as parquet or JSON lines"),
    b"SQLite format 3\x00": Content("an SQLite database", "write its table as CSV or parquet"),
    b"\x89HDF\r\n\x1a\n": Content("an HDF5 file", "write its table as parquet"),
    b"\x93NUMPY": Content("a NumPy array", "write its rows as JSON lines or parquet"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": Content(
        "a file of an old Office program, such as .doc or .xls",
        f"{_SAVE_AS_TEXT}, a table as CSV",
    ),
    b"{\\rtf": Content("a document in RTF", _SAVE_AS_TEXT),
    b"%PDF-": Content("a PDF", "take its text out first: pdftotext IN OUT"),
    b"%!PS-": Content("a PostScript file", "take its text out first: ps2txt IN OUT"),
    b"AT&TFORM": Content("a DjVu file", "take its text out first: djvutxt IN OUT", is_ascii=True),
    b"\x89PNG\r\n\x1a\n": Content("an image", "leave it out"),
    b"\xff\xd8\xff": Content("an image", "leave it out"),
    b"GIF8": Content("an image", "leave it out", is_ascii=True),
    b"II*\x00": Content("an image", "leave it out"),
    b"MM\x00*": Content("an image", "leave it out"),
    b"RIFF": Content("a sound, an image or a film", "leave it out", is_ascii=True),
    b"OggS": Content("a sound or a film", "leave it out", is_ascii=True),
    b"ID3": Content("a sound", "leave it out", is_ascii=True),
    b"fLaC": Content("a sound", "leave it out", is_ascii=True),
    b"\x7fELF": Content("a program", "leave it out"),
    b"GGUF": Content("weights of a model", "leave it out", is_ascii=True),
}
_ZIP = Content("a zip archive", "let its name end in .zip")
# By the name of the first member, or what stands in it.
_ZIPPED = (
    (re.compile(rb"mimetypeapplication/epub"), Content("an EPUB book", _SAVE_AS_TEXT)),
    (
        re.compile(rb"mimetypeapplication/vnd\.(oasis|sun)"),
        Content("an OpenDocument file", f"{_SAVE_AS_TEXT}, a table as CSV"),
    ),
    (re.compile(rb"xl/"), Content("an Excel workbook", _SAVE_AS_TABLE)),
    (re.compile(rb"word/"), Content("a Word document", _SAVE_AS_TEXT)),
    (re.compile(rb"ppt/"), Content("a PowerPoint presentation", _SAVE_AS_TEXT)),
    (
        re.compile(rb"\[Content_Types\]\.xml|_rels/\.rels|docProps/"),
        Content("an Office file", f"{_SAVE_AS_TEXT}, a table as CSV"),
    ),
)
TAR = Content("a tar archive", "let its name end in .tar")
_WEB_PAGE = Content(
    "a web page, perhaps one that says why there is no file", "look at it, then fetch the file"
)
_PAGE = re.compile(rb"\s*<(!doctype html|html)[\s>]", re.IGNORECASE)
_BINARY = Content("binary data and not text", "leave it out, or name its format")


def pointer(head: bytes) -> Content | None:
    """Return what a file is that only stands for another one, from its first bytes."""
    return next((about for mark, about in _POINTERS.items() if head.startswith(mark)), None)


def recognised(head: bytes) -> Content | None:
    """Return what some first bytes, of `HEAD_BYTES` where there are as many, say that a file is.

    None for text in UTF-8 and for what is not in the tables.
    """
    if head.startswith(_LOCAL_HEADER):
        name, extra = (int.from_bytes(head[at : at + 2], "little") for at in (26, 28))
        # An office program writes the kind of the file first, some of them its parts.
        first = head[30 : 30 + name] + head[30 + name + extra :]
        return next((about for form, about in _ZIPPED if form.match(first)), _ZIP)
    if head[257:262] == b"ustar":
        return TAR
    for mark, about in _SIGNATURES.items():
        if head.startswith(mark) and not (about.is_ascii and _is_text(head)):
            return about
    return None


def not_text(head: bytes) -> Content | None:
    """Return what bytes are that no reader of text in UTF-8 should take for it, None for text."""
    if found := recognised(head):
        return found
    if found := unmarked_encoding(head) or _utf7(head):
        return found
    return None if _is_text(head) else _BINARY


def not_format(head: bytes) -> Content | None:
    """Return what a file is that was to be of a binary format and does not begin like it."""
    if found := not_text(head):
        return None if found is _BINARY else found
    if page := web_page(head):
        return page
    return Content("text", "let its name end in what it is") if head.strip() else None


def web_page(head: bytes) -> Content | None:
    """Return that a file is a web page where a table or an archive should be."""
    return _WEB_PAGE if _PAGE.match(head) else None


def refuse(where: str, content: Content | None) -> None:
    """Raise `ClozeError` if there is a content: the file at `where` is that and no other."""
    if content is not None:
        raise ClozeError(f"{where}: is {content.name}; {content.advice}")


def unmarked_encoding(head: bytes, zero_share: float = _ZERO_SHARE) -> Content | None:
    """Return the encoding of UTF-16 or UTF-32 without a byte order mark, None for all else.

    Its spaces, line ends and digits have zero bytes, always at the same place among two or four;
    fewer than `zero_share` of all bytes say nothing.
    """
    zeros = [head[at::4].count(0) for at in range(4)]
    if not sum(zeros) or sum(zeros) < zero_share * len(head):
        return None
    quarter = len(head) // 4
    odd, even = zeros[1] + zeros[3], zeros[0] + zeros[2]
    candidates = {
        "UTF-32LE": min(zeros[2], zeros[3]) >= 0.9 * quarter,
        "UTF-32BE": min(zeros[0], zeros[1]) >= 0.9 * quarter,
        "UTF-16LE": odd > 9 * even,
        "UTF-16BE": even > 9 * odd,
    }
    for name, fits in candidates.items():
        if fits and _decodes(head, name):
            return Content(f"{name} text", f"convert it: iconv -f {name} -t UTF-8 IN > OUT")
    return None


def _utf7(head: bytes) -> Content | None:
    """Return UTF-7, which is ASCII with every other character between a plus sign and a hyphen.

    All that could be such characters must be, of alphabets or else of as many as no sum, patch or
    telephone number spells.
    """
    spelled = _SHIFTED.findall(head[: head.rfind(b"\n") + 1] or head)
    if len(spelled) < _FEWEST_SHIFTED or not head.isascii():
        return None
    try:
        found = b"".join(b"+%s-" % text for text in spelled).decode("utf-7")
    except UnicodeDecodeError:
        return None
    are_letters = all(not char.isascii() and char.isprintable() for char in found)
    if not are_letters or (max(found) >= _FIRST_WIDE and len(found) < _FEWEST_WIDE):
        return None
    return Content("UTF-7 text", "convert it: iconv -f UTF-7 -t UTF-8 IN > OUT")


def _is_text(head: bytes) -> bool:
    """Tell whether bytes hold hardly any control characters."""
    return len(_CONTROL.findall(head)) <= _BINARY_SHARE * len(head)


def _decodes(head: bytes, encoding: str) -> bool:
    """Tell whether bytes are text in an encoding, hardly any of it no printable character."""
    text = head[: len(head) & ~3].decode(encoding, errors="replace")
    strange = sum(not (char.isprintable() or char.isspace()) or char == "\ufffd" for char in text)
    return bool(text) and strange <= _BINARY_SHARE * len(text)
