"""How files become documents: what is read, dropped and held out."""

from dataclasses import dataclass

from cloze.settings.fields import REQUIRED, setting
from cloze.settings.tables import DialectSettings

CORPUS_FORMATS = (
    *("wikitext", "wikitext-tokens", "text", "paragraphs", "lines"),
    *("jsonl", "csv", "tsv", "parquet", "python-docs"),
)


@dataclass(frozen=True, kw_only=True)
class ReadingSettings(DialectSettings):
    """How files become documents."""

    format: str = setting(
        REQUIRED,
        "form of the corpus; wikitext and wikitext-tokens: articles under ' = Title = ' lines; "
        "text: a file a document; paragraphs: documents between blank lines; lines: a document a "
        "line",
        choices=CORPUS_FORMATS,
    )
    members: str = setting("*", "glob on the files of a folder or an archive to read")
    text_column: str = setting("text", "column with the text (jsonl, csv, tsv, parquet)")
    title_column: str | None = setting(None, "column with the title; unset: no titles")


@dataclass(frozen=True, kw_only=True)
class PartSettings(ReadingSettings):
    """How a part of a corpus is extracted: read, and cleaned of documents for what they hold.

    See `cloze.corpus.cleaning` for the measures.
    """

    min_characters: int = setting(
        0, "drop shorter documents, white space at both ends not counted", minimum=0
    )
    max_repeated_lines: float | None = setting(
        None,
        "drop a document if more of its characters stand in lines that repeat earlier ones; 0.3 is "
        "usual; unset: none",
        minimum=0,
        maximum=1,
    )
    min_compression_ratio: float | None = setting(
        None,
        "drop a document that zlib compresses better than this, which repeats itself; 0.2 is "
        "cautious; unset: none",
        minimum=0,
        maximum=1,
    )
    max_compression_ratio: float | None = setting(
        None,
        "drop a document that zlib compresses worse than this, which is short or noise; 0.7 is "
        "cautious for documents of 1,000 characters and more; unset: none",
        minimum=0,
        maximum=1,
    )
    near_duplicate_threshold: float | None = setting(
        None,
        "drop documents at least this similar to an earlier one: share of five words in a row that "
        "both have of those that one has; 0.8 is usual; unset: none",
        minimum=0,
        maximum=1,
    )


@dataclass(frozen=True, kw_only=True)
class CorpusSettings(PartSettings):
    """How a whole corpus is extracted: what matters once its parts are put together."""

    validation_fraction: float = setting(
        0.01, "share of the documents, chosen by a hash of their text", minimum=0, maximum=1
    )
    test_fraction: float = setting(
        0.01, "the same for test (without splits of the source's own)", minimum=0, maximum=1
    )
    keep_duplicates: bool = setting(
        False,
        "keep documents whose text occurred before, in a held-out split or the same one",
    )
