"""Tags of words: entities, parts of speech; a row is a sentence.

Read from CoNLL columns, CoNLL-U, or tables with a list of words and a list of tags in each row.
"""

import re
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from cloze.corpus.tables import read_values
from cloze.corpus.text_streams import read_lines
from cloze.errors import ClozeError, shortened
from cloze.settings.tasks import METRICS_OF
from cloze.tasks.kind import Baseline, LeftOut, RowError, TaskKind, open_single
from cloze.tasks.labels import group_of, listed, shown
from cloze.tasks.tag_scores import entity_type
from cloze.tasks.task import Task, TaskSplit

_CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_DOCUMENT_START = "-DOCSTART-"
_OUTSIDE = "O"
_ENTITY = re.compile(r"([BIES])-(.+)", re.DOTALL)
_FORMATS = ("conll", "conllu", "jsonl", "parquet")
# Defaults of text_column and label_column by format.
_COLUMNS = {"conll": ("0", "-1"), "conllu": ("form", "upos")}
_TABLE_COLUMNS = ("tokens", "tags")
_TAGS = pa.list_(pa.int32())


class TaggedSentence(NamedTuple):
    """A sentence of a source file; `place` says where it begins."""

    place: str
    tokens: list[str]
    tags: list[str]
    group: str | None = None


