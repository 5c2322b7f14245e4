"""What is foretold from the first megabytes comes near what comes about, or stops the work."""

import bz2
import gzip
import logging
import lzma
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from cloze.corpus import disk_estimate
from cloze.corpus.cleaning import Cleaning
from cloze.corpus.disk_estimate import DOCUMENTS_CODEC, DiskEstimate, estimated_text_bytes
from cloze.corpus.documents import Document
from cloze.corpus.parts import cleaned_batches
from cloze.errors import ClozeError
from cloze.files import Share

TEXT = "\n".join(f"Line {n} of {n * n} says {n**3}." for n in range(20_000)).encode()
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".txt": bytes,
}


class Usage(NamedTuple):
    free: int


def estimate(*paths: Path, members: str = "*", share: Share | None = None) -> float:
    return estimated_text_bytes(paths, members, "text", share)


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_files_expand_as_their_beginning_does(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"]
    for path in paths:
        path.write_bytes(COMPRESSORS[suffix](TEXT))
    assert estimate(*paths) == pytest.approx(2 * len(TEXT), rel=0.01)
    if suffix == ".bz2":  # gives nothing away before a block of 900 kB of text is whole
        return
    monkeypatch.setattr(disk_estimate, "_PROBE_BYTES", 50_000)
    assert estimate(*paths) == pytest.approx(2 * len(TEXT), rel=0.35)


def test_archives_parquet_and_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", TEXT)
        archive.writestr("b.md", TEXT)
    assert estimate(tmp_path / "a.zip", members="*.txt") == len(TEXT)
    lines = TEXT.decode().split("\n")
    pq.write_table(pa.table({"text": lines, "other": lines[::-1]}), tmp_path / "a.parquet")
    assert estimate(tmp_path / "a.parquet") == pytest.approx(len(TEXT), rel=0.3)
    (tmp_path / "a.txt").write_bytes(TEXT)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive_tar:
        archive_tar.add(tmp_path / "a.txt", "a.txt")
    assert estimate(tmp_path / "a.tar.gz") == pytest.approx(len(TEXT), rel=0.1)
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.txt").write_bytes(TEXT)
    assert estimate(folder, members="*.txt") == 4 * len(TEXT)
    assert estimate(folder, share=Share(0, 2)) == 2 * len(TEXT)


def test_what_is_damaged_or_missing_is_left_to_the_reader(tmp_path: Path) -> None:
    for name in ("a.xz", "b.zip", "c.parquet", "d.gz", "e.zst", "f.bz2"):
        (tmp_path / name).write_bytes(b"no such format")
        assert estimate(tmp_path / name) == 14
    assert estimate(tmp_path / "missing.txt") == 0
    assert estimate() == 0


def watch(output: Path, total: float, count: int = 12) -> list[pa.RecordBatch]:
    documents = [Document("", "", TEXT.decode())] * count
    batches = cleaned_batches(documents, Cleaning())
    return list(DiskEstimate(output, DOCUMENTS_CODEC, total).watch(batches))


@pytest.fixture
def logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("cloze"), "propagate", True)
    caplog.set_level(logging.INFO, "cloze")
    return caplog


def test_it_is_said_once_and_names_what_it_is_about(
    tmp_path: Path, logged: pytest.LogCaptureFixture
) -> None:
    assert sum(batch.num_rows for batch in watch(tmp_path / "new" / "documents", 5e9)) == 12
    (message,) = logged.messages
    share = disk_estimate.compressed_share(watch(tmp_path / "x", 0, 2)[0], DOCUMENTS_CODEC)
    assert "documents: some 5.00 GB of text; about" in message
    assert f"about {5 * share:.2f} GB on disk" in message


def test_little_text_needs_no_forecast(tmp_path: Path, logged: pytest.LogCaptureFixture) -> None:
    watch(tmp_path / "documents", 1e6, 3)
    assert logged.messages == []


def test_a_disk_that_is_too_small_stops_the_work(
    tmp_path: Path, logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = disk_estimate.compressed_share(watch(tmp_path / "x", 0, 2)[0], DOCUMENTS_CODEC)
    needed = int(5e9 * share)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(needed // 2))
    with pytest.raises(ClozeError, match=r"documents: will need some .* GB left; free some space"):
        watch(tmp_path / "documents", 5e9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(int(needed * 0.9)))
    watch(tmp_path / "documents", 5e9)
    assert "may well be too small" in logged.messages[-1]
