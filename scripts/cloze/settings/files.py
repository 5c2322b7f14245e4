"""Where the files that the configuration names lie, and which of them `download` fetches."""

import os
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloze.errors import ClozeError
from cloze.fetch.sources import LocalSource, expand_braces, parse_source
from cloze.files import SPLITS, hub_model, matching_files, readable_name
from cloze.settings.tokenizers import refused_vocabulary

# What of an encoder on the hub is fetched, unless its entry says otherwise.
HUB_FILES = ("config.json", "model.safetensors", "tokenizer.json")
# Clocks that are kept in step differ by less.
_CLOCK_SECONDS = 2


def files_below(path: str) -> list[str]:
    """Return the files of a folder that are read of it, or the path itself if it is none.

    A folder's own time stamp says nothing of an edited file in it. Raises `ClozeError` as
    `files.matching_files` and `check_plannable` do.
    """
    names = matching_files(Path(path), "*") if Path(path).is_dir() else []
    found = [f"{path}/{name}" for name in names] or [path]
    check_plannable(found)
    return found


def check_plannable(paths: Iterable[str]) -> None:
    """Raise `ClozeError` for a file that Snakemake would refuse, some only after the work.

    It writes names down as UTF-8, and removes what was made of a file that is newer.
    """
    now, ahead = time.time(), dict[str, float]()
    for path in paths:
        if path != readable_name(path):
            raise ClozeError(
                f"{readable_name(path)}: the name is not UTF-8, and Snakemake cannot write it "
                "down; rename the file, for example with convmv -f ISO-8859-1 -t UTF-8 --notest, "
                "or pack its folder into an archive"
            )
        if (seconds := _modified(path) - now) > _CLOCK_SECONDS:
            ahead[path] = seconds
    if ahead:
        first, others = next(iter(ahead)), len(ahead) - 1
        folder = shlex.quote(os.path.commonpath(ahead))
        raise ClozeError(
            f"{first}: its time stamp lies {_duration(ahead[first])} ahead of this machine's clock"
            f"{f', and those of {others} more' if others else ''}, so that whatever is made "
            "of it would count as outdated; give it the time of now: "
            + (f"find {folder} -newermt now -exec touch {{}} +" if others else f"touch {folder}")
        )


def _modified(path: str) -> float:
    try:
        return max(Path(path).stat().st_mtime, Path(path).lstat().st_mtime)
    except OSError:  # it is made or fetched first, or reading it will say
        return 0.0


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


@dataclass(frozen=True)
class Download:
    """A file that `download` fetches: its source and, where given, its SHA-256."""

    source: str
    sha256: str | None


