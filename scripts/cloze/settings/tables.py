"""How files of CSV and TSV are written, wherever they are read."""

from dataclasses import dataclass

from cloze.settings.fields import setting


@dataclass(frozen=True, kw_only=True)
class DialectSettings:
    """How CSV and TSV are written; see `cloze.corpus.tables.Dialect`."""

    header: bool = setting(
        True, "whether csv and tsv have a header row; without one, columns are numbers from 0"
    )
    delimiter: str | None = setting(
        None,
        "what separates the columns of csv and tsv, one character or tab; unset: as the first "
        "rows show",
    )
    quoting: bool | None = setting(
        None,
        "whether quotation marks in csv and tsv enclose text; unset: in csv, and in tsv where "
        "they can be nothing else",
    )
