"""Questions whose answers are spans of a context: SQuAD's JSON, or rows with the hub's columns.

A row is a question with its context and its answers, `{text, answer_start}`, offsets in
characters; without any it cannot be answered from the context (Rajpurkar et al. 2016, 2018).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from cloze.corpus.contamination import normalized_words
from cloze.corpus.text_streams import read_values
from cloze.errors import ClozeError
from cloze.fetch.archives import open_members
from cloze.tokens.samples import split_sentences

FORMATS = ("squad", "jsonl", "parquet")
_FORMAT_OF_SUFFIX = {".json": "squad", ".jsonl": "jsonl", ".parquet": "parquet"}
# Files count a line end, a byte order mark or a character outside the BMP in other ways.
_NEAR = 32


class Answer(NamedTuple):
    """A span of a context: its text and its first character."""

    text: str
    start: int


class QuestionRow(NamedTuple):
    """One question of a file; `place` says where, as a person would look it up.

    `answers` are none where the context has none. `group`: the title of its article.
    `repaired`: how many of its answers had an offset that was a little off.
    """

    place: str
    id: str
    question: str
    context: str
    answers: list[Answer]
    group: str
    repaired: int = 0


class QuestionColumns(NamedTuple):
    """The columns of JSONL and parquet, as the hub's copies of SQuAD name them."""

    question: str = "question"
    context: str = "context"
    answers: str = "answers"
    group: str = "title"
    id: str = "id"


def read_questions(
    path: Path, format: str | None = None, columns: QuestionColumns | None = None
) -> Iterator[QuestionRow]:
    """Yield the questions of a file, a compressed file or an archive of one file.

    format: one of `FORMATS`, None for what the suffix says. Raises `ClozeError` naming file
    and question for what is missing, no text or twice there, and for an answer that does not
    stand in its context at its offset or once within a few characters of it.
    """
    members: list[str] = []
    seen: set[str] = set()
    for name, stream in open_members(path):
        members.append(name)
        if len(members) > 1:
            raise ClozeError(
                f"{path}: holds more than one file ({', '.join(members)}); unpack it and name one"
            )
        kind = format or _FORMAT_OF_SUFFIX.get(Path(name).suffix.lower())
        if kind not in FORMATS:
            raise ClozeError(
                f"{path}: a file of questions is one of {', '.join(FORMATS)}; give --format"
            )
        rows = (
            _squad_rows(stream, path)
            if kind == "squad"
            else _table_rows(stream, path, kind, columns or QuestionColumns())
        )
        for row in rows:
            if row.id in seen:
                raise ClozeError(
                    f"{path}: {row.place}: the id {row.id!r} is there twice; give each question "
                    "an id of its own"
                )
            seen.add(row.id)
            yield row


def _table_rows(
    stream: BinaryIO, path: Path, format: str, columns: QuestionColumns
) -> Iterator[QuestionRow]:
    # Two settings may name one column, such as the context for the group.
    names = list(dict.fromkeys(columns))
    for place, values in read_values(stream, str(path), format, names):
        fields = dict(zip(names, values, strict=True))
        found = {key: fields[column] for key, column in columns._asdict().items()}
        found["answers"] = _rows_of_answers(found["answers"], f"{path}: {place}")
        yield _question(found, path, place)


