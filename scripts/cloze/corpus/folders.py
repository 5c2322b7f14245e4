"""The files of a folder that belong to a corpus; the workflow plans with it, so it is light."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path


@dataclass(frozen=True)
class Share:
    """One of `count` stretches of a list, as even as can be; `index` counts from 0."""

    index: int
    count: int

    def of(self, items: list[str]) -> list[str]:
        """Return the stretch of `items`; the shares of a list, one after the other, are it."""
        first, last = (len(items) * at // self.count for at in (self.index, self.index + 1))
        return items[first:last]


def corpus_names(folder: Path, pattern: str) -> list[str]:
    """Return the paths below `folder` of its files that match, sorted, hidden ones left out.

    `pattern` is a glob on the whole path, in which `*` also matches `/`.
    """
    paths = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    names = (
        path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts)
    )
    return sorted(name for name in names if fnmatchcase(name, pattern))
