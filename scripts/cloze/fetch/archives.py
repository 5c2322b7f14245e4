"""Reads files inside compressed files and archives, without unpacking anything to disk."""

import bz2
import contextlib
import fnmatch
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Self, cast

import zstandard

from cloze.cli import log
from cloze.contents import HEAD_BYTES, TAR, not_format, refuse
from cloze.errors import ClozeError
from cloze.files import CHUNK_BYTES, is_hidden, require_file

# Four bytes of zstd can stand for 128 KiB of output, so little input bounds the memory.
_ZSTD_INPUT_BYTES = 1 << 8
# The most that `zstd --long=31` asks for; memory is taken as the text comes.
_ZSTD_WINDOW_BYTES = 1 << 31
_DAMAGE = (
    EOFError,
    OSError,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    zstandard.ZstdError,
)
_TAR_SUFFIXES = {".tgz": ".gz", ".tbz2": ".bz2", ".txz": ".xz", ".tzst": ".zst"}
# How files begin that are what their names say; a zstd file may begin with a frame to skip.
_MARKS: dict[str, tuple[bytes, ...]] = {
    ".zip": (b"PK",),
    ".gz": (b"\x1f\x8b",),
    ".bz2": (b"BZh",),
    ".xz": (b"\xfd7zXZ\x00",),
    ".zst": (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16))),
}


def open_members(path: Path, pattern: str = "*") -> Iterator[tuple[str, BinaryIO]]:
    """Yield `(name, binary stream)` of each file that `path` holds.

    - `.zip`: the regular files whose name matches `pattern`, sorted by name.
    - `.tar`, also compressed (`.tar.gz`, `.tgz`, `.tar.bz2`, `.tar.xz`, `.tar.zst`): the
      same, in the order in which they lie in the archive, which is read once from end to end.
    - `.gz`, `.bz2`, `.xz`, `.zst`: the decompressed content, named without that suffix.
    - Anything else: the file itself.

    Of archives, hidden members are left out as `files.matching_files` leaves hidden files out, and
    so are links and devices, since nothing is unpacked; those that match are counted in a warning.
    `pattern` is a glob on a member's whole name, in which `*` also matches `/`. A stream
    cannot be rewound and is closed when the next one is asked for; memory use does not
    depend on the sizes of the members. Raises `ClozeError` if the file is missing, damaged,
    truncated, encrypted or not what its suffix says, or if a member of an archive is named so
    that unpacking it could write outside its folder. Damage may show only while a stream
    is read; its methods then raise `ClozeError` too.
    """
    require_file(path)
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    last = suffixes[-1] if suffixes else ""
    with _damage_named(path):
        if last == ".zip":
            yield from _zip_members(path, pattern)
        elif last == ".tar" or last in _TAR_SUFFIXES or suffixes[:-1] == [".tar"]:
            yield from _tar_members(path, _TAR_SUFFIXES.get(last, last), pattern)
        elif last in _OPENERS:
            with _OPENERS[last](path) as stream, _guarded(stream, path) as guarded:
                yield path.stem, guarded
        else:
            with open(path, "rb") as stream:
                yield path.name, stream


def _zip_members(path: Path, pattern: str) -> Iterator[tuple[str, BinaryIO]]:
    with zipfile.ZipFile(path) as archive:
        members, links = [], 0
        for member in archive.infolist():
            if member.is_dir():
                continue
            _check_member(path, member.filename)
            name = str(PurePosixPath(member.filename))
            if not _is_chosen(name, pattern):
                continue
            if stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG):
                members.append((name, member))
            else:
                links += 1
        _say_left_out(path, links)
        for name, member in sorted(members, key=lambda item: item[1].filename):
            if member.flag_bits & 1:
                raise ClozeError(f"{path}: member {name!r} is encrypted; decrypt the archive first")
            with (
                _opened_member(path, archive, member) as stream,
                _guarded(stream, path) as guarded,
            ):
                yield name, guarded


def _opened_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    try:
        return archive.open(member)
    except NotImplementedError as error:
        raise ClozeError(
            f"{path}: member {member.filename!r} is packed in a way that is not known here "
            f"({error}); unpack the archive first"
        ) from error