def _rows_of_answers(answers: Any, where: str) -> Any:
    """Return the hub's `{text: […], answer_start: […]}` as SQuAD's list of objects."""
    if not isinstance(answers, Mapping):
        return answers
    inside = f"{where}: answers"
    texts, starts = (_list_of(answers, key, inside) for key in ("text", "answer_start"))
    if len(texts) != len(starts):
        raise ClozeError(
            f"{inside} has {len(texts)} texts and {len(starts)} offsets (answer_start); "
            "give each text one"
        )
    return [
        {"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)
    ]


def _squad_rows(stream: BinaryIO, path: Path) -> Iterator[QuestionRow]:
    try:
        held = json.loads(stream.read())
    except (ValueError, RecursionError) as error:
        raise ClozeError(
            f"{path}: not JSON ({error}); a file of a question a line is --format jsonl"
        ) from error
    for number, article in enumerate(_list_of(held, "data", f"{path}: the file")):
        where = f"data[{number}]"
        paragraphs = _list_of(article, "paragraphs", f"{path}: {where}")
        # Some files name no article; its entry is one all the same.
        title = article.get("title", where)
        for index, paragraph in enumerate(paragraphs):
            inside = f"{where}.paragraphs[{index}]"
            for place, asked in enumerate(_list_of(paragraph, "qas", f"{path}: {inside}")):
                spot = f"{inside}.qas[{place}]"
                question = _object(asked, f"{path}: {spot}")
                if "context" not in paragraph:
                    raise ClozeError(f"{path}: {inside}: no key 'context'; add the paragraph")
                fields = {**question, "context": paragraph["context"], "group": title}
                yield _question(fields, path, spot)


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ClozeError(f"{where}: holds {type(value).__name__} where SQuAD has an object")
    return value


def _list_of(value: Any, key: str, where: str) -> list[Any]:
    held = _object(value, where)
    if not isinstance(held.get(key), list):
        raise ClozeError(f"{where}: has no list {key!r}; write it as SQuAD's files have it")
    return list(held[key])


def _question(fields: Mapping[str, Any], path: Path, place: str) -> QuestionRow:
    """Return a row of checked values; `fields` are named as in `QuestionRow`."""
    where = f"{path}: {place}"
    for key in ("id", "question", "answers"):
        if key not in fields:
            raise ClozeError(f"{where}: no key {key!r}; add it to the question")
    name = _text(fields["id"], "id", where)
    place = f"{place}, id {name}"
    where = f"{path}: {place}"
    question, context = (_text(fields[key], key, where) for key in ("question", "context"))
    given = fields["answers"]
    if not isinstance(given, list):
        raise ClozeError(
            f"{where}: answers holds {type(given).__name__}, not a list; write none as []"
        )
    if given and fields.get("is_impossible"):
        raise ClozeError(
            f"{where}: is_impossible is true and there are answers; correct one of the two"
        )
    found = [_answer(answer, context, where) for answer in given]
    return QuestionRow(
        place,
        name,
        question,
        context,
        [answer for answer, _ in found],
        _text(fields["group"], "title", where),
        sum(repaired for _, repaired in found),
    )


def _text(value: Any, key: str, where: str) -> str:
    """Return a text that is not blank; a whole number is one, too, as ids and titles may be."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ClozeError(f"{where}: {key} holds {type(value).__name__}, not a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ClozeError(
            f"{where}: {key} holds half of a surrogate pair, which is no character; write the file "
            "again with valid Unicode"
        ) from error
    if not value.strip():
        raise ClozeError(f"{where}: {key} is empty; write it or leave the question out")
    return value


def _answer(answer: Any, context: str, where: str) -> tuple[Answer, bool]:
    """Return an answer that stands in its context, and whether its offset had to be repaired."""
    held = _object(answer, f"{where}: answers")
    for key in ("text", "answer_start"):
        if key not in held:
            raise ClozeError(f"{where}: an answer has no key {key!r}; add it")
    text, start = _text(held["text"], "an answer", where), held["answer_start"]
    if not isinstance(start, int) or isinstance(start, bool):
        raise ClozeError(f"{where}: answer_start holds {start!r}, not a whole number")
    if start >= 0 and context.startswith(text, start):
        return Answer(text, start), False
    places = _places(text, context)
    if not places:
        raise ClozeError(
            f"{where}: the answer {text!r} does not stand in its context; correct one of the two"
        )
    near = [place for place in places if abs(place - start) <= _NEAR]
    if len(near) != 1:
        shown = ", ".join(map(str, (near or places)[:3]))
        raise ClozeError(
            f"{where}: the answer {text!r} does not stand at answer_start {start} but at {shown}; "
            "correct the offset, which counts characters from 0"
        )
    return Answer(text, near[0]), True


def _places(text: str, context: str) -> list[int]:
    """Return every place of a text in a context, overlapping ones too."""
    places, place = [], context.find(text)
    while place >= 0:
        places.append(place)
        place = context.find(text, place + 1)
    return places


def best_matching_sentence(question: str, context: str, language: str) -> Answer:
    """Return the sentence of a context that has the most words of a question, of several the first.

    Words as `normalized_words` has them, each counted once; a baseline without a model.
    """
    words = _words(question)
    place, best, most = 0, Answer("", 0), -1
    for sentence in split_sentences(context, language):
        text = sentence.strip()
        start = context.index(text, place)
        place = start + len(text)
        shared = len(words & _words(text))
        if shared > most:
            best, most = Answer(text, start), shared
    return best


def _words(text: str) -> set[str]:
    return {word for word in normalized_words(text) if word[0].isalnum()}


def describe_questions(rows: Sequence[QuestionRow]) -> dict[str, int]:
    """Return how many questions have an answer, how many articles and contexts there are."""
    return {
        "answerable": sum(bool(row.answers) for row in rows),
        "unanswerable": sum(not row.answers for row in rows),
        "contexts": len({row.context for row in rows}),
        "groups": len({row.group for row in rows}),
        "repaired_offsets": sum(row.repaired for row in rows),
    }