class InputFiles:
    """Every file that corpora, tokenizers and tasks are read from, as a local path.

    A local source is used where it lies, unless a hash must be checked; anything else is
    fetched to `resources/OWNER/FILE`, where OWNER is its corpus, tokenizer or task.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Place the sources of a completed configuration.

        Raises `ClozeError` that names the key of a source that is not understood.
        """
        self.downloads: dict[str, Download] = {}
        """Local path to what is fetched there."""
        self.corpora = {
            name: self._corpus(name, section) for name, section in values["corpora"].items()
        }
        """Corpus to its files by split, or under `input` where it has no splits of its own.

        A mixture has none.
        """
        self.vocabs = {
            name: self._one(name, f"tokenizers.{name}.vocab", section["vocab"])
            for name, section in values["tokenizers"].items()
            if "vocab" in section
        }
        """Tokenizer to the vocabulary that it takes over, where it does."""
        for name, file in self.vocabs.items():
            if (refusal := refused_vocabulary(file)) is not None:
                raise ClozeError(f"config: tokenizers.{name}.vocab: {refusal}")
        self.tasks = {name: self._task(name, section) for name, section in values["tasks"].items()}
        """Task to the files of each split that it has."""
        encoders = values["encoders"]
        self.imported = {
            name: self._encoder(name, key, section)
            for name, section in encoders.items()
            for key in ("pretrained", "adapt")
            if key in section and (key == "pretrained" or section[key] not in encoders)
        }
        """Encoder from elsewhere, or one that is adapted here, to the folder that it comes from."""

    def require(self, named: Mapping[str, Iterable[str]], is_made: Callable[[str], bool]) -> None:
        """Raise `ClozeError` for the first input that is not there and that nothing makes.

        named: key of `config.yaml` to its inputs. is_made: tells of a path whether a rule makes it.
        What is fetched from another machine may be missing; what is copied on this one, not.
        """
        for key, paths in named.items():
            for path in paths:
                if Path(path).exists():
                    continue
                missing = path
                if path in self.downloads:
                    source = parse_source(self.downloads[path].source)
                    if not isinstance(source, LocalSource) or source.path.exists():
                        continue
                    missing = str(source)
                elif is_made(path):
                    continue
                hub = ""
                is_encoder = key.endswith((".pretrained", ".adapt"))
                if is_encoder and not Path(Path(missing).parts[0]).exists():
                    model = hub_model(missing.removesuffix("/config.json"))
                    hub = f", or write a model on the hub as {model}" if model else ""
                raise ClozeError(
                    f"config: {key}: {missing}: no such file or folder, and no rule makes it; "
                    f"correct the path or put there what it names{hub}"
                )

    def keys_of_corpus(self, corpus: str) -> dict[str, list[str]]:
        """Return the key of `config.yaml` that names a corpus's files, of each split, to these."""
        key = f"corpora.{corpus}.files"
        named = self.corpora[corpus].items()
        return {key if split == "input" else f"{key}.{split}": files for split, files in named}

    def keys_of_task(self, task: str) -> dict[str, list[str]]:
        """Return the key that names the files of each split of a task, to these files."""
        named = self.tasks[task].items()
        return {
            f"tasks.{task}.{split if split in SPLITS else f'splits.{split}'}": files
            for split, files in named
        }

    def fetched_of(self, encoder: str) -> list[str]:
        """Return the files of an encoder on the hub as they are once fetched; else none."""
        folder = f"{self.imported[encoder]}/"
        return [path for path in self.downloads if path.startswith(folder)]

    def _encoder(self, name: str, key: str, section: Mapping[str, Any]) -> str:
        """Return the folder of an encoder; its files on the hub are added to the downloads."""
        text = section[key]
        if not text.startswith("hf:"):
            return str(Path(text.removeprefix("file://")).expanduser())
        files = section.get("files", HUB_FILES)
        items = [f"{text.rstrip('/')}/{file}" for file in files]
        placed = self._all(name, f"encoders.{name}.{key}", items)
        return str(Path(placed[0]).parent)

    def _corpus(self, name: str, section: Mapping[str, Any]) -> dict[str, list[str]]:
        if "mixture" in section:
            return {}
        path = f"corpora.{name}.files"
        files = section.get("files", [])
        if bool(files) == (section["format"] == "python-docs"):
            raise ClozeError(
                f"config: {path}: python-docs reads no files; leave it out"
                if files
                else f"config: {path}: missing; name the corpus's files"
            )
        if not isinstance(files, Mapping):
            return {"input": self._all(name, path, files)}
        return {
            split: self._all(name, f"{path}.{split}", sources) for split, sources in files.items()
        }

    def _task(self, name: str, section: Mapping[str, Any]) -> dict[str, list[str]]:
        path = f"tasks.{name}"
        files = {
            split: self._listed(name, f"{path}.{split}", section[split])
            for split in SPLITS
            if split in section
        }
        for split, item in section["splits"].items():
            if split in SPLITS:
                raise ClozeError(
                    f"config: {path}.splits.{split}: has a key of its own; write {path}.{split}"
                )
            files[split] = self._listed(name, f"{path}.splits.{split}", item)
        return files

    def _listed(self, owner: str, path: str, item: Any) -> list[str]:
        return self._all(owner, path, item if isinstance(item, list) else [item])

    def _one(self, owner: str, path: str, item: Any) -> str:
        files = self._all(owner, path, [item])
        if len(files) != 1:
            raise ClozeError(f"config: {path}: one file belongs here, not {len(files)}")
        return files[0]

    def _all(self, owner: str, path: str, items: Iterable[Any]) -> list[str]:
        placed: list[str] = []
        for item in items:
            given = item if isinstance(item, Mapping) else {"source": item}
            try:
                for text in expand_braces(given["source"]):
                    placed.append(self._place(owner, text, given.get("sha256")))
            except ClozeError as error:
                raise ClozeError(f"config: {path}: {error}") from error
        for file in placed:
            if placed.count(file) > 1:
                raise ClozeError(f"config: {path}: {file} stands there twice")
        return placed

    def _place(self, owner: str, text: str, sha256: str | None) -> str:
        source = parse_source(text)
        if isinstance(source, LocalSource) and sha256 is None:
            return str(source)
        target = f"resources/{owner}/{source.file_name}"
        download = Download(str(source), sha256)
        if self.downloads.setdefault(target, download) != download:
            raise ClozeError(
                f"{text} and {self.downloads[target].source} would both be {target}; "
                f"rename {owner!r} in one of the tables"
            )
        return target
