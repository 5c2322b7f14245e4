"""Files that are either whole or not there: atomic writes, JSON, hashes; and what folders hold."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from cloze.contents import HEAD_BYTES, not_text, pointer, refuse
from cloze.errors import ClozeError

CHUNK_BYTES = 1 << 20
_DIGEST = "digest"
# Of corpora and of tasks; each is a file of its own in their folders.
SPLITS = ("train", "validation", "test")
# Of macOS in archives, of Windows, and of network drives.
_SYSTEM_NAMES = {"__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir"}
_HUB_NAME = re.compile(r"(hf:/*)?(?P<name>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[\w.-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REFUSALS = {
    errno.ENOSPC: "the disk is full: free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space and run the same command again",
    errno.EFBIG: "the file is larger than the file system or `ulimit -f` allows: raise the limit",
    errno.EROFS: "the file system is read-only: choose another output folder",
    errno.EACCES: "permission denied: choose another output folder or change its rights",
    errno.EPERM: "permission denied: choose another output folder or change its rights",
}


def describe_os_error(error: OSError) -> str:
    """Return one sentence that names the file and, where the cause is known, the fix."""
    subject = f"{error.filename}: " if error.filename else ""
    reason = _REFUSALS.get(error.errno or 0, error.strerror or str(error))
    return f"{subject}{reason}"


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that replaces it when the block ends well.

    If the block raises, the temporary file is removed and `path` is left as it was.
    Parent folders are made, and what killed processes left of earlier attempts is removed.
    Raises `ClozeError` if the file system refuses the write.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        error.filename = str(path)
        raise ClozeError(f"cannot write {describe_os_error(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove temporary siblings of `path` whose process is no more."""
    for sibling in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        process = sibling.name.removesuffix(".tmp").rpartition(".")[2]
        if process.isdigit() and sibling.is_file() and not _is_running(int(process)):
            sibling.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # where signal 0 would be Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling folder that becomes `path` when the block ends well.

    `path` must not exist yet. Raises `ClozeError` if the file system refuses the write.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        error.filename = str(path)
        raise ClozeError(f"cannot write {describe_os_error(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, atomically.

    A byte of a file's name that is no UTF-8 is written as `\\udcXX`, which JSON reads back.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; keys keep their order."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


class MissingKeyError(ClozeError, KeyError):
    """A key that an object of a file lacks; templates and callers may expect it as a `KeyError`."""

    __str__ = Exception.__str__


class Record(dict[str, Any]):
    """An object of a JSON file, which names the file where it lacks a key that is looked up."""

    path: Path | None = None

    def __missing__(self, key: str) -> Any:
        if self.path is None:  # a copy
            raise KeyError(key)
        raise MissingKeyError(f"{self.path}: has no {key!r}; make it again")


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object with a digest of its values, atomically; keys keep their order."""
    write_json(path, {**values, _DIGEST: fingerprint(json.loads(json.dumps(values)))})


def read_object(path: Path, *, is_sealed: bool = False) -> Record:
    """Read a JSON object without its digest, if it has one.

    Raises `ClozeError` if the file is missing, holds something else, or by its digest is not what
    was written; `is_sealed`: or has no digest.
    """
    values = read_json(path)
    if not isinstance(values, Record):
        raise ClozeError(f"{path}: holds no object of keys and values; make it again")
    digest = values.pop(_DIGEST, None)
    if (digest is not None or is_sealed) and digest != fingerprint(values):
        raise ClozeError(
            f"{path}: is damaged or was changed, since its digest is not that of its values; make "
            "it again"
        )
    return values


def fingerprint(values: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that stand for plain JSON values."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_json(path: Path) -> Any:
    """Read a JSON file, objects as `Record`; raises `ClozeError` if it is missing or not JSON."""
    try:
        text = require_file(path).read_text(encoding="utf-8")
        return json.loads(text, object_hook=partial(_record, path))
    except (ValueError, RecursionError) as error:
        refuse(str(path), not_text(_head(path)))
        raise ClozeError(f"{path}: not valid JSON ({error}); make it again") from error


def _record(path: Path, values: dict[str, Any]) -> Record:
    found = Record(values)
    found.path = path
    return found


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return a file's records, JSON objects with a number `step` a line; none without the file.

    What is no such line is passed over: a kill in the middle of a write leaves half of one.
    """
    records = []
    text = path.read_text("utf-8", errors="replace") if path.is_file() else ""
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and isinstance(record.get("step"), int):
                records.append(record)
    return records


def read_json_lines(path: Path) -> list[Any]:
    """Read a file with a JSON value a line; raises `ClozeError` if it is missing or not that."""
    try:
        return [json.loads(line) for line in require_file(path).read_text("utf-8").splitlines()]
    except ValueError as error:
        refuse(str(path), not_text(_head(path)))
        raise ClozeError(f"{path}: not a JSON value a line ({error}); make it again") from error


def require_file(path: Path) -> Path:
    """Return `path` if it is a file; raises `ClozeError` otherwise, and for a mere pointer."""
    if path.is_dir():
        raise ClozeError(f"{path}: is a folder where a file belongs; name a file in it")
    if not path.is_file():
        raise ClozeError(f"{path}: no such file; check the path")
    refuse(str(path), pointer(_head(path)))
    return path


def _head(path: Path) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(HEAD_BYTES)


def hub_model(text: str) -> str | None:
    """Return the source that a model's name on the hub stands for, if `text` may be such a name.

    What nobody has said of it is in capitals. A name looks like a path, so ask only where not
    even the first part of such a path is there.
    """
    named = _HUB_NAME.fullmatch(text)
    if named is None or named["name"].startswith("."):
        return None
    commit = named["revision"] if _COMMIT.fullmatch(named["revision"] or "") else "COMMIT"
    owner = "" if "/" in named["name"] else "OWNER/"
    return f"hf://{owner}{named['name']}@{commit}"


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_path(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and hashes of a folder's files.

    Those of the folder are all that `matching_files` finds.
    """
    if not path.is_dir():
        return sha256_file(path)
    hasher = hashlib.sha256()
    for name in matching_files(path, "*"):
        hasher.update(f"{sha256_file(path / name)}  ".encode() + os.fsencode(name) + b"\n")
    return hasher.hexdigest()


def resource(name: str) -> Path:
    """Return the path of a data file that lies beside the library's modules.

    `cloze.settings.code_key` follows calls of this function with a literal name, and the
    templates that such a file includes, so a script that reads it runs again when it changes.
    """
    return Path(__file__).parent / name


@dataclass(frozen=True)
class Share:
    """One of `count` stretches of a list, as even as can be; `index` counts from 0."""

    index: int
    count: int

    def of(self, items: list[str]) -> list[str]:
        """Return the stretch of `items`; the shares of a list, one after the other, are it."""
        first, last = (len(items) * at // self.count for at in (self.index, self.index + 1))
        return items[first:last]


def is_hidden(name: str) -> bool:
    """Tell whether a path, or a name in an archive, is none that a person put there to be read.

    One of its parts begins with a dot, or is what a system adds by itself.
    """
    parts = name.replace("\\", "/").split("/")
    return any(
        part in _SYSTEM_NAMES or (part.startswith(".") and part.strip(".")) for part in parts
    )


def readable_name(name: str) -> str:
    """Return the name of a file as text: what of it is no UTF-8 becomes a replacement character.

    The file system and archives give such bytes as surrogates, which nothing can write.
    """
    return os.fsencode(name).decode("utf-8", errors="replace")


def matching_files(folder: Path, pattern: str) -> list[str]:
    """Return the paths below `folder` of its files that match, sorted, hidden ones left out.

    `pattern` is a glob on the whole path, in which `*` also matches `/`. Linked folders are read
    too, once each, under their own place where they have one below `folder`; a link that leads
    back to where it is makes no circle. Raises `ClozeError` for a folder that cannot be read and
    for a link to nothing that matches.
    """
    names, folders, linked = list[str](), [""], list[str]()
    # What lies above the folder holds it, so a link there leads back.
    seen = {_identity(place) for place in folder.resolve().parents}
    try:
        # Linked folders after all that lie here themselves.
        while folders or linked:
            place = folders.pop() if folders else linked.pop(0)
            if (identity := _identity(folder / place)) in seen:
                continue
            seen.add(identity)
            with os.scandir(folder / place) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            for entry in entries:
                name = f"{place}/{entry.name}" if place else entry.name
                if is_hidden(entry.name):
                    continue
                if entry.is_dir():
                    (linked if entry.is_symlink() else folders).append(name)
                elif fnmatchcase(name, pattern):
                    names += _file(folder, name, entry)
    except OSError as error:
        raise ClozeError(f"cannot read {describe_os_error(error)}") from error
    return sorted(names)


def _file(folder: Path, name: str, entry: os.DirEntry[str]) -> list[str]:
    if not entry.is_file() and entry.is_symlink():
        raise ClozeError(
            f"{folder / name}: is a link to a file that is not there; mend the link, or remove it"
        )
    return [name] if entry.is_file() else []


def _identity(place: Path) -> tuple[int, int]:
    status = place.stat()
    return status.st_dev, status.st_ino
