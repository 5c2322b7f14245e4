"""The hashes that a fetched file must have."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from cloze.cli import progress
from cloze.errors import ClozeError
from cloze.files import CHUNK_BYTES

log = logging.getLogger("cloze")


@dataclass(frozen=True)
class Checksums:
    """What is known about a file's bytes beforehand; `None` is unknown.

    `sha256` is 64 hexadecimal digits, `git_sha1` the 40 of the file as a git blob.
    """

    sha256: str | None = None
    git_sha1: str | None = None

    def verify(self, path: Path, name: str) -> None:
        """Raise `ClozeError`, which calls the file `name`, unless `path` has these hashes."""
        size = path.stat().st_size
        sha256 = hashlib.sha256()
        git_sha1 = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        with (
            open(path, "rb") as stream,
            progress(total=size, unit="B", unit_scale=True, description="checking") as bar,
        ):
            while chunk := stream.read(CHUNK_BYTES):
                sha256.update(chunk)
                if self.git_sha1 is not None:
                    git_sha1.update(chunk)
                bar.update(len(chunk))
        _compare(name, "sha256", self.sha256, sha256.hexdigest())
        _compare(name, "git blob hash", self.git_sha1, git_sha1.hexdigest())
        if self.sha256 is None:
            log.info("%s: sha256 %s", name, sha256.hexdigest())


def _compare(name: str, kind: str, expected: str | None, found: str) -> None:
    if expected not in (None, found):
        raise ClozeError(
            f"{name}: wrong {kind}: expected {expected}, found {found}. Nothing was kept. Fetch it "
            f"again; if the same is found twice, the source has changed: check it, then correct "
            f"the {kind} or pin a revision"
        )
