"""Corpora as people have them: files, folders and archives with what is no text."""

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

import extract_documents
import train_tokenizer
from tests.hostile.damage import VALUES, WHOLE_FILES, damage_file, flipped
from tests.hostile.outcome import by_name, check, run
from tests.texts import write_documents

pytestmark = pytest.mark.slow

TEXTS = [f"a text of its own, number {n}" for n in range(20)]
Write = Callable[[Path], Any]


def extract(path: Path, format: str, folder: Path, *flags: str) -> list[str] | None:
    """Return the texts of all documents of a file or folder, None where it was refused."""
    output = folder / "documents"
    given = ["--format", format, "--input", path, "--output", output, *flags]
    shares = ["--validation-fraction=0.3", "--test-fraction=0"]
    if check(run(extract_documents, *given, *shares, folder=folder), path.name):
        assert not (output / "train.parquet").exists()
        return None
    splits = (pq.read_table(output / f"{name}.parquet") for name in ("train", "validation"))
    return sorted(text for split in splits for text in split["text"].to_pylist())


def as_lines(*values: Any) -> bytes:
    return "".join(json.dumps({"text": value}) + "\n" for value in values).encode()


Content = bytes | Callable[[], bytes]
# What is large is made when it is asked for.


def made(content: Content) -> bytes:
    return content() if callable(content) else content


PLAIN = "\n\n".join(TEXTS).encode() + b"\n"
FILES: dict[str, tuple[str, str, Content]] = {
    **{
        f"{format}: {name}": (format, suffix, damage(PLAIN))
        for format, suffix in (("paragraphs", "txt"), ("lines", "txt"), ("jsonl", "jsonl"))
        for name, damage in WHOLE_FILES.items()
    },
    "text of zeros": ("text", "txt", bytes(5000)),
    "a document of 70 MB": ("paragraphs", "txt", lambda: b"x " * (35 << 20)),
    "a line of 70 MB": ("lines", "txt", lambda: b"x" * (70 << 20)),
    "no UTF-8 far behind": ("paragraphs", "txt", b"x\n\n" * (1 << 20) + b"\xff"),
    "half of a character at the end": ("paragraphs", "txt", PLAIN + "é".encode()[:1]),
    "UTF-7": ("paragraphs", "txt", ("Zoë sah Ärger, übel.\n\n" * 20).encode("utf-7")),
    "UTF-16 behind a plain start": ("paragraphs", "txt", PLAIN + "später".encode("utf-16")),
    "escape sequences": ("paragraphs", "txt", b"\x1b]0;x\x07\x1b[2J" * 400),
    **{
        f"jsonl: {name}": ("jsonl", "jsonl", as_lines(*TEXTS, value, *TEXTS))
        for name, value in VALUES.items()
    },
    "jsonl: a text of 70 MB": ("jsonl", "jsonl", lambda: as_lines(*TEXTS, "x " * (35 << 20))),
    "jsonl: surrogates in a key": ("jsonl", "jsonl", b'{"\\ud800": 1, "text": "x"}\n' * 20),
    "csv: a NUL": ("csv", "csv", b"text\nx\0\n"),
    "csv: a cell of 70 MB": ("csv", "csv", lambda: b"text\n" + b"x" * (70 << 20) + b"\n"),
    "csv: lines of 70 MB": ("csv", "csv", lambda: b'text\n"' + b"xy\n" * (24 << 20) + b'"\n'),
}  # fmt: skip
# Inputs that hold what some reader takes for documents; all others are refused.
TAKEN = {
    "paragraphs: a third", "paragraphs: all but the last byte", "lines: a third",
    "lines: all but the last byte", "jsonl: text", "jsonl: no text", "jsonl: digits",
    "jsonl: null", "jsonl: a long text", "jsonl: surrogates in a key",
    # Text, though hardly what was meant.
    *(f"{format}: {name}" for format in ("paragraphs", "lines") for name in (
        "an empty object", "an empty list", "a number", "null", "a text", "half of an object",
        "deep lists", "deep objects", "a web page", "a number of 5,000 digits")),
}  # fmt: skip


@by_name({name: (name, *case) for name, case in FILES.items()})
def test_a_file_is_read_as_it_is_or_refused(tmp_path, case):
    name, format, suffix, content = case
    path = tmp_path / f"corpus.{suffix}"
    path.write_bytes(made(content))
    found = extract(path, format, tmp_path)
    assert found is None or name in TAKEN


def parquet(array: pa.Array, **options: Any) -> Write:
    def write(path: Path) -> None:
        pq.write_table(pa.table({"text": array}), path, **options)

    return write


