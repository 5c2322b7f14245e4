"""From shards to a data set: their entries make the manifest."""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cloze.errors import ClozeError
from cloze.files import SPLITS
from cloze.tokens.manifest import (
    Manifest,
    ShardEntry,
    check_shard,
    read_shard_entry,
    split_entry,
    write_manifest,
)
from cloze.tokens.shards import EXTENSIONS

DATASET_SPLITS = SPLITS[:2]


@dataclass(frozen=True)
class ShardName:
    """Names one shard of a data set: `train-00003-of-00008`."""

    split: str
    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.split}-{self.index:05d}-of-{self.count:05d}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name that `str` wrote; raises `ValueError` for any other text."""
        match = re.fullmatch(rf"({'|'.join(DATASET_SPLITS)})-(\d{{5}})-of-(\d{{5}})", text)
        if match is None or int(match[2]) >= int(match[3]):
            raise ValueError(f"{text!r} is no shard's name; they look like train-00003-of-00008")
        return cls(match[1], int(match[2]), int(match[3]))


def shard_names(num_shards: int) -> list[ShardName]:
    """Return all shards of a data set whose training split has `num_shards`."""
    train = [ShardName("train", index, num_shards) for index in range(num_shards)]
    return [*train, ShardName("validation", 0, 1)]


def collect_shards(folder: Path, num_shards: int) -> dict[str, Any]:
    """Write `folder/manifest.json` from the shards' entries; return the data set's metrics.

    Removes shards that earlier settings left in the folder. Raises `ClozeError` if an
    entry is missing, entries disagree, a shard is not what its entry says or a split gives
    no sample.
    """
    headers, shards = {}, {split: list[ShardEntry]() for split in DATASET_SPLITS}
    for name in shard_names(num_shards):
        path = folder / f"{name}.json"
        headers[path], entry = read_shard_entry(path)
        shards[name.split].append(entry)
    (first, header), *others = headers.items()
    for path, other in others:
        if other != header:
            raise ClozeError(
                f"{path}: made with other settings or another tokenizer than {first.name}; "
                "delete it and its shard and run again"
            )
    for entry in itertools.chain(*shards.values()):
        check_shard(folder / entry.file, entry)
    splits = {split: split_entry(entries) for split, entries in shards.items()}
    for split, totals in splits.items():
        if not totals.samples:
            raise ClozeError(
                f"{folder}: the {totals.documents} documents of {split} hold no text, so there is "
                "no sample; check how the documents were extracted"
            )
    manifest = Manifest(**vars(header), splits=splits)
    _remove_stale_shards(folder, manifest)
    write_manifest(folder, manifest)
    return _metrics(manifest)


def _remove_stale_shards(folder: Path, manifest: Manifest) -> None:
    """Remove what earlier settings left beside the shards of the manifest."""
    shards = {shard.file for split in manifest.splits.values() for shard in split.shards}
    named = shards | {f"{name.split('.')[0]}.json" for name in shards}
    for split in DATASET_SPLITS:
        for extension in (*EXTENSIONS.values(), "json"):
            for path in folder.glob(f"{split}-?????-of-?????.{extension}"):
                if path.name not in named:
                    path.unlink()


def _metrics(manifest: Manifest) -> dict[str, Any]:
    """Per split: totals, bytes of text a token, filled share of rows, unknown share of tokens."""
    metrics: dict[str, Any] = {}
    for name, split in manifest.splits.items():
        unknown = sum(shard.unknown_tokens for shard in split.shards)
        text_tokens = split.tokens - 2 * split.samples
        metrics[name] = {
            "documents": split.documents,
            "text_bytes": split.text_bytes,
            "rows": split.rows,
            "samples": split.samples,
            "tokens": split.tokens,
            "bytes_per_token": split.text_bytes / text_tokens,
            "row_fill": split.tokens / (split.rows * manifest.row_length),
            "unknown_token_share": unknown / text_tokens,
        }
    return metrics
