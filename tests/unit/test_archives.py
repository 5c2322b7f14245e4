"""Members of every archive format come out whole, in order, and never from outside the archive."""

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.fetch.archives import open_members

FILES = {"b/two.txt": b"zwei\n" * 3000, "a/one.txt": "één\n".encode() * 3000, "c.csv": b"x,y\n"}
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
TAR_SUFFIXES = [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"]


def tar_bytes(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def sample_tar() -> bytes:
    folder = tarfile.TarInfo("b")
    folder.type = tarfile.DIRTYPE
    files = ((tarfile.TarInfo(name), content) for name, content in FILES.items())
    return tar_bytes((folder, b""), *files)


def write_tar(path: Path, content: bytes) -> Path:
    compression = {".tgz": ".gz"}.get(path.suffix, path.suffix)
    path.write_bytes(COMPRESSORS.get(compression, bytes)(content))
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def read_all(path: Path, pattern: str = "*") -> list[tuple[str, bytes]]:
    return [(name, stream.read()) for name, stream in open_members(path, pattern)]


def test_plain_file_yields_itself(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"text")
    assert read_all(tmp_path / "notes.txt") == [("notes.txt", b"text")]


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed_file_yields_its_content(tmp_path: Path, suffix: str) -> None:
    content = "Grüße\n".encode() * 50_000
    path = tmp_path / f"notes.txt{suffix}"
    # Two streams one after the other, as `cat a.gz b.gz` and parallel compressors leave them.
    path.write_bytes(COMPRESSORS[suffix](content) + COMPRESSORS[suffix](b"end"))
    assert read_all(path) == [("notes.txt", content + b"end")]


def test_lines_can_be_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "notes.txt.zst").write_bytes(COMPRESSORS[".zst"]("é\nü\n".encode()))
    for _, stream in open_members(tmp_path / "notes.txt.zst"):
        assert list(io.TextIOWrapper(stream, encoding="utf-8")) == ["é\n", "ü\n"]


def test_zip_members_come_sorted(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", FILES)
    assert read_all(path) == sorted(FILES.items())


@pytest.mark.parametrize("suffix", TAR_SUFFIXES)
def test_tar_members_come_in_the_order_of_the_file(tmp_path: Path, suffix: str) -> None:
    path = write_tar(tmp_path / f"a{suffix}", sample_tar())
    assert read_all(path) == list(FILES.items())


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_pattern_selects_members(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".zip":
        write_zip(path, FILES)
    else:
        write_tar(path, sample_tar())
    assert {name for name, _ in read_all(path, "*.txt")} == {"a/one.txt", "b/two.txt"}
    assert [name for name, _ in read_all(path, "b/*")] == ["b/two.txt"]


def test_leading_dot_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", tar_bytes((tarfile.TarInfo("./x.txt"), b"1")))
    assert read_all(path) == [("x.txt", b"1")]


def test_nothing_is_written(tmp_path: Path) -> None:
    read_all(write_zip(tmp_path / "a.zip", FILES))
    read_all(write_tar(tmp_path / "a.tar.xz", sample_tar()))
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "a.tar.xz"}


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/etc/evil", "C:\\evil"])
def test_member_that_leaves_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    tar = write_tar(tmp_path / "a.tar", tar_bytes((tarfile.TarInfo(name), b"1")))
    with pytest.raises(ClozeError, match=r"a\.tar: member .*evil.* outside its folder"):
        read_all(tar)
    with pytest.raises(ClozeError, match=r"a\.zip: member .*evil.* outside its folder"):
        read_all(write_zip(tmp_path / "a.zip", {name: b"1"}))


def test_unsafe_member_is_refused_even_if_the_pattern_leaves_it_out(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"good.txt": b"1", "../evil.bin": b"2"})
    with pytest.raises(ClozeError, match="outside its folder"):
        read_all(path, "*.txt")


@pytest.fixture
def warnings(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(log, "propagate", True)
    return caplog


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_tar_link_or_device_is_left_out_and_counted(
    tmp_path: Path, kind: bytes, warnings: pytest.LogCaptureFixture
) -> None:
    info = tarfile.TarInfo("shortcut")
    info.type, info.linkname = kind, "/etc/passwd"
    path = write_tar(tmp_path / "a.tar", tar_bytes((info, b""), (tarfile.TarInfo("x.txt"), b"1")))
    assert read_all(path) == [("x.txt", b"1")]
    assert "a.tar: 1 links or devices in it were left out" in warnings.text
    warnings.clear()
    assert read_all(path, "*.txt") == [("x.txt", b"1")]
    assert not warnings.text


def test_zip_link_is_left_out_and_counted(
    tmp_path: Path, warnings: pytest.LogCaptureFixture
) -> None:
    info = zipfile.ZipInfo("shortcut")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
        archive.writestr("x.txt", "1")
    assert read_all(tmp_path / "a.zip") == [("x.txt", b"1")]
    assert "a.zip: 1 links or devices in it were left out" in warnings.text


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_hidden_members_are_left_out(tmp_path: Path, suffix: str) -> None:
    hidden = ("__MACOSX/a/._one.txt", "./a/._one.txt", ".git/x.txt", "a/.DS_Store", "a/Thumbs.db")
    files = {"a/one.txt": b"1", **dict.fromkeys(hidden, b"\x00\x05\x16\x07\xb0")}
    path = tmp_path / f"a{suffix}"
    if suffix == ".zip":
        write_zip(path, files)
    else:
        members = ((tarfile.TarInfo(name), content) for name, content in files.items())
        write_tar(path, tar_bytes(*members))
    assert read_all(path) == [("a/one.txt", b"1")]
    assert read_all(path, "*.txt") == [("a/one.txt", b"1")]


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"x.txt": b"1"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ClozeError, match=r"a\.zip: member 'x\.txt' is encrypted"):
        read_all(path)


@pytest.mark.parametrize("suffix", [*COMPRESSORS, *TAR_SUFFIXES, ".zip"])
@pytest.mark.parametrize("keep", [0, 0.5, 0.98])
def test_truncation_is_noticed(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".zip":
        write_zip(path, FILES)
    elif suffix in COMPRESSORS:
        path.write_bytes(COMPRESSORS[suffix](bytes(range(256)) * 4000))
    else:
        # Without the padding, so that what is cut off is content.
        write_tar(path, sample_tar().rstrip(b"\0") + bytes(1024))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(
        ClozeError, match=rf"a{suffix}: damaged or truncated .*fetch the file again"
    ):
        read_all(path)


def test_tar_cut_between_two_members_is_noticed(tmp_path: Path) -> None:
    first = tar_bytes((tarfile.TarInfo("a.txt"), b"x" * 512))[:1024]
    (tmp_path / "a.tar").write_bytes(first)
    with pytest.raises(ClozeError, match=r"a\.tar: damaged or truncated"):
        read_all(tmp_path / "a.tar")


@pytest.mark.parametrize("suffix", [*COMPRESSORS, ".tar.gz", ".tar.zst", ".tar", ".zip"])
@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"<html>no such page</html>" * 100, "is a web page"),
        (b"text,label\n" * 100, "is text"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(range(100)), "is a 7z archive; unpack it first"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS"),
    ],
)
def test_other_content_than_the_suffix_says_is_named(
    tmp_path: Path, suffix: str, content: bytes, name: str
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(ClozeError, match=rf"a{suffix}: .*{name}") as caught:
        read_all(path)
    assert "damaged" not in str(caught.value)


def test_a_compressed_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(b"text,label\n" * 100))
    with pytest.raises(ClozeError, match=r"a\.tar\.gz: what should be a tar archive: is text"):
        read_all(path)