def _tar_members(path: Path, compression: str, pattern: str) -> Iterator[tuple[str, BinaryIO]]:
    opener = _OPENERS.get(compression, _open_plain)
    links = 0
    with opener(path) as stream:
        head = stream.read(HEAD_BYTES)
        if (content := not_format(head)) is not TAR:
            refuse(f"{path}: what should be a tar archive", content)
        whole = cast(BinaryIO, _Rejoined(head, stream))
        with tarfile.open(
            fileobj=whole, mode="r|", bufsize=CHUNK_BYTES, tarinfo=_StrictTarInfo
        ) as archive:
            while (member := archive.next()) is not None:
                # tarfile remembers every member, which would grow with the archive.
                archive.members = []  # type: ignore[attr-defined]
                _check_member(path, member.name)
                name = str(PurePosixPath(member.name))
                if member.isdir() or not _is_chosen(name, pattern):
                    continue
                if not member.isreg():
                    links += 1
                    continue
                held = cast(BinaryIO, archive.extractfile(member))
                with _guarded(held, path) as guarded:
                    yield name, guarded
            # The checksum of the compressed layer comes after the last member.
            while stream.read(CHUNK_BYTES):
                pass
    _say_left_out(path, links)


def _is_chosen(name: str, pattern: str) -> bool:
    return not is_hidden(name) and fnmatch.fnmatchcase(name, pattern)


def _say_left_out(path: Path, links: int) -> None:
    if links:
        log.warning("%s: %d links or devices in it were left out", path, links)


class _Rejoined:
    """A stream of which the first bytes have been read already."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, fewer only at the end."""
        data, self._head = self._head[:size], self._head[size:]
        return data + self._rest.read(size - len(data))


class _StrictTarInfo(tarfile.TarInfo):
    """Takes a missing or damaged header for damage; tarfile takes it for the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            # A block of zeros is how an archive says that it ends.
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise
            raise EOFError(f"{error} where a member should start") from error


def _check_member(path: Path, name: str) -> None:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or parts[0].endswith(":"):
        raise ClozeError(
            f"{path}: member {name!r} would be written outside its folder; "
            "such an archive is unsafe: get it from a source you trust"
        )


def zstd_decompressor() -> zstandard.ZstdDecompressor:
    """Return what decompresses zstd with as long a window as there is."""
    return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)


class _ZstdReader(io.RawIOBase):
    """Decompresses zstd frames; unlike the library's own reader it notices a missing end."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        self._frame = zstd_decompressor().decompressobj()
        self._frame_is_open = True
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` as far as there is data and return the number of bytes."""
        while not self._pending:
            data = self._file.read(_ZSTD_INPUT_BYTES)
            if not data:
                if self._frame_is_open:
                    raise EOFError("the last frame is not complete")
                return 0
            self._pending = memoryview(self._decompress(data))
        count = min(len(buffer), len(self._pending))
        buffer[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count

    def _decompress(self, data: bytes) -> bytes:
        output = []
        while data:
            if not self._frame_is_open:
                self._frame = zstd_decompressor().decompressobj()
            output.append(self._frame.decompress(data))
            self._frame_is_open = not self._frame.eof
            data = self._frame.unused_data
        return b"".join(output)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class _GuardedReader(io.RawIOBase):
    """Passes reads on and turns damage that shows while reading into `ClozeError`."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream = stream
        self._path = path

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` as far as there is data and return the number of bytes."""
        with _damage_named(self._path):
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@contextlib.contextmanager
def _guarded(stream: object, path: Path) -> Iterator[BinaryIO]:
    raw = _GuardedReader(cast(BinaryIO, stream), path)
    with io.BufferedReader(raw, CHUNK_BYTES) as buffered:
        yield cast(BinaryIO, buffered)


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        # An error number comes from the file system, not from the content.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        with open(path, "rb") as stream:
            head = stream.read(HEAD_BYTES)
        suffix = path.suffix.lower()
        if isinstance(error, zstandard.ZstdError) and "ictionary" in str(error):
            raise ClozeError(
                f"{path}: was compressed with a dictionary; unpack it first: zstd -d -D DICTIONARY"
            ) from error
        if not head.startswith(_MARKS.get(_TAR_SUFFIXES.get(suffix, suffix), (b"",))):
            refuse(str(path), not_format(head))
        raise ClozeError(
            f"{path}: damaged or truncated ({error or type(error).__name__}); fetch the file again"
        ) from error


def _open_plain(path: Path) -> BinaryIO:
    return open(path, "rb")


def _open_gzip(path: Path) -> BinaryIO:
    # gzip reads an empty file as empty text, the other formats call it truncated.
    if path.stat().st_size == 0:
        raise EOFError("the file is empty")
    return cast(BinaryIO, gzip.open(path))


def _open_bz2(path: Path) -> BinaryIO:
    return cast(BinaryIO, bz2.open(path))


def _open_xz(path: Path) -> BinaryIO:
    return cast(BinaryIO, lzma.open(path))


def _open_zstd(path: Path) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_ZstdReader(path), CHUNK_BYTES))


_OPENERS: dict[str, Callable[[Path], BinaryIO]] = {
    ".gz": _open_gzip,
    ".bz2": _open_bz2,
    ".xz": _open_xz,
    ".zst": _open_zstd,
}