class TokenLabels(TaskKind):
    """A tag for each word; labels are their numbers, an int64 array [num_words] a row."""

    metrics = METRICS_OF["token_classification"]
    columns: ClassVar = {"tokens": pa.list_(pa.string())}

    def __init__(self) -> None:
        self._scheme = "plain"
        self._inconsistent = 0

    def read(self, settings: Namespace, path: Path, left_out: LeftOut) -> Iterator[TaggedSentence]:
        """Yield every sentence of a file."""
        for kind, stream in open_single(settings, path, _FORMATS):
            defaults = _COLUMNS.get(kind, _TABLE_COLUMNS)
            words, tags = (
                given or default
                for given, default in zip(
                    (settings.text_column, settings.label_column), defaults, strict=True
                )
            )
            if kind == "conll":
                yield from _read_conll(stream, path, words, tags)
            elif kind == "conllu":
                yield from _read_conllu(stream, path, words, tags)
            else:
                columns = [words, tags, *filter(None, [settings.group_column])]
                rows = read_values(
                    stream, str(path), kind, columns, on_bad_row=partial(left_out.add, path)
                )
                for place, values in rows:
                    with left_out.row(path, place):
                        yield _table_row(values, columns, place, f"{path}: {place}", settings)

    def label_names(self, settings: Namespace, train: Sequence[TaggedSentence]) -> list[str]:
        """Return the tags, `O` first, then by type; finds the scheme, or checks the given one.

        A scheme has every prefix for every type, whether it occurs or not.
        """
        found = Counter(tag for row in train for tag in row.tags)
        names = list(settings.labels or found)
        self._scheme = _scheme(settings, names, train)
        if self._scheme == "plain":
            return names if settings.labels else sorted(names)
        self._inconsistent = sum(_inconsistencies(row.tags, self._scheme) for row in train)
        if settings.labels:
            return names
        types = sorted({entity_type(name) for name in names} - {_OUTSIDE})
        prefixes = "BIES" if self._scheme == "bioes" else "BI"
        return [_OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in prefixes)]

    def facts(self, settings: Namespace) -> dict[str, Any]:
        """Return the scheme of the tags, and how many training tags contradict it."""
        return {"scheme": self._scheme, "inconsistent_tags": self._inconsistent}

    def default_metric(self, settings: Namespace, names: Sequence[str]) -> str:
        """Return entity F1, or the accuracy of plain tags."""
        return "token_accuracy" if self._scheme == "plain" else "entity_f1"

    def check_metric(self, metric: str, names: Sequence[str]) -> None:
        """Raise `ClozeError` for entity F1 of plain tags."""
        super().check_metric(metric, names)
        if metric == "entity_f1" and self._scheme == "plain":
            raise ClozeError(
                "--metric entity_f1: the tags are plain and mark no entities; use token_accuracy"
            )

    def encode(self, path: Path, rows: Sequence[TaggedSentence], names: Sequence[str]) -> TaskSplit:
        """Return the sentences with tags as indices into `names`."""
        if not rows:
            raise ClozeError(f"{path}: has no sentences")
        index_of = {name: index for index, name in enumerate(names)}
        labels = np.empty(len(rows), dtype=object)
        for position, row in enumerate(rows):
            for tag in row.tags:
                if tag not in index_of:
                    raise RowError(
                        path,
                        row.place,
                        f"tag {shortened(tag)} is not one of the task's tags ({listed(names)}); "
                        "mend the sentence or declare the tag with --labels",
                    )
            labels[position] = np.array([index_of[tag] for tag in row.tags], dtype=np.int64)
        groups = [row.group for row in rows if row.group is not None]
        return TaskSplit(
            [" ".join(row.tokens) for row in rows],
            labels,
            groups=groups if len(groups) == len(rows) else None,
            columns={"tokens": pa.array([row.tokens for row in rows], self.columns["tokens"])},
            label_type=_TAGS,
        )

    def describe(self, split: TaskSplit, names: Sequence[str]) -> dict[str, Any]:
        """Return the number of words and, of each type, of words with it."""
        tags = np.concatenate(split.labels)
        types = Counter[str]()
        for index, count in enumerate(np.bincount(tags, minlength=len(names)).tolist()):
            types[names[index] if self._scheme == "plain" else entity_type(names[index])] += count
        return {"words": len(tags), "words_by_label": dict(types)}

    def labels_from_arrow(self, column: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
        """Return an object array of int64 [num_words]."""
        found = np.empty(len(column), dtype=object)
        for position, tags in enumerate(column.cast(_TAGS).to_pylist()):
            found[position] = np.array(tags, dtype=np.int64)
            if len(tags) and (min(tags) < 0 or max(tags) >= len(names)):
                raise ValueError("holds tags that task.json does not name")
        return found

    def baselines(
        self, task: Task, train: TaskSplit, splits: Mapping[str, TaskSplit], seed: int
    ) -> dict[str, Baseline]:
        """Return the most frequent tag of each word, and a linear CRF."""
        from cloze.tasks.tag_baselines import linear_crf, most_frequent_tag

        return {
            "most_frequent_tag": most_frequent_tag(task, train, splits),
            "linear_crf": linear_crf(task, train, splits),
        }


def _read_conll(
    stream: BinaryIO, path: Path, word_column: str, tag_column: str
) -> Iterator[TaggedSentence]:
    """Columns separated by tabs or else by white space; a blank line ends a sentence."""
    columns = [_column_number(column, path) for column in (word_column, tag_column)]
    document, pairs, start = None, list[tuple[str, str]](), 1
    documents = 0
    for number, line in enumerate(read_lines(stream, str(path)), start=1):
        cells = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
        is_blank = not line.strip()
        if is_blank or cells[0] == _DOCUMENT_START:
            if pairs:
                yield _sentence(f"line {start}", pairs, document)
            if not is_blank:
                documents += 1
                document = f"document {documents}"
            pairs = []
            continue
        if not pairs:
            start = number
        pairs.append(_cells(cells, columns, f"{path}: line {number}"))
    if pairs:
        yield _sentence(f"line {start}", pairs, document)


def _column_number(column: str, path: Path) -> int:
    try:
        return int(column)
    except ValueError:
        raise ClozeError(
            f"{path}: column {column!r} is no number; the columns of CoNLL files are counted from "
            "0, or from the end as -1"
        ) from None


def _cells(cells: Sequence[str], columns: Sequence[int], where: str) -> tuple[str, str]:
    found = []
    for column, what in zip(columns, ("word", "tag"), strict=True):
        if not -len(cells) <= column < len(cells) or (what == "tag" and len(cells) < 2):
            raise ClozeError(
                f"{where}: has {len(cells)} columns, none of them the {what}'s ({column}); name "
                f"the right one with --{'text' if what == 'word' else 'label'}-column, or mend "
                "the line"
            )
        found.append(cells[column].strip())
    if not found[1]:
        raise ClozeError(f"{where}: the tag of {found[0]!r} is missing; add it")
    return found[0], found[1]


def _sentence(
    place: str, pairs: Sequence[tuple[str, str]], group: str | None = None
) -> TaggedSentence:
    words, tags = zip(*pairs, strict=True)
    return TaggedSentence(place, list(words), list(tags), group)


def _read_conllu(
    stream: BinaryIO, path: Path, word_column: str, tag_column: str
) -> Iterator[TaggedSentence]:
    """Ten columns; comments, multi-word tokens (`1-2`) and empty nodes (`1.1`) are left out."""
    for column in (word_column, tag_column):
        if column not in _CONLLU:
            raise ClozeError(
                f"{path}: CoNLL-U has no column {column!r}; there are: {', '.join(_CONLLU)}"
            )
    columns = [_CONLLU.index(column) for column in (word_column, tag_column)]
    pairs, start, document = list[tuple[str, str]](), 1, None
    for number, line in enumerate(read_lines(stream, str(path)), start=1):
        if line.startswith("#"):
            if line.startswith("# newdoc"):
                document = line.partition("=")[2].strip() or f"document at line {number}"
            continue
        if not line.strip():
            if pairs:
                yield _sentence(f"line {start}", pairs, document)
            pairs = []
            continue
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) != len(_CONLLU):
            raise ClozeError(
                f"{path}: line {number}: has {len(cells)} columns where CoNLL-U has "
                f"{len(_CONLLU)}, separated by tabs; is it --format conll?"
            )
        if not cells[0].isdecimal():
            continue
        if not pairs:
            start = number
        pairs.append(_cells(cells, columns, f"{path}: line {number}"))
    if pairs:
        yield _sentence(f"line {start}", pairs, document)


