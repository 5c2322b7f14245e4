"""What a file is by its first bytes, and text that is text whatever it begins with."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import zstandard

from cloze.contents import HEAD_BYTES, not_format, not_text, pointer, unmarked_encoding
from cloze.errors import ClozeError
from cloze.files import read_json, require_file

TEXT = "hello world number 1\n\nand more\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"


def zipped(*names: str, content: str = "x") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return buffer.getvalue()


def written(write) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def arrow_stream() -> bytes:
    table = pa.table({"text": ["a"]})

    def write(buffer: io.BytesIO) -> None:
        with pa.ipc.new_stream(buffer, table.schema) as writer:
            writer.write_table(table)

    return written(write)


FOREIGN = {
    "a pointer of Git LFS": POINTER,
    "a pointer of git-annex": b"/annex/objects/SHA256E-s12--0.txt\n",
    "UTF-16 text": TEXT.encode("utf-16"),
    "UTF-7 text": ("Zoë sah Ärger, übel.\n" * 9).encode("utf-7"),
    "UTF-32 text": TEXT.encode("utf-32"),
    "UTF-16LE text": TEXT.encode("utf-16-le"),
    "UTF-16BE text": "Привет, мир и всё.\n".encode("utf-16-be"),
    "UTF-32LE text": "你好，世界。\n".encode("utf-32-le"),
    "UTF-32BE text": TEXT.encode("utf-32-be"),
    "gzip data": gzip.compress(TEXT.encode()),
    "bzip2 data": bz2.compress(TEXT.encode()),
    "xz data": lzma.compress(TEXT.encode()),
    "LZMA data": lzma.compress(TEXT.encode(), lzma.FORMAT_ALONE),
    "zstd data": zstandard.compress(TEXT.encode()),
    "LZ4 data": pa.compress(TEXT.encode() * 9, "lz4", asbytes=True),
    "a zip archive": zipped("a.txt"),
    "an Excel workbook": zipped("xl/workbook.xml"),
    "a Word document": zipped("word/document.xml"),
    "an Office file": zipped("[Content_Types].xml", "xl/workbook.xml"),
    "an EPUB book": zipped("mimetype", content="application/epub+zip"),
    "an OpenDocument file": zipped("mimetype", content="application/vnd.oasis.opendocument.text"),
    "a tar archive": tarred(),
    "a 7z archive": b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(20),
    "a RAR archive": b"Rar!\x1a\x07\x01\x00" + bytes(20),
    "a parquet file": written(lambda f: pq.write_table(pa.table({"text": ["a"]}), f)),
    "an Arrow (Feather) file": written(lambda f: feather.write_feather(pa.table({"a": [1]}), f)),
    "a stream of Arrow": arrow_stream(),
    "a NumPy array": written(lambda f: np.save(f, np.zeros(3))),
    "a file of an old Office program": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40),
    "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "a document in RTF": b"{\\rtf1\\ansi Hello}",
    "an image": b"\x89PNG\r\n\x1a\n" + bytes(20),
    "binary data and not text": bytes(range(256)),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_text_is_named(name: str) -> None:
    found = not_text(FOREIGN[name][:HEAD_BYTES])
    assert found is not None
    assert found.name.startswith(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\ufeffmarked",
        TEXT,
        "日本語 é " * 50,
        "ORCHARDS bear apples.",
        "PAR1 is what it says",
        "BZh begins this text.",
        "\x1b[31mred\x1b[0m and plain, page\x0cbreak and so on",
        "a\0b in a text that is longer than that",
    ],
)
def test_text_is_text_whatever_it_begins_with(text: str) -> None:
    assert not_text(text.encode()) is None


def test_what_should_be_a_binary_format_is_named_too() -> None:
    names = {
        b"<!DOCTYPE html><p>404": "a web page",
        b"text,label\n": "text",
        FOREIGN["gzip data"]: "gzip data",
    }
    for head, name in names.items():
        found = not_format(head)
        assert found is not None
        assert found.name.startswith(name)
    assert not_format(b"") is None
    assert not_format(bytes(range(256))) is None


def test_utf_16_with_hardly_a_zero_byte_is_known_where_it_is_no_utf_8() -> None:
    head = ("漢字かな交じり文" * 40 + "\n").encode("utf-16-le")
    found = unmarked_encoding(head, zero_share=0)
    assert found is not None
    assert found.name == "UTF-16LE text"


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "vocab.txt"])
def test_a_pointer_is_no_file_of_any_kind(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ClozeError, match=rf"{name}: is a pointer of Git LFS .*git lfs pull"):
        require_file(tmp_path / name)
    assert pointer(b"version 1 of the text") is None


def test_json_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": 1}', encoding="utf-16")
    with pytest.raises(ClozeError, match=r"config\.json: is UTF-16 text; convert it: iconv"):
        read_json(tmp_path / "config.json")


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(ClozeError, match="is a folder where a file belongs; name a file in it"):
        require_file(tmp_path)


@pytest.mark.parametrize(
    "text", ["Ça va, déjà là ?", "「これはペンです」、私は知りません。", "Привет, мир"]
)
def test_utf_7_of_any_script_is_known(text):
    assert "UTF-7" in not_text(f"{text}\n\n".encode("utf-7") * 9).name


@pytest.mark.parametrize(
    "text",
    [
        "+import os\n+return x\n+def f():\n", "call +4930123456 or +442071234567\n",
        "1+2+3+4=10, x+y+z\n", "C++ and g++, +abc- +def- +ghi-\n", "+1+1-1 :+1:\n", "plain\n",
    ],
)  # fmt: skip
def test_plus_signs_make_no_utf_7(text):
    assert not_text((text * 9).encode()) is None
