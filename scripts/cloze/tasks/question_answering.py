"""Questions whose answers are spans of a context: SQuAD's JSON, or rows with the hub's columns.

A row is a question with its context and its answers, `{text, answer_start}`, offsets in
characters; without any it cannot be answered from the context (Rajpurkar et al. 2016, 2018).
"""

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from cloze.cli import log
from cloze.contents import HEAD_BYTES, not_text, refuse, web_page
from cloze.corpus.contamination import normalized_words
from cloze.corpus.tables import read_values
from cloze.corpus.text_streams import require_text
from cloze.errors import ClozeError, shortened
from cloze.settings.tasks import METRICS_OF
from cloze.tasks.answers import answer_metrics, answer_scores
from cloze.tasks.kind import Baseline, LeftOut, Outcome, TaskKind, open_single
from cloze.tasks.labels import shown_files
from cloze.tasks.task import Task, TaskSplit
from cloze.tokens.samples import split_sentences

_FORMATS = ("squad", "jsonl", "parquet")
# As the hub's copies of SQuAD have them.
_ANSWERS = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])
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


class Questions(TaskKind):
    """Questions as `texts`, contexts as `pairs`; a label is a dict of answers as in `_ANSWERS`."""

    metrics = METRICS_OF["question_answering"]
    # One question may be asked of every context.
    joins_first_texts = False
    columns: ClassVar = {"id": pa.string(), "repaired": pa.int32()}

    def read(self, settings: Namespace, path: Path, left_out: LeftOut) -> Iterator[QuestionRow]:
        """Yield the questions of a file.

        Raises `ClozeError` naming file and question for what is missing, no text or there twice,
        and for an answer that does not stand in its context at its offset or once near it.
        """
        seen: set[str] = set()
        for format, stream in open_single(settings, path, _FORMATS):
            rows = (
                _squad_rows(stream, path, left_out)
                if format == "squad"
                else _table_rows(stream, path, format, _columns(settings), left_out)
            )
            for row in rows:
                with left_out.row(path, row.place):
                    if row.id in seen:
                        raise ClozeError(
                            f"{path}: {row.place}: the id {row.id!r} is there twice; give each "
                            "question an id of its own"
                        )
                    seen.add(row.id)
                    yield row

    def label_names(self, settings: Namespace, train: Sequence[QuestionRow]) -> list[str]:
        """Return none; raises `ClozeError` for labels, and if no question has an answer."""
        if settings.labels:
            raise ClozeError("--labels: questions have answers and no labels; leave it out")
        if train and not any(row.answers for row in train):
            raise ClozeError(
                f"{shown_files(settings.train)}: no question has an answer, so none can be learnt; "
                "name the column of answers with --label-column"
            )
        return []

    def facts(self, settings: Namespace) -> dict[str, Any]:
        """Return the language of the answers."""
        return {"language": settings.language}

    def encode(self, path: Path, rows: Sequence[QuestionRow], names: Sequence[str]) -> TaskSplit:
        """Return questions and contexts as pairs; says how many offsets were repaired."""
        if not rows:
            raise ClozeError(f"{path}: has no questions")
        repaired = sum(row.repaired for row in rows)
        if repaired:
            log.warning("%s: the offsets of %d answers were off and are repaired", path, repaired)
        labels = np.empty(len(rows), dtype=object)
        for position, row in enumerate(rows):
            labels[position] = {
                "text": [answer.text for answer in row.answers],
                "answer_start": [answer.start for answer in row.answers],
            }
        return TaskSplit(
            [row.question for row in rows],
            labels,
            [row.context for row in rows],
            [row.group for row in rows],
            {
                "id": pa.array([row.id for row in rows], pa.string()),
                "repaired": pa.array([row.repaired for row in rows], pa.int32()),
            },
            _ANSWERS,
            self.joins_first_texts,
        )

    def describe(self, split: TaskSplit, names: Sequence[str]) -> dict[str, Any]:
        """Return how many questions have an answer, how many contexts and articles there are."""
        answerable = int(is_answerable(split).sum())
        return {
            "answerable": answerable,
            "unanswerable": len(split) - answerable,
            "contexts": len(set(split.pairs or ())),
            "articles": len(set(split.groups or ())),
            "repaired_offsets": sum(split.columns["repaired"].to_pylist()),
        }

    def labels_from_arrow(self, column: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
        """Return an object array of dicts with `text` and `answer_start`."""
        found = np.empty(len(column), dtype=object)
        found[:] = column.cast(_ANSWERS).to_pylist()
        return found

    def baselines(
        self, task: Task, train: TaskSplit, splits: Mapping[str, TaskSplit], seed: int
    ) -> dict[str, Baseline]:
        """Return the sentence with the most words of the question and, if there are, no answers."""
        language = str(task.facts["language"])

        def sentences(split: TaskSplit) -> AnswerPredictions:
            rows = zip(split.texts, split.pairs or (), strict=True)
            found = [best_matching_sentence(*row, language) for row in rows]
            starts = np.array([answer.start for answer in found])
            return AnswerPredictions.certain(starts, starts + [len(a.text) for a in found])

        def nothing(split: TaskSplit) -> AnswerPredictions:
            return AnswerPredictions.certain(*np.zeros((2, len(split)), dtype=np.int64))

        chosen = {"matching_sentence": sentences}
        if not is_answerable(train).all():
            chosen["never_answers"] = nothing
        return {
            name: Baseline(
                {key: answers_outcome(task, split, find(split)) for key, split in splits.items()}
            )
            for name, find in chosen.items()
        }


@dataclass(frozen=True)
class AnswerPredictions:
    """An answer to each question of a split.

    `starts`, `ends` int64 [num_questions]: characters of the context, equal where no answer is
    given. `scores` float64 [num_questions]: how probable what is said is; `null_probabilities`
    float64 [num_questions]: that of no answer.
    """

    starts: np.ndarray
    ends: np.ndarray
    scores: np.ndarray
    null_probabilities: np.ndarray

    @classmethod
    def certain(cls, starts: np.ndarray, ends: np.ndarray) -> "AnswerPredictions":
        """Return answers that know no probabilities."""
        return cls(starts, ends, np.ones(len(starts)), (starts == ends).astype(np.float64))

    def texts(self, contexts: Sequence[str]) -> list[str]:
        """Return the answers, empty where none is given."""
        bounds = zip(contexts, self.starts.tolist(), self.ends.tolist(), strict=True)
        return [context[start:end] for context, start, end in bounds]


def is_answerable(split: TaskSplit) -> np.ndarray:
    """bool [num_questions]: has the context an answer?"""
    return np.array([bool(answers["text"]) for answers in split.labels])


def scores_of_answers(task: Task, split: TaskSplit, texts: Sequence[str]) -> np.ndarray:
    """Return exact match and F1 of an answer to each question, float64 [num_questions, 2]."""
    language = str(task.facts["language"])
    rows = zip(texts, split.labels, strict=True)
    return np.array([answer_scores(text, answers["text"], language) for text, answers in rows])


def answers_outcome(task: Task, split: TaskSplit, found: AnswerPredictions) -> Outcome:
    """Return what answers are worth; see `answer_metrics`. Statistics: the task's metric and 1."""
    texts = found.texts(split.pairs or ())
    scores = scores_of_answers(task, split, texts)
    measured = answer_metrics(scores, is_answerable(split))
    columns = {
        "id": split.columns["id"],
        "label": split.label_array(),
        "prediction": pa.array(texts, pa.string()),
        "start": pa.array(found.starts, pa.int32()),
        "end": pa.array(found.ends, pa.int32()),
        "score": pa.array(found.scores, pa.float64()),
        "no_answer_probability": pa.array(found.null_probabilities, pa.float64()),
        "exact_match": pa.array(scores[:, 0], pa.float64()),
        "answer_f1": pa.array(scores[:, 1], pa.float64()),
    }
    values = scores[:, ("exact_match", "answer_f1").index(task.metric)]
    statistics = np.stack([values, np.ones(len(values))], axis=1)
    return Outcome(
        {"metric": task.metric, "score": measured[task.metric], **measured}, columns, statistics
    )


def _columns(settings: Namespace) -> QuestionColumns:
    """Return the columns that the settings name, else those of the hub."""
    given = {
        "question": settings.text_column,
        "context": settings.text_pair_column,
        "answers": settings.label_column,
        "group": settings.group_column,
    }
    return QuestionColumns(**{key: name for key, name in given.items() if name is not None})


def _table_rows(
    stream: BinaryIO, path: Path, format: str, columns: QuestionColumns, left_out: LeftOut
) -> Iterator[QuestionRow]:
    # Two settings may name one column, such as the context for the group.
    names = list(dict.fromkeys(columns))
    on_bad_row = partial(left_out.add, path)
    for place, values in read_values(stream, str(path), format, names, on_bad_row=on_bad_row):
        fields = dict(zip(names, values, strict=True))
        found = {key: fields[column] for key, column in columns._asdict().items()}
        with left_out.row(path, place):
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


def _squad_rows(stream: BinaryIO, path: Path, left_out: LeftOut) -> Iterator[QuestionRow]:
    data = stream.read()
    try:
        held = json.loads(data)
    except (ValueError, RecursionError) as error:
        head = data[:HEAD_BYTES]
        refuse(str(path), not_text(head) or web_page(head))
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
                with left_out.row(path, spot):
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
    require_text(value, f"{where}: {key}")
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
        raise ClozeError(f"{where}: answer_start holds {shortened(start)}, not a whole number")
    if start >= 0 and context.startswith(text, start):
        return Answer(text, start), False
    places = _places(text, context)
    if not places:
        raise ClozeError(
            f"{where}: the answer {shortened(text)} does not stand in its context; "
            "correct one of the two"
        )
    near = [place for place in places if abs(place - start) <= _NEAR]
    if len(near) != 1:
        shown = ", ".join(map(str, (near or places)[:3]))
        raise ClozeError(
            f"{where}: the answer {shortened(text)} does not stand at answer_start {start} but at "
            f"{shown}; correct the offset, which counts characters from 0"
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
