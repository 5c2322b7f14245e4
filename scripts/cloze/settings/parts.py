"""How a corpus is divided into parts that are extracted side by side.

The workflow decides it before any job runs: what is yet to be fetched has no size then, so
such a file counts as a whole part.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloze.files import Share, matching_files

PART_BYTES = 16 << 20
MAX_PARTS = 128


@dataclass(frozen=True)
class CorpusPart:
    """Files, or a share of a folder, whose documents follow each other in one split.

    `split` is the key of the configuration that names them: input, train, validation or test.
    """

    split: str
    paths: tuple[str, ...]
    share: Share | None = None


def corpus_parts(
    files: Mapping[str, Sequence[str]], format: str, members: str, fetched: Container[str]
) -> dict[str, CorpusPart]:
    """Return the parts of a corpus by name, in its order; none if there is nothing to divide.

    `files`: the paths by split; `fetched`: those that a job downloads. A part holds files
    of about 16 MiB as they lie on the disk, or one file that is larger; a corpus so large
    that this would make far more than 128 parts gets larger ones. Files of WikiText in
    parquet are one part, because articles go on from one to the next. Held-out splits are
    a part each.
    """
    main = "train" if "train" in files else "input"
    divided = list(_divide(main, files.get(main, ()), format, members, fetched))
    if len(divided) < 2:
        return {}
    parts = {}
    for split, paths in files.items():
        held = divided if split == main else [CorpusPart(split, tuple(paths))]
        for number, part in enumerate(held):
            parts[f"{split}-{number:05d}-of-{len(held):05d}"] = part
    return parts


def _divide(
    split: str, paths: Sequence[str], format: str, members: str, fetched: Container[str]
) -> Iterator[CorpusPart]:
    goes_on = format.startswith("wikitext") and any(path.endswith(".parquet") for path in paths)
    if goes_on or not paths:
        yield CorpusPart(split, tuple(paths))
        return
    sizes = {path: PART_BYTES if path in fetched else _size(path, members) for path in paths}
    part_bytes = max(PART_BYTES, sum(sizes.values()) // MAX_PARTS)
    held, held_bytes = list[str](), 0
    for path, size in sizes.items():
        shares = _shares(path, size // part_bytes, members) if path not in fetched else 1
        if held and (shares > 1 or held_bytes + size > part_bytes):
            yield CorpusPart(split, tuple(held))
            held, held_bytes = [], 0
        if shares > 1:
            for index in range(shares):
                yield CorpusPart(split, (path,), Share(index, shares))
        else:
            held.append(path)
            held_bytes += size
    if held:
        yield CorpusPart(split, tuple(held))


def _shares(path: str, wanted: int, members: str) -> int:
    """Return into how many shares a path is divided: only a folder, none of them empty."""
    place = Path(path)
    if wanted < 2 or not place.is_dir():
        return 1
    return min(wanted, len(matching_files(place, members)))


def _size(path: str, members: str) -> int:
    """Return the bytes of a file, or of the files of a folder that belong to the corpus."""
    place = Path(path)
    if place.is_dir():
        return sum((place / name).stat().st_size for name in matching_files(place, members))
    return place.stat().st_size if place.exists() else 0