def _table_row(
    values: Sequence[Any],
    columns: Sequence[str],
    place: str,
    where: str,
    settings: Namespace,
) -> TaggedSentence:
    """A row of lists; whole numbers among the tags are indices into the labels."""
    words, tags = values[:2]
    for value, column in zip((words, tags), columns, strict=False):
        if not isinstance(value, list):
            raise ClozeError(f"{where}: column {column!r} holds {shown(value)}, no list")
    if len(words) != len(tags):
        raise ClozeError(
            f"{where}: {len(words)} words in {columns[0]!r} but {len(tags)} tags in "
            f"{columns[1]!r}; each word needs one tag"
        )
    for word in words:
        if not isinstance(word, str):
            raise ClozeError(f"{where}: {columns[0]!r} holds {shown(word)}, no word")
    named = [_tag(tag, columns[1], where, settings.labels) for tag in tags]
    group = group_of(values[2], columns[2], where) if len(columns) > 2 else None
    return TaggedSentence(place, words, named, group)


def _tag(tag: Any, column: str, where: str, labels: Sequence[str] | None) -> str:
    if isinstance(tag, str) and tag.strip():
        return tag.strip()
    if isinstance(tag, int) and not isinstance(tag, bool):
        if labels is None:
            return str(tag)
        if 0 <= tag < len(labels):
            return labels[tag]
        raise ClozeError(
            f"{where}: {column!r} holds tag {tag}, but --labels names {len(labels)}, counted from 0"
        )
    raise ClozeError(f"{where}: {column!r} holds {shown(tag)}, no tag")


def _scheme(settings: Namespace, names: Iterable[str], train: Sequence[TaggedSentence]) -> str:
    """Return the scheme that the settings name, if the tags allow it, or that of the tags."""
    given: str | None = settings.scheme
    plain = [name for name in names if name != _OUTSIDE and not _ENTITY.fullmatch(name)]
    prefixes = {name[0] for name in names if _ENTITY.fullmatch(name)}
    if given == "plain" or (given is None and (plain or not prefixes)):
        return "plain"
    if plain:
        raise ClozeError(
            f"--scheme {given}: contradicts the tag {plain[0]!r}, which has none of its prefixes; "
            "use plain, or leave --scheme out"
        )
    has_ends = bool(prefixes & {"E", "S"})
    if given is not None:
        if has_ends and given != "bioes":
            raise ClozeError(
                f"--scheme {given}: contradicts tags that begin with E- or S-; use bioes, or leave "
                "--scheme out"
            )
        if given == "bioes" and not has_ends:
            raise ClozeError(
                "--scheme bioes: contradicts tags of which none begins with E- or S-; use bio or "
                "iob1, or leave --scheme out"
            )
        return given
    if has_ends:
        return "bioes"
    broken = {
        scheme: sum(_inconsistencies(row.tags, scheme) for row in train)
        for scheme in ("bio", "iob1")
    }
    return "iob1" if broken["iob1"] < broken["bio"] else "bio"


def _inconsistencies(tags: Sequence[str], scheme: str) -> int:
    """Count the tags that cannot stand where they do.

    bio: an entity begins with B. iob1: with I, but with B right behind another of its type. bioes:
    B and I go on, E and S end, and what goes on has the same type.
    """
    count, before = 0, _OUTSIDE
    for tag in [*tags, _OUTSIDE]:
        same = before != _OUTSIDE and tag != _OUTSIDE and before[2:] == tag[2:]
        if scheme == "bio":
            count += tag[0] == "I" and not same
        elif scheme == "iob1":
            count += tag[0] == "B" and not same
        else:
            goes_on = before[0] in "BI"
            count += goes_on != (tag[0] in "IE") or (goes_on and not same)
        before = tag
    return count
