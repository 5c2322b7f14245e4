"""Evaluation sentences taken out of documents before anything is trained on them.

A sentence of at least eight words that stands in a document, whatever the case, white space
and punctuation, or thirteen words in a row that both share (`cloze.corpus.contamination`),
cost the document the paragraphs (lines) that hold them: less text than whole documents. A
document goes as a whole where what was found runs over the end of a paragraph.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cloze.corpus.contamination import MIN_ROW_WORDS, ContaminationIndex, Matches
from cloze.corpus.documents import Document
from cloze.corpus.filters import Verdict
from cloze.errors import ClozeError
from cloze.files import require_file

REASONS = ("contaminated_paragraph", "contaminated")


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
                rows = _texts(path)
                self.files.append(path)
                texts += rows
                self._names += [f"{task.name} {split} row {row}" for row in range(len(rows))]
        self._index = ContaminationIndex(texts, MIN_ROW_WORDS)

    def clean(self, documents: Sequence[Document]) -> list[tuple[Document, Verdict | None]]:
        """Return documents in order, and before each its paragraphs that must go.

        What has a `Verdict` is dropped, for one of `REASONS`.
        """
        found = set(self._index.find(document.text for document in documents).texts.tolist())
        cleaned: list[tuple[Document, Verdict | None]] = []
        for number, document in enumerate(documents):
            if number in found:
                cleaned += self._clean(document)
            else:
                cleaned.append((document, None))
        return cleaned

    def _clean(self, document: Document) -> list[tuple[Document, Verdict | None]]:
        paragraphs = document.text.split("\n")
        matches = self._index.find(paragraphs)
        first = dict(
            zip(matches.texts[::-1].tolist(), range(len(matches.texts))[::-1], strict=True)
        )
        removed = [
            (
                document._replace(text=paragraphs[paragraph]),
                Verdict(REASONS[0], self._detail(matches, at)),
            )
            for paragraph, at in sorted(first.items())
        ]
        kept = [text for number, text in enumerate(paragraphs) if number not in first]
        rest = document._replace(text="\n".join(kept))
        spanning = self._index.find([rest.text])
        if len(spanning.texts):
            return [(document, Verdict(REASONS[1], self._detail(spanning, 0)))]
        if not rest.text.strip():
            return [(document, Verdict(REASONS[1], self._detail(matches, 0)))]
        return [*removed, (rest, None)]

    def _detail(self, matches: Matches, at: int) -> str:
        how = "whole" if matches.exact[at] else "13 words"
        return f"{self._names[matches.rows[at]]} ({how})"


def _texts(path: Path) -> list[str]:
    try:
        return list(pq.read_table(require_file(path), columns=["text"]).column("text").to_pylist())
    except (pa.ArrowException, KeyError) as error:
        raise ClozeError(
            f"{path}: not the split of a task ({error}); make it with prepare_task.py"
        ) from error
