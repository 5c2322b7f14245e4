"""A configuration for texts and a task, proposed after a look at their first megabytes.

What is proposed is a guess that a person reads: each part says in a comment what it goes by.
"""

import csv
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cloze.contents import HEAD_BYTES, not_text, refuse
from cloze.corpus.tables import Dialect, json_object, opened_parquet, read_values
from cloze.corpus.text_streams import read_blocks, read_lines
from cloze.errors import ClozeError
from cloze.fetch.archives import open_members
from cloze.files import matching_files

_TEXT_SUFFIXES = {".txt", ".md", ".text"}
_TABLES = {
    **{".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"},
    **{".jsonl": "jsonl", ".ndjson": "jsonl"},
}
_COMPRESSIONS = {".gz", ".bz2", ".xz", ".zst"}
_TAGGED = {".conll": "conll", ".iob": "conll", ".conllu": "conllu"}
_DELIMITERS = (",", "\t", ";", "|")
_ROWS, _BLOCK = 2000, 1 << 20
# Of a compressed text file, how much larger it is than it looks.
_RATIO = 3.5
_LABEL_NAMES = ("label", "labels", "class", "category", "sentiment", "target", "score", "rating")
_TEXT_NAMES = ("text", "sentence", "content", "document", "body", "review")
# Of distinct values, in rows: above it a column is no class.
_MOST_CLASSES, _MOST_SHARE = 200, 0.2


@dataclass
class Section:
    """A part of `config.yaml` with the sentences that say what it goes by."""

    values: dict[str, Any]
    seen: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Table:
    """The first rows of a table: cells as text, None where there is nothing."""

    names: list[str]
    rows: list[list[str | None]]
    header: bool = True

    def column(self, name: str) -> list[str]:
        place = self.names.index(name)
        return [cell for row in self.rows if (cell := row[place]) is not None]


def propose(name: str, texts: Path, task: Path | None) -> str:
    """Return a configuration, as YAML with comments, for a folder or file of texts and a task.

    Raises `ClozeError` where there is nothing to read or nothing that could be a text or a label.
    """
    corpus, size, language = _corpus(texts)
    is_tagged = task is not None and _suffix(task) in _TAGGED
    shape = _shape(name, size, language, keeps_case=is_tagged)
    sections = {"corpora": {name: corpus}, **shape}
    picks: dict[str, Any] = {
        "corpus": name,
        "tokenizer": name,
        "dataset": name,
        "encoder": name,
        "reports": {name: {"task": name}} if task is not None else {},
    }
    if task is not None:
        sections["tasks"] = {name: _task(task)}
    lines = [
        _comment(f"Proposed by new.py for {texts}" + (f" and {task}." if task else ".")),
        f"#   snakemake --cores all --configfile {name}.yaml",
        _dump(picks),
    ]
    for table, entries in sections.items():
        for entry, section in entries.items():
            lines += map(_comment, section.seen)
            lines.append(_dump({table: {entry: section.values}}))
    return "\n".join(lines)


def _comment(sentence: str) -> str:
    # A name of a file or a column may hold a line break, which would end the comment.
    return f"# {' '.join(sentence.split())}"


