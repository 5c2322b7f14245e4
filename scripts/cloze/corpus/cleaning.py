"""Which documents, and which of their paragraphs, stay in a corpus.

Filters look at nothing but a document's own text and need no tokenizer. The compression ratio
is the size of a text's UTF-8 after zlib at level 1 divided by the size before: Geiping and
Goldstein (2023, section 4.4) drop what their tokenizer compresses badly, more than 0.3 tokens a
character; a text that zlib compresses badly is noise to it as well (tables of codes, encoded
data), and one that it compresses very well repeats itself. The share of repeated lines is that
of a text's characters in lines that stood in it before (Rae et al. 2021, table A1).

Decontamination takes evaluation sentences out before anything is trained on them. A sentence of
at least eight words that stands in a document, whatever the case, white space and punctuation,
or thirteen words in a row that both share (`cloze.corpus.contamination`), cost the document the
paragraphs (lines) that hold them: less text than whole documents. A document goes as a whole
where what was found runs over the end of a paragraph. Both texts of a pair count, each by
itself.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from cloze.corpus.arrays import damage_named
from cloze.corpus.contamination import MIN_ROW_WORDS, ContaminationIndex, Matches
from cloze.corpus.documents import Document
from cloze.errors import ClozeError
from cloze.files import require_file

_LEVEL = 1
REASONS = ("contaminated_paragraph", "contaminated")


class DropReason(NamedTuple):
    """Why a document is dropped, and what was measured."""

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Filters:
    """The bounds that a document must keep to stay; None: no bound."""

    min_characters: int = 0
    max_repeated_lines: float | None = None
    min_compression_ratio: float | None = None
    max_compression_ratio: float | None = None

    @property
    def reasons(self) -> list[str]:
        """The reasons for which these filters drop documents."""
        optional = {
            "repeated_lines": self.max_repeated_lines,
            "repetitive": self.min_compression_ratio,
            "incompressible": self.max_compression_ratio,
        }
        chosen = (reason for reason, bound in optional.items() if bound is not None)
        return ["empty", "too_short", *chosen]

    def check(self, stripped: str) -> DropReason | None:
        """Return why a text, without the white space at both ends, is dropped; None: it stays."""
        if not stripped:
            return DropReason("empty")
        if len(stripped) < self.min_characters:
            return DropReason("too_short", f"{len(stripped)} characters")
        if self.max_repeated_lines is not None:
            share = repeated_lines(stripped)
            if share > self.max_repeated_lines:
                return DropReason("repeated_lines", f"{share:.3f} of the characters")
        if self.min_compression_ratio is not None or self.max_compression_ratio is not None:
            return self._check_compression(compression_ratio(stripped))
        return None

    def _check_compression(self, ratio: float) -> DropReason | None:
        if self.min_compression_ratio is not None and ratio < self.min_compression_ratio:
            return DropReason("repetitive", f"compression ratio {ratio:.3f}")
        if self.max_compression_ratio is not None and ratio > self.max_compression_ratio:
            return DropReason("incompressible", f"compression ratio {ratio:.3f}")
        return None


def repeated_lines(text: str) -> float:
    """Return the share of the characters of a text in lines that stood in it before."""
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    total = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / total if total else 0.0


def compression_ratio(text: str) -> float:
    """Return the bytes of a text after zlib at level 1 divided by those before."""
    data = text.encode()
    return len(zlib.compress(data, _LEVEL)) / len(data)


class Decontamination:
    """Finds what documents share with the evaluation splits of tasks."""

    def __init__(self, tasks: Iterable[Path]) -> None:
        """Read tasks' folders; raises `ClozeError` where one has no validation split."""
        self.files: list[Path] = []
        """The splits that were read."""
        self._names: list[str] = []
        texts: list[str] = []
        for task in tasks:
            others = {path.stem for path in task.glob("*.parquet")} - {"train", "validation"}
            for split in ("validation", *sorted(others)):
                path = task / f"{split}.parquet"
                self.files.append(path)
                for row, row_texts in enumerate(_texts(path)):
                    texts += row_texts
                    self._names += [f"{task.name} {split} row {row}"] * len(row_texts)
        self._index = ContaminationIndex(texts, MIN_ROW_WORDS)

    def clean(self, documents: Sequence[Document]) -> list[tuple[Document, DropReason | None]]:
        """Return documents in order, and before each its paragraphs that must go.

        What has a `DropReason` is dropped, for one of `REASONS`.
        """
        found = set(self._index.find(document.text for document in documents).texts.tolist())
        cleaned: list[tuple[Document, DropReason | None]] = []
        for number, document in enumerate(documents):
            if number in found:
                cleaned += self._clean(document)
            else:
                cleaned.append((document, None))
        return cleaned

    def _clean(self, document: Document) -> list[tuple[Document, DropReason | None]]:
        paragraphs = document.text.split("\n")
        matches = self._index.find(paragraphs)
        first = dict(
            zip(matches.texts[::-1].tolist(), range(len(matches.texts))[::-1], strict=True)
        )
        removed = [
            (
                document._replace(text=paragraphs[paragraph]),
                DropReason(REASONS[0], self._detail(matches, at)),
            )
            for paragraph, at in sorted(first.items())
        ]
        kept = [text for number, text in enumerate(paragraphs) if number not in first]
        rest = document._replace(text="\n".join(kept))
        spanning = self._index.find([rest.text])
        if len(spanning.texts):
            return [(document, DropReason(REASONS[1], self._detail(spanning, 0)))]
        if not rest.text.strip():
            return [(document, DropReason(REASONS[1], self._detail(matches, 0)))]
        return [*removed, (rest, None)]

    def _detail(self, matches: Matches, at: int) -> str:
        how = "whole" if matches.exact[at] else "13 words"
        return f"{self._names[matches.rows[at]]} ({how})"


def _texts(path: Path) -> list[tuple[str, ...]]:
    """Return the one or two texts of each row of a task's split."""
    require_file(path)
    with damage_named(path, "split of a task", "make it with prepare_task.py"):
        names = pq.read_schema(path).names
        columns = ["text", *(["text_pair"] if "text_pair" in names else [])]
        table = pq.read_table(path, columns=columns)
        table.validate(full=True)
    if table.column_names != columns:
        raise ClozeError(f"{path}: has no column 'text'; make it with prepare_task.py")
    return list(zip(*(table.column(name).to_pylist() for name in columns), strict=True))


@dataclass(frozen=True)
class Cleaning:
    """What is done to documents before they are put together."""

    filters: Filters = field(default_factory=Filters)
    decontamination: Decontamination | None = None
    with_signatures: bool = False

    @property
    def reasons(self) -> list[str]:
        """The reasons for which documents are dropped here."""
        return [*self.filters.reasons, *(REASONS if self.decontamination else ())]
