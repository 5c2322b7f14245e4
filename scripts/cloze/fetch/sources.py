"""Where an input file comes from: the text of a source, taken apart, and its place in a mirror.

The workflow parses sources whenever it is planned, so this module imports nothing heavy
and touches neither the network nor the disk.
"""

import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, unquote, urlsplit

from cloze.errors import ClozeError

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_FORM = "hf://datasets/OWNER/NAME@REVISION/PATH"
_HUB = re.compile(
    r"hf://(?P<folder>datasets/|(?!datasets/|models/|spaces/))(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)"
    r"(?:@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?(?:/(?P<path>.*))?"
)


@dataclass(frozen=True)
class LocalSource:
    """A file of this machine; it is copied, never mirrored."""

    path: Path
    is_local: ClassVar[bool] = True

    @property
    def file_name(self) -> str:
        """The last part of the path."""
        return self.path.name

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class WebSource:
    """A file behind an `https:` or `http:` address."""

    url: str
    is_local: ClassVar[bool] = False

    @property
    def file_name(self) -> str:
        """The last part of the address's path, percent signs decoded, without the query."""
        return unquote(urlsplit(self.url).path).rpartition("/")[2]

    @property
    def mirror_path(self) -> str:
        """`host/path` below a mirror; a query stays part of the name, as `wget -x` keeps it."""
        parts = urlsplit(self.url)
        query = f"?{parts.query}" if parts.query else ""
        return f"{parts.netloc}{unquote(parts.path)}{query}"

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class HubSource:
    """A file (or, with an empty `path`, the root) of a repository on the Hugging Face hub.

    `folder` is `datasets/` for a dataset and empty for a model, as in the hub's addresses.
    """

    owner: str
    name: str
    revision: str
    path: str
    folder: str = "datasets/"
    is_local: ClassVar[bool] = False

    @property
    def file_name(self) -> str:
        """The last part of the path in the repository."""
        return self.path.rpartition("/")[2]

    @property
    def repository(self) -> str:
        """`datasets/OWNER/NAME`, of a model `OWNER/NAME`."""
        return f"{self.folder}{self.owner}/{self.name}"

    @property
    def kind(self) -> str:
        """What messages call the repository."""
        return "dataset" if self.folder else "model"

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a full commit hash, which nobody can move."""
        return _COMMIT.fullmatch(self.revision) is not None

    @property
    def mirror_path(self) -> str:
        """`datasets/OWNER/NAME/REVISION/PATH` below a mirror; of a model without `datasets/`."""
        return f"{self.repository}/{self.revision}/{self.path}"

    def at(self, revision: str) -> "HubSource":
        """Return the same file at another revision."""
        return replace(self, revision=revision)

    def __str__(self) -> str:
        return f"hf://{self.repository}@{self.revision}/{self.path}"


Source = LocalSource | WebSource | HubSource


def parse_source(text: str) -> Source:
    """Take a source apart: a plain path, `file:`, `https:`, `http:` or `hf://datasets/…`.

    Raises `ClozeError` if the text is none of these or names no single file.
    """
    scheme = text.partition(":")[0].lower()
    if scheme == "file":
        return LocalSource(_file_url_path(text))
    if scheme == "hf":
        return _require_file_name(parse_hub(text), text)
    if scheme in ("http", "https"):
        return _require_file_name(_web_source(text), text)
    if "://" in text:
        raise ClozeError(
            f"source {text!r}: {scheme}: is not supported; "
            f"use https:, http:, file:, a plain path or {_HUB_FORM}"
        )
    if not text.strip():
        raise ClozeError("source: the text is empty; name a file, an address or a hub dataset")
    return LocalSource(Path(text).expanduser())


def parse_hub(text: str) -> HubSource:
    """Take `hf://datasets/OWNER/NAME@REVISION/PATH` apart; PATH may be empty or a folder.

    Without `datasets/` it is a model.
    A revision that holds a slash is written `refs/convert/…`, `refs/pr/…` or with `%2F`.
    Raises `ClozeError` if the form is another or the revision is missing.
    """
    match = _HUB.fullmatch(text)
    if match is None:
        raise ClozeError(
            f"source {text!r}: not of the form {_HUB_FORM}, without datasets/ for a model; "
            "correct it"
        )
    folder, owner, name, revision, path = match.group("folder", "owner", "name", "revision", "path")
    if revision is None:
        raise ClozeError(
            f"source {text!r}: the revision is missing, and without one the files may change "
            f"from one run to the next; write hf://{folder}{owner}/{name}@REVISION. To find the "
            "newest: "
            f"python scripts/download.py --list hf://{folder}{owner}/{name}@main/"
        )
    source = HubSource(owner, name, unquote(revision), (path or "").strip("/"), folder)
    _refuse_dots(source.mirror_path, text)
    return source


def expand_braces(text: str) -> list[str]:
    """Return every text that `{00..12}` ranges and `{a,b}` lists in `text` stand for, in order.

    A range counts upwards and keeps the width of its first number; several groups are
    combined with the last one running fastest, as in a shell. Raises `ClozeError` for
    anything else between braces.
    """
    pieces = _BRACES.split(text)
    if any(brace in literal for literal in pieces[::2] for brace in "{}"):
        raise ClozeError(f"{text!r}: braces must come in pairs and must not be nested")
    choices = [[p] if i % 2 == 0 else _choices(p, text) for i, p in enumerate(pieces)]
    return ["".join(parts) for parts in itertools.product(*choices)]


def mirror_places(source: WebSource | HubSource, mirror: str) -> list[Source]:
    """Return where a mirror may hold `source`, best first.

    `mirror` is a folder, a `file:` address or an `http(s):` address. The first place
    follows the source (`MIRROR/host/path`, `MIRROR/datasets/OWNER/NAME/REVISION/PATH`),
    the second is the bare file name, so that a flat folder of files will do.
    """
    relative = [source.mirror_path, source.file_name]
    base = mirror if mirror.partition(":")[0].lower() in ("http", "https") else None
    if base is not None:
        return [WebSource(f"{base.rstrip('/')}/{quote(path)}") for path in relative]
    root = parse_source(mirror)
    if not isinstance(root, LocalSource):
        raise ClozeError(f"mirror {mirror!r}: neither a folder nor an http(s): address")
    return [LocalSource(root.path / path) for path in relative]


def _choices(group: str, text: str) -> list[str]:
    if bounds := _RANGE.fullmatch(group):
        first, last = bounds.groups()
        if int(first) > int(last):
            raise ClozeError(f"{text!r}: the range {{{group}}} runs backwards; swap its ends")
        return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    if "," in group:
        return group.split(",")
    raise ClozeError(
        f"{text!r}: {{{group}}} is neither a range such as {{00..12}} nor a list such as {{a,b}}"
    )


def _web_source(text: str) -> WebSource:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ClozeError(f"source {text!r}: not a valid address ({error}); correct it") from error
    if not host:
        raise ClozeError(f"source {text!r}: the address names no host; correct it")
    if "@" in parts.netloc:
        raise ClozeError(
            f"source of {host}: the address holds a user name or password, which logs would "
            "show; keep them in ~/.netrc and take them out of the address"
        )
    _refuse_dots(unquote(parts.path), text)
    return WebSource(text.partition("#")[0])


def _file_url_path(text: str) -> Path:
    rest = text[len("file:") :]
    if rest.startswith("//"):
        host, slash, tail = rest[2:].partition("/")
        if host not in ("", "localhost"):
            raise ClozeError(
                f"source {text!r}: {host!r} stands where a host belongs; "
                "write file:///absolute/path or a plain path"
            )
        rest = slash + tail
    if not rest:
        raise ClozeError(f"source {text!r}: no path follows file:; write file:///absolute/path")
    return Path(unquote(rest))


def _require_file_name(source: WebSource | HubSource, text: str) -> WebSource | HubSource:
    if not source.file_name:
        raise ClozeError(f"source {text!r}: names no file; write the address of one file")
    return source


def _refuse_dots(path: str, text: str) -> None:
    # In a mirror such a step would lead out of the mirror's folder.
    if ".." in path.split("/"):
        raise ClozeError(f"source {text!r}: the path holds '..'; write it without")