def _dump(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


def _suffix(path: Path) -> str:
    """Return the suffix of a file's name, that of a compression left aside."""
    bare = Path(path.stem) if path.suffix.lower() in _COMPRESSIONS else path
    return bare.suffix.lower()


def _corpus(texts: Path) -> tuple[Section, float, str | None]:
    """Return the section of a corpus, about how many bytes of text it has, and its language."""
    files = _files(texts)
    kinds = Counter(_suffix(file) for file in files)
    suffix = kinds.most_common(1)[0][0]
    chosen = [file for file in files if _suffix(file) == suffix]
    size = sum(
        file.stat().st_size * (_RATIO if file.suffix.lower() in _COMPRESSIONS else 1)
        for file in chosen
    )
    values: dict[str, Any] = {"format": _TABLES.get(suffix, "text"), "files": [str(texts)]}
    seen = [f"{len(chosen):,} files of {suffix or 'no suffix'}, about {size / 1e6:,.1f} MB of text"]
    if len(chosen) < len(files):
        values["members"] = f"*{suffix}"
        seen.append(f"{len(files) - len(chosen):,} other files are left out")
    if suffix in _TABLES:
        table = _read_table(chosen[0], _TABLES[suffix])
        values["text_column"] = text = _text_columns(table, [])[0]
        if not table.header:
            values["header"] = False
        seen.append(f"columns: {', '.join(table.names)}; the longest text is in {text}")
        sample = "\n".join(table.column(text)[:50])
    else:
        sample = _first_text(chosen[0])
        if len(chosen) == 1:
            values["format"], why = _single_file(sample)
            seen.append(why)
    if size < 2e6:
        values |= {"validation_fraction": 0.1, "test_fraction": 0}
    language = _language(sample)
    seen.append(f"language: {language or 'not told by an empty file, taken for English'}")
    return Section(values, seen), size, language


def _files(texts: Path) -> list[Path]:
    if texts.is_file():
        return [texts]
    if not texts.is_dir():
        raise ClozeError(f"{texts}: no such file or folder; name the one with your texts")
    known = {*_TEXT_SUFFIXES, *_TABLES}
    files = [
        path
        for path in (texts / name for name in matching_files(texts, "*"))
        if _suffix(path) in known and path.stat().st_size
    ]
    if not files:
        raise ClozeError(f"{texts}: no file in it ends in {', '.join(sorted(known))}")
    return files


def _first_text(path: Path) -> str:
    for member, stream in open_members(path):
        return next(read_blocks(stream, f"{path}: {member}"), "")[:_BLOCK]
    return ""


def _single_file(text: str) -> tuple[str, str]:
    """Return the format of one file of text, and what tells it."""
    lines = text.split("\n")
    if sum(line.startswith(" = ") and line.rstrip().endswith(" =") for line in lines) > 1:
        return "wikitext", "lines such as ' = Title = ' begin articles"
    if text.count("\n\n") > max(3, len(lines) // 100):
        return "paragraphs", "blank lines stand between its documents"
    return "lines", "it has no blank lines, so each line is a document"


def _language(sample: str) -> str | None:
    # Half a second and 100 MB, for this command alone.
    import py3langid

    return str(py3langid.classify(sample[:20_000])[0]) if sample.strip() else None


def _shape(
    name: str, size: float, language: str | None, *, keeps_case: bool
) -> dict[str, dict[str, Section]]:
    """Return tokenizer, data set, architecture and encoder for so many bytes of text."""
    is_small = size < 100e6
    vocab_size = 4096 if size < 5e6 else 8192 if is_small else 16_384
    tokenizer: dict[str, Any] = {"vocab_size": vocab_size}
    why = f"{vocab_size:,} pieces for a text of this size"
    if is_small and not keeps_case:
        tokenizer["lowercase"] = True
        why += ", in lower case, so that each word is seen more often"
    width, layers = (128, 2) if is_small else (256, 4)
    return {
        "tokenizers": {name: Section(tokenizer, [why])},
        "datasets": {
            name: Section(
                {"method": "segment_text", "language": language or "en", "max_length": 128},
                ["whole sentences, up to 128 tokens"],
            )
        },
        "architectures": {
            name: Section(
                {
                    "layout": "modernbert",
                    "hidden_size": width,
                    "num_hidden_layers": layers,
                    "num_attention_heads": width // 64,
                    "intermediate_size": 3 * width,
                    "max_position_embeddings": 512,
                    "layer_norm_eps": 1e-5,
                }
            )
        },
        "encoders": {
            name: Section(
                {"architecture": name, "budget": "10m" if is_small else "1h"},
                [f"python scripts/plan.py --config config.yaml {name}.yaml tells what fits here"],
            )
        },
    }


def _task(path: Path) -> Section:
    suffix = _suffix(path)
    values: dict[str, Any] = {"train": str(path), "hold_out_fraction": 0.2}
    seen = ["a fifth of the rows is held out; name a file of your own under `validation` instead"]
    if suffix in _TAGGED:
        seen.insert(0, "a word and its tag a line")
        return Section({"objective": "token_classification", **values}, seen)
    if suffix == ".json":
        seen.insert(0, "questions as SQuAD has them")
        return Section({"objective": "question_answering", **values}, seen)
    if suffix not in _TABLES:
        known = ", ".join(sorted({*_TABLES, *_TAGGED, ".json"}))
        raise ClozeError(f"{path}: its suffix tells no task; they end in {known}")
    table = _read_table(path, _TABLES[suffix])
    label, is_score = _label_column(path, table)
    first, *second = _text_columns(table, [label])
    values |= {"text_column": first, "label_column": label}
    if second:
        values["text_pair_column"] = second[0]
    if not table.header:
        values["header"] = False
        seen.append("no header: columns are numbers from 0")
    if is_score:
        values["regression"] = True
        seen.append(f"{label} holds scores")
    else:
        cells = table.column(label)
        if mark := _separator(cells):
            values |= {"objective": "multi_label_classification", "label_separator": mark}
            cells = [part for cell in cells for part in cell.split(mark)]
            seen.append(f"{label} holds several labels, with {mark!r} between them")
        counts = Counter(cells).most_common()
        shown = ", ".join(f"{value} {count:,}" for value, count in counts[:8])
        seen.append(f"{label} holds {len(counts):,} classes in the first rows: {shown}")
    seen.append(f"columns: {', '.join(table.names)}")
    return Section(values, seen)


def _label_column(path: Path, table: _Table) -> tuple[str, bool]:
    """Return the column of labels, and whether they are scores."""
    by_name = sorted(
        (name for name in table.names if name.casefold() in _LABEL_NAMES),
        key=lambda name: _LABEL_NAMES.index(name.casefold()),
    )
    for name in [*by_name, *reversed(table.names)]:
        values = table.column(name)
        distinct = len(set(values))
        if all(map(_is_number, values)) and any("." in value.rstrip("0") for value in values):
            return name, True
        # A file may be sorted by its labels.
        if name in by_name and distinct == 1:
            return name, False
        if 1 < distinct <= min(_MOST_CLASSES, max(2, _MOST_SHARE * len(values))):
            return name, distinct > 20 and all(map(_is_number, values))
    raise ClozeError(
        f"{path}: none of its columns ({', '.join(table.names)}) repeats a few values as labels "
        "do; name the column yourself under label_column (docs/your-own-task.md)"
    )


def _separator(cells: Sequence[str]) -> str | None:
    """Return what stands between several labels of a row, where that makes fewer of them."""
    for mark in (",", ";", "|"):
        parts = {part for cell in cells for part in cell.split(mark)}
        if len(parts) < len(set(cells)):
            return mark
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text_columns(table: _Table, without: Sequence[str]) -> list[str]:
    """Return the column of text, and a second one of pairs where it is as much of a text."""
    lengths = {
        name: sum(len(cell.split()) for cell in values) / max(len(values), 1)
        for name in table.names
        if name not in without and (values := table.column(name))
    }
    if not lengths:
        raise ClozeError(f"none of the columns {', '.join(table.names)} holds text")
    ordered = sorted(lengths, key=lambda name: -lengths[name])
    named = [name for name in table.names if name.casefold() in _TEXT_NAMES and name in lengths]
    if named:
        return named[:1]
    first, *rest = ordered
    is_pair = without and rest and lengths[rest[0]] >= max(3, lengths[first] / 4)
    return sorted([first, rest[0]], key=table.names.index) if is_pair else [first]


def _read_table(path: Path, format: str) -> _Table:
    """Read the first rows of a table, or of the first file of an archive."""
    for member, stream in open_members(path):
        where = str(path) if member == path.name else f"{path}: {member}"
        if format == "parquet":
            with opened_parquet(stream, where) as file:
                names = list(file.schema_arrow.names)
            stream.seek(0)
        elif format == "jsonl":
            lines = (line for line in read_lines(stream, where) if line.strip())
            records = [json_object(line, where) for line in itertools.islice(lines, _ROWS)]
            names = list(records[0]) if records else []
            rows = [[_cell(record.get(name)) for name in names] for record in records]
            return _Table(names, rows)
        else:
            return _delimited(next(read_blocks(stream, where), ""), where, format)
        found = read_values(stream, where, format, names, Dialect())
        rows = [[_cell(cell) for cell in cells] for _, cells in itertools.islice(found, _ROWS)]
        return _Table(names, rows)
    raise ClozeError(f"{path}: holds no file")


def _cell(value: Any) -> str | None:
    return None if value is None else str(value)


def _delimited(text: str, where: str, format: str) -> _Table:
    refuse(where, not_text(text[:HEAD_BYTES].encode()))
    usual = "," if format == "csv" else "\t"
    best: list[list[str]] = []
    for mark in sorted(_DELIMITERS, key=lambda mark: mark != usual):
        rows = list(_rows(text, mark, quoting=format == "csv"))
        widths = {len(row) for row in rows}
        if len(widths) == 1 and len(rows[0]) > (len(best[0]) if best else 1):
            best = rows
    if not best:
        raise ClozeError(f"{where}: no comma, tab, semicolon or bar makes columns of its rows")
    head, *body = best
    is_header = len(set(head)) == len(head) and not any(
        _is_number(cell) or len(cell) > 40 or any(cell == row[place] for row in body)
        for place, cell in enumerate(head)
    )
    names = head if is_header else [str(number) for number in range(len(head))]
    cells: list[list[str | None]] = [list(row) for row in (body if is_header else best)]
    return _Table(names, cells, is_header)


def _rows(text: str, delimiter: str, *, quoting: bool) -> Iterator[list[str]]:
    # The last line of the block may be cut.
    lines = text.split("\n")[: _ROWS + 1]
    whole = lines[:-1] if len(lines) > 1 else lines
    reader = csv.reader(
        whole, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE
    )
    yield from (row for row in reader if row)
