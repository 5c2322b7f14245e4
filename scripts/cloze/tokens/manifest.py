"""`manifest.json`: what a data set folder holds, written after everything it names."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloze.errors import ClozeError, shortened
from cloze.files import read_object, require_file, sha256_file, write_json, write_sealed

FORMAT_VERSION = 2
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ShardEntry:
    """One shard: its file name, what the file must hold, and what went into it.

    `text_bytes` is UTF-8 before tokenising.
    """

    file: str
    rows: int
    samples: int
    tokens: int
    bytes: int
    sha256: str
    documents: int
    text_bytes: int
    unknown_tokens: int


@dataclass(frozen=True)
class SplitEntry:
    """One split: its shards in order, with totals."""

    shards: list[ShardEntry]
    rows: int
    samples: int
    tokens: int
    documents: int
    text_bytes: int


@dataclass(frozen=True)
class Header:
    """What all shards of a data set have in common: how they were made, with which tokenizer."""

    format_version: int
    format: str
    method: str
    max_length: int
    row_length: int
    vocab_size: int
    tokenizer_sha256: str
    special_ids: dict[str, int]


@dataclass(frozen=True)
class Manifest(Header):
    """A data set: its header and its splits."""

    splits: dict[str, SplitEntry]


def split_entry(shards: list[ShardEntry]) -> SplitEntry:
    """Return a split of these shards, with their totals."""
    names = ("rows", "samples", "tokens", "documents", "text_bytes")
    totals = {name: sum(getattr(shard, name) for shard in shards) for name in names}
    return SplitEntry(shards=shards, **totals)


def write_shard_entry(path: Path, header: Header, entry: ShardEntry) -> None:
    """Write what one shard adds to the manifest, atomically."""
    write_json(path, {**dataclasses.asdict(header), "shard": dataclasses.asdict(entry)})


def read_shard_entry(path: Path) -> tuple[Header, ShardEntry]:
    """Read what `write_shard_entry` wrote; raises `ClozeError` as `read_manifest` does."""
    value = _checked(path)
    try:
        shard = ShardEntry(**value.pop("shard"))
        header = Header(**value)
        _require_types(header)
        _require_types(shard)
        return header, shard
    except (AttributeError, KeyError, TypeError) as error:
        raise _misshapen(path, error) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `folder/manifest.json`, atomically, with a digest of its values."""
    write_sealed(folder / MANIFEST, dataclasses.asdict(manifest))


def read_manifest(folder: Path) -> Manifest:
    """Read `folder/manifest.json`.

    Raises `ClozeError` if it is missing, was written in another version of the format, lacks a
    key, or was changed since: its digest, or its totals, are others.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ClozeError(
            f"{path}: no such file, so {folder} is no finished data set; "
            "run segment_text.py or split_tokens.py again"
        )
    value = _checked(path)
    try:
        splits = {name: _split_entry(split) for name, split in value.pop("splits").items()}
        manifest = Manifest(splits=splits, **value)
        _require_types(manifest)
    except (AttributeError, KeyError, TypeError) as error:
        raise _misshapen(path, error) from error
    for name, split in splits.items():
        if split != split_entry(split.shards):
            raise ClozeError(
                f"{path}: the totals of {name} are not those of its shards; delete {folder} and "
                "run again"
            )
    return manifest


def _checked(path: Path) -> dict[str, Any]:
    value = read_object(path)
    version = value.get("format_version")
    if version != FORMAT_VERSION:
        raise ClozeError(
            f"{path}: format_version is {version!r}, this version of Cloze reads "
            f"{FORMAT_VERSION}; delete {path.parent} and run again"
        )
    return value


def _misshapen(path: Path, error: Exception) -> ClozeError:
    return ClozeError(
        f"{path}: not a manifest of this format ({error}); delete {path.parent} and run again"
    )


def check_tokenizer(manifest: Manifest, folder: Path, tokenizer: Path) -> None:
    """Raise `ClozeError` unless the data set in `folder` was made with this tokenizer file."""
    actual = sha256_file(require_file(tokenizer))
    if actual != manifest.tokenizer_sha256:
        raise ClozeError(
            f"{tokenizer}: wrong tokenizer for {folder} (sha256 {actual[:12]}…, the shards were "
            f"made with {manifest.tokenizer_sha256[:12]}…); pass the tokenizer that made the "
            "shards, or delete the shards and run again"
        )


def check_shard(path: Path, entry: ShardEntry) -> None:
    """Raise `ClozeError` unless the file is there with the size and sha256 of its entry."""
    manifest = path.with_name(MANIFEST)
    again = f"delete it and {manifest} and run again, which makes only this shard anew"
    if not path.is_file():
        raise ClozeError(
            f"{path}: missing shard; delete {manifest} and run again, which makes only it anew"
        )
    size = path.stat().st_size
    if size < entry.bytes:
        raise ClozeError(f"{path}: truncated shard ({size} of {entry.bytes} bytes); {again}")
    if (sha256 := sha256_file(path)) != entry.sha256:
        raise ClozeError(
            f"{path}: damaged shard (sha256 {sha256[:12]}…, not {entry.sha256[:12]}…); {again}"
        )


def _split_entry(value: dict[str, Any]) -> SplitEntry:
    shards = [ShardEntry(**shard) for shard in value["shards"]]
    split = SplitEntry(**{**value, "shards": shards})
    _require_types(split)
    for shard in shards:
        _require_types(shard)
    return split


def _require_types(entry: ShardEntry | SplitEntry | Header) -> None:
    """Raise `TypeError` for a number that is none or negative, and a text that is none."""
    for field in dataclasses.fields(entry):
        value = getattr(entry, field.name)
        if field.type is int and (type(value) is not int or value < 0):
            raise TypeError(f"{field.name} {shortened(value)} is no number of 0 or more")
        if field.type is str and not isinstance(value, str):
            raise TypeError(f"{field.name} {shortened(value)} is no text")
