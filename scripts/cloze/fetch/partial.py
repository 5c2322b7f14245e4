"""A download in progress: the bytes so far and what is needed to go on with them."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cloze.errors import ClozeError
from cloze.files import describe_os_error, read_json, write_json


class PartialFile:
    """The file `.NAME.partial` beside an output, locked while the context lasts.

    `.NAME.partial.json` beside it holds the address, the ETag and the full size of what
    is being fetched. Both stay when the context ends early, even by SIGKILL, and the next
    one takes them up. Raises `ClozeError` if another process holds the lock.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.path = output.with_name(f".{output.name}.partial")
        self.size = 0
        self._state_path = output.with_name(f".{output.name}.partial.json")
        self._state: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab", buffering=0)
        try:
            self._lock()
            self.size = self._file.tell()
            if self._state_path.exists():
                self._state = self._read_state()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.path.exists() and self.size == 0:
            self.remove()
        self._file.close()

    def is_complete(self, url: str) -> bool:
        """Whether all bytes of `url` are here, so that only the check is left."""
        return self._state.get("url") == url and self._state.get("size") == self.size

    def resume_headers(self, url: str) -> dict[str, str]:
        """Return the headers that ask for the rest of `url`; none if it must start over.

        Only a strong ETag proves that the server still has the same bytes.
        """
        etag = self._state.get("etag")
        if self.size == 0 or self._state.get("url") != url or etag is None:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": etag}

    def continues_with(self, etag: str | None, start: int, size: int | None) -> bool:
        """Whether an answer's ETag, first byte and full size fit what is here."""
        return (
            start == self.size
            and size == self._state.get("size")
            and etag in (None, self._state.get("etag"))
        )

    def restart(self, url: str, etag: str | None, size: int | None) -> None:
        """Drop what is here and note what comes next; `size` is None if unknown."""
        self.clear()
        strong = etag if etag is not None and etag.startswith('"') else None
        self._state = {"url": url, "etag": strong, "size": size}
        write_json(self._state_path, self._state)

    def clear(self) -> None:
        """Drop what is here."""
        self._state_path.unlink(missing_ok=True)
        self._file.truncate(0)
        self.size, self._state = 0, {}

    def append(self, chunk: bytes) -> None:
        """Add bytes; raises `ClozeError` if the disk refuses them."""
        rest = memoryview(chunk)
        while rest:
            try:
                written = self._file.write(rest)
            except OSError as error:
                error.filename = str(self.path)
                raise ClozeError(f"cannot write {describe_os_error(error)}") from error
            self.size += written
            rest = rest[written:]

    def publish(self) -> None:
        """Turn the finished file into the output."""
        os.fsync(self._file.fileno())
        self.path.replace(self.output)
        self._state_path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete what is here from the disk."""
        self._state_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def _lock(self) -> None:
        busy = f"{self.output}: another process is fetching this file; wait for it or stop it"
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ClozeError(busy) from error
        # Between opening and locking, the former owner may have published the file.
        if not self.path.exists() or not os.path.samestat(
            os.fstat(self._file.fileno()), self.path.stat()
        ):
            raise ClozeError(busy)

    def _read_state(self) -> dict[str, Any]:
        try:
            state = read_json(self._state_path)
        except ClozeError:
            # It is only a help to resume: without it the download starts over.
            return {}
        return state if isinstance(state, dict) else {}