def repeated(size: int, times: int) -> pa.Array:
    """Texts that are one and the same, which parquet keeps once."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), ["x" * size])


def invalid(kind: pa.DataType) -> pa.Array:
    texts = [f"x{n}".encode() for n in range(9)] + [b"caf\xe9"]
    return (
        pa.array(texts, pa.large_binary()).view(kind)
        if kind == pa.large_string()
        else (pa.array(texts, pa.binary()).view(kind))
    )


def two_columns(path: Path) -> None:
    table = pa.table({"text": TEXTS})
    pq.write_table(table.append_column("text", pa.array(["other"] * len(TEXTS))), path)


def in_one_page(path: Path, rows: int) -> None:
    """Write texts of 8 MB that differ and are packed well, all of them in one page."""
    texts = pa.array(f"{n} " + "x" * (8 << 20) for n in range(rows))
    pq.write_table(pa.table({"text": texts}), path, compression="zstd", use_dictionary=False)


PARQUET: dict[str, Write] = {
    "2 GB in disguise": lambda path: parquet(repeated(8 << 20, 256))(path),
    "1 GB in a page": lambda path: in_one_page(path, 136),
    "a text of 100 MB": lambda path: parquet(pa.array(["x" * (100 << 20)]))(path),
    "a text of 65 MB among others": lambda path: parquet(pa.array([*TEXTS, "x" * (65 << 20)]))(
        path
    ),
    "no UTF-8": parquet(invalid(pa.string())),
    "no UTF-8 in a large string": parquet(invalid(pa.large_string())),
    "bytes": parquet(pa.array([b"x"] * 20)),
    "numbers": parquet(pa.array(range(20))),
    "lists": parquet(pa.array([["x"]] * 20)),
    "objects": parquet(pa.array([{"x": 1}] * 20)),
    "nulls": parquet(pa.nulls(20)),
    "a column twice": two_columns,
    "no rows": parquet(pa.array([], pa.string())),
    **{
        f"file: {name}": (
            lambda path, damage=damage: (parquet(pa.array(TEXTS))(path), damage_file(path, damage))
        )
        for name, damage in WHOLE_FILES.items()
    },
    **{
        f"bits {n}": (
            lambda path, n=n: (
                parquet(pa.array(TEXTS), write_page_checksum=True)(path),
                damage_file(path, flipped(f"parquet {n}")),
            )
        )
        for n in range(10)
    },
}


@by_name(PARQUET)
def test_parquet_is_read_within_its_bounds_or_refused(tmp_path, case):
    path = tmp_path / "corpus.parquet"
    case(path)
    found = extract(path, "parquet", tmp_path)
    assert found is None or case is PARQUET["2 GB in disguise"] or len(found) <= len(TEXTS)


Member = tuple[tarfile.TarInfo, bytes]


def as_tar(mode: str, *members: Member) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode=mode, format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            info.size = len(content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(content))
    return held.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", content: bytes = b"x"
) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, content


def good() -> list[Member]:
    return [member(f"letters/{n}.txt", content=text.encode()) for n, text in enumerate(TEXTS)]


def named(name: str) -> bytes:
    """Return an archive of all texts, the first of which has this name."""
    return as_tar("w", *good()[1:], member(name, content=TEXTS[0].encode()))


def as_zip(*members: tuple[str, bytes], **options: Any) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content, **options)
    return held.getvalue()


ZIPPED = [(f"letters/{n}.txt", text.encode()) for n, text in enumerate(TEXTS)]
LINK = zipfile.ZipInfo("letters/link")
LINK.external_attr = 0o120777 << 16


def wrong_sum(content: bytes) -> bytes:
    """Return a zip whose first member has another checksum than it says."""
    place = content.index(b"PK\x01\x02") + 16
    return content[:place] + b"\0\0\0\0" + content[place + 4 :]


def encrypted(content: bytes) -> bytes:
    place = content.index(b"PK\x01\x02") + 8
    return content[:place] + b"\x01\x00" + content[place + 2 :]


ARCHIVES: dict[str, tuple[str, Content, bool]] = {
    # Name, content, and whether all twenty texts are to be found.
    "a link that leads out": (
        "a.tar", as_tar("w", *good(), member("letters/l", tarfile.SYMTYPE, "/etc/passwd")), True
    ),
    "a hard link": (
        "a.tar", as_tar("w", *good(), member("letters/l", tarfile.LNKTYPE, "letters/1.txt")), True
    ),
    "a device": ("a.tar.gz", as_tar("w:gz", *good(), member("letters/d", tarfile.CHRTYPE)), True),
    "a link in a zip": ("a.zip", as_zip(*ZIPPED, (LINK, b"/etc/passwd")), True),
    "an absolute name": ("a.tar", as_tar("w", *good(), member("/etc/x.txt")), False),
    "a name that leads out": ("a.zip", as_zip(*ZIPPED, ("../x.txt", b"x")), False),
    "a name that is no UTF-8": ("a.tar", named("caf\udce9.txt"), True),
    "a name with a line end": ("a.tar", named("a\nb.txt"), True),
    "a name of 5,000 characters": ("a.tar", named("x" * 5000), True),
    "a name twice": ("a.zip", as_zip(*ZIPPED[1:], ("x.txt", TEXTS[0].encode())), True),
    "a wrong checksum": ("a.zip", wrong_sum(as_zip(*ZIPPED)), False),
    "an encrypted member": ("a.zip", encrypted(as_zip(*ZIPPED)), False),
    "a member of 1 GB": ("a.zip", lambda: as_zip(*ZIPPED, ("z.txt", bytes(1 << 30))), False),
    "a member of 80 MB": ("a.zip", lambda: as_zip(*ZIPPED, ("z.txt", b"x " * (40 << 20))), False),
    "a tar cut": ("a.tar", as_tar("w", *good())[:5000], False),
    "a tar.gz cut": ("a.tar.gz", as_tar("w:gz", *good())[:-20], False),
    "a tar of no members": ("a.tar", as_tar("w"), False),
    "a zip of no members": ("a.zip", as_zip(), False),
    "a zip cut": ("a.zip", as_zip(*ZIPPED)[:-30], False),
    "a zip for a tar": ("a.tar", as_zip(*ZIPPED), False),
    "gzip for bzip2": ("a.txt.bz2", gzip.compress(PLAIN), False),
    "gzip cut": ("a.txt.gz", gzip.compress(PLAIN)[:-9], False),
    "gzip and more": ("a.txt.gz", gzip.compress(PLAIN) + b"more", False),
    "bzip2 cut": ("a.txt.bz2", bz2.compress(PLAIN)[:-9], False),
    "xz cut": ("a.txt.xz", lzma.compress(PLAIN)[:-9], False),
    "zstd cut": ("a.txt.zst", zstandard.compress(PLAIN)[:-9], False),
    "an empty gzip": ("a.txt.gz", b"", False),
    "1 GB of zeros": ("a.txt.xz", lambda: lzma.compress(bytes(1 << 28), preset=0) * 4, False),
    **{
        f"bits of a {name} {n}": (f"a.{name}", flipped(f"{name} {n}")(content), False)
        for n in range(4)
        for name, content in (
            ("tar", as_tar("w", *good())), ("tar.gz", as_tar("w:gz", *good())),
            ("zip", as_zip(*ZIPPED)), ("txt.gz", gzip.compress(PLAIN)),
            ("txt.zst", zstandard.ZstdCompressor(write_checksum=True).compress(PLAIN)),
        )
    },
}  # fmt: skip


@by_name(ARCHIVES)
def test_an_archive_is_read_whole_or_refused(tmp_path, case):
    name, content, is_whole = case
    path = tmp_path / name
    path.write_bytes(made(content))
    is_archive = name.endswith((".tar", ".tar.gz", ".zip"))
    found = extract(path, "text" if is_archive else "paragraphs", tmp_path)
    if is_whole:
        assert found == sorted(TEXTS)
    else:
        # tar has no checksum of its members.
        assert found is None or name == "a.tar"


@by_name(
    {
        "no UTF-8": os.fsdecode(b"caf\xe9.txt"),
        "a line end": "a\nb.txt",
        "a tab": "a\tb.txt",
        "a quotation mark": 'a"b.txt',
        "braces": "{a}.txt",
        "a star": "*.txt",
        "250 characters": "x" * 246 + ".txt",
        "a blank": " .txt",
        "another direction": "a\u202eb.txt",
    }
)
def test_a_name_of_a_file_is_no_fault_of_its_text(tmp_path, case):
    folder = tmp_path / "texts"
    folder.mkdir()
    for number, text in enumerate(TEXTS[1:]):
        (folder / f"{number}.txt").write_text(text)
    (folder / case).write_text(TEXTS[0])
    assert extract(folder, "text", tmp_path) == sorted(TEXTS)


@by_name({**WHOLE_FILES, **{f"bits {n}": flipped(f"documents {n}") for n in range(6)}})
def test_documents_that_are_damaged_are_named(tmp_path, case):
    path = tmp_path / "train.parquet"
    write_documents(path, TEXTS * 20)
    damage_file(path, case)
    flags = ["--documents", path, "--vocab-size=64", "--output", tmp_path / "tokenizer"]
    check(run(train_tokenizer, *flags, folder=tmp_path), "train.parquet")