@pytest.mark.parametrize("window_log", [27, 28, 31])
def test_zstd_of_any_window_is_read(tmp_path: Path, window_log: int) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log)
    packed = io.BytesIO()
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    with compressor.stream_writer(packed, closefd=False) as writer:
        writer.write(b"line\n" * 500)
    (tmp_path / "a.txt.zst").write_bytes(packed.getvalue())
    assert read_all(tmp_path / "a.txt.zst") == [("a.txt", b"line\n" * 500)]


@pytest.mark.parametrize("size", [0, 4, 1000])
def test_zstd_frames_to_skip_are_skipped(tmp_path: Path, size: int) -> None:
    skip = b"\x53\x2a\x4d\x18" + size.to_bytes(4, "little") + bytes(size)
    frame = COMPRESSORS[".zst"](b"text")
    (tmp_path / "a.txt.zst").write_bytes(skip + frame + skip + frame + skip)
    assert read_all(tmp_path / "a.txt.zst") == [("a.txt", b"texttext")]


def test_zstd_with_a_dictionary_is_no_damage(tmp_path: Path) -> None:
    texts = [f"line {number} of a text that repeats itself\n".encode() for number in range(2000)]
    compressor = zstandard.ZstdCompressor(dict_data=zstandard.train_dictionary(4096, texts))
    (tmp_path / "a.txt.zst").write_bytes(compressor.compress(b"".join(texts)))
    with pytest.raises(ClozeError, match=r"a\.txt\.zst: was compressed with a dictionary; unpack"):
        read_all(tmp_path / "a.txt.zst")


def test_a_way_of_packing_that_is_not_known_is_no_damage(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"x.txt": b"1" * 100})
    content = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = content.index(mark) + place
        content[at : at + 2] = (9).to_bytes(2, "little")  # Deflate64, as Windows writes it
    path.write_bytes(content)
    with pytest.raises(ClozeError, match=r"member 'x\.txt' is packed in a way .* unpack") as caught:
        read_all(path)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_flipped_bit_is_noticed(tmp_path: Path, suffix: str) -> None:
    path = write_tar(tmp_path / f"a.tar{suffix}", sample_tar())
    content = bytearray(path.read_bytes())
    # In the check sum at the end, which no reader of members gets to by itself.
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(ClozeError, match="damaged or truncated"):
        read_all(path)


def test_empty_tar_has_no_members(tmp_path: Path) -> None:
    assert read_all(write_tar(tmp_path / "a.tar.gz", tar_bytes())) == []


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClozeError, match=r"none\.zip: no such file"):
        read_all(tmp_path / "none.zip")


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".tar.zst", ".zip"])
def test_memory_does_not_grow_with_a_member(tmp_path: Path, suffix: str) -> None:
    content = bytes(64 << 20)
    path = tmp_path / f"a{suffix}"
    if suffix == ".zip":
        write_zip(path, {"zeros": content})
    elif suffix in COMPRESSORS:
        path.write_bytes(COMPRESSORS[suffix](content))
    else:
        write_tar(path, tar_bytes((tarfile.TarInfo("zeros"), content)))
    del content
    tracemalloc.start()
    try:
        size = 0
        for _, stream in open_members(path):
            while chunk := stream.read(1 << 16):
                size += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 64 << 20
    assert peak < 40 << 20
