"""What an extraction will take of disk and time, said after its first megabytes."""

import bz2
import lzma
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from cloze.cli import log
from cloze.corpus.arrays import text_bytes
from cloze.errors import ClozeError
from cloze.fetch.archives import zstd_decompressor
from cloze.files import Share, is_hidden, matching_files

# How the text is stored; the first one in parts, the second one in documents.
PART_CODEC = pa.Codec("lz4")
DOCUMENTS_CODEC = pa.Codec("zstd", 3)
# Prose in any language is near this share of its size in a part.
PART_SHARE = 0.6
_SAMPLE_BYTES = 8 << 20
_PROBE_BYTES = 1 << 20
_PROBE_TEXT_BYTES = 4 << 20
_PIECE_BYTES = 1 << 8
# An estimate is sure enough to stop the work only if it is far off the free space.
_SURE = 0.7
_DECOMPRESSORS: dict[str, Callable[[], Callable[[bytes], bytes]]] = {
    ".xz": lambda: lzma.LZMADecompressor().decompress,
    ".txz": lambda: lzma.LZMADecompressor().decompress,
    ".bz2": lambda: bz2.BZ2Decompressor().decompress,
    ".tbz2": lambda: bz2.BZ2Decompressor().decompress,
    ".gz": lambda: zlib.decompressobj(31).decompress,
    ".tgz": lambda: zlib.decompressobj(31).decompress,
    ".zst": lambda: zstd_decompressor().decompressobj().decompress,
    ".tzst": lambda: zstd_decompressor().decompressobj().decompress,
}
_DAMAGE = (
    OSError,
    EOFError,
    lzma.LZMAError,
    zlib.error,
    zstandard.ZstdError,
    zipfile.BadZipFile,
    pa.ArrowException,
)


class DiskEstimate:
    """Extrapolates, once, from the first 8 MiB of text to all of it.

    Less text is read before a forecast could be.
    """

    def __init__(self, output: Path, codec: pa.Codec, total: float) -> None:
        """DiskEstimate for `output`, where `codec` compresses some `total` bytes of text."""
        self._output = output
        self._codec = codec
        self._total = total
        self._started = time.perf_counter()
        self._done = 0

    def watch(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass batches on and log the forecast when enough of them have been dealt with.

        Raises `ClozeError` if the disk is much too small.
        """
        for batch in batches:
            yield batch
            if self._done < _SAMPLE_BYTES:
                self._done += text_bytes(batch.column("text"))[0].size
                if self._done >= _SAMPLE_BYTES:
                    self._say(batch)

    def _say(self, batch: pa.RecordBatch) -> None:
        total = max(self._total, self._done)
        seconds = (time.perf_counter() - self._started) * total / self._done
        needed = total * compressed_share(batch, self._codec)
        free = shutil.disk_usage(_existing(self._output)).free
        log.info(
            "%s: some %.2f GB of text; about %.2f GB on disk (%.2f GB are free) and %.0f s",
            self._output, total / 1e9, needed / 1e9, free / 1e9, seconds,
        )  # fmt: skip
        if _SURE * needed > free:
            raise ClozeError(
                f"{self._output}: will need some {needed / 1e9:.2f} GB, the disk has "
                f"{free / 1e9:.2f} GB left; free some space or choose another disk"
            )
        if needed > free:
            log.warning("warning: %s: the disk may well be too small for it", self._output)


def compressed_share(batch: pa.RecordBatch, codec: pa.Codec) -> float:
    """Return the size of a batch's text after compression divided by that before."""
    data = text_bytes(batch.column("text"))[0]
    return codec.compress(data).size / max(data.size, 1)


def estimated_text_bytes(
    paths: Sequence[Path], members: str, text_column: str, share: Share | None = None
) -> float:
    """Estimate how many bytes of text files, folders and archives hold, from their beginnings.

    A compressed file expands as the first one of its kind does in its first MiB; archives
    in zip and parquet files say what they hold. What is damaged or missing counts as it
    lies; reading it will say so.
    """
    factors: dict[str, float] = {}
    return sum(
        _estimated(file, members, text_column, factors)
        for path in paths
        for file in _files(path, members, share)
    )


def _files(path: Path, members: str, share: Share | None) -> list[Path]:
    if not path.is_dir():
        return [path]
    names = matching_files(path, members)
    return [path / name for name in (share.of(names) if share else names)]


def _estimated(path: Path, members: str, text_column: str, factors: dict[str, float]) -> float:
    suffix = path.suffix.lower()
    try:
        if suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                return sum(
                    item.file_size
                    for item in archive.infolist()
                    if fnmatchcase(item.filename, members) and not is_hidden(item.filename)
                )
        if suffix == ".parquet":
            return _parquet_text_bytes(path, text_column)
        if suffix not in factors:
            factors[suffix] = _expansion(path, suffix)
        return path.stat().st_size * factors[suffix]
    except _DAMAGE:
        return path.stat().st_size if path.exists() else 0


def _parquet_text_bytes(path: Path, text_column: str) -> float:
    metadata = pq.read_metadata(path)
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    columns = (group.column(index) for group in groups for index in range(group.num_columns))
    return sum(
        column.total_uncompressed_size for column in columns if column.path_in_schema == text_column
    )


def _expansion(path: Path, suffix: str) -> float:
    if suffix not in _DECOMPRESSORS:
        return 1.0
    decompress = _DECOMPRESSORS[suffix]()
    taken, given = 0, 0
    with open(path, "rb") as stream:
        # A little at a time: the file may be a bomb, of which that little is a lot.
        while given < _PROBE_TEXT_BYTES and taken < _PROBE_BYTES:
            data = stream.read(_PIECE_BYTES)
            if not data:
                break
            taken += len(data)
            given += len(decompress(data))
    return given / max(taken, 1)


def _existing(path: Path) -> Path:
    """Return the nearest folder above `path` that is there."""
    return next(parent for parent in path.absolute().parents if parent.exists())
