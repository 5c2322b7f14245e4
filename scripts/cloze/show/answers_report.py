"""What a report tells of answers to questions: both measures, and mistakes in their context."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar

import numpy as np

from cloze.files import resource
from cloze.pages import render
from cloze.show.figures import bars_figure
from cloze.show.kind_report import MOST_MISTAKES, KindReport, Report, Section, Table
from cloze.show.text_layout import METRIC_NAMES, WIDTH, paragraph, percent, table
from cloze.tasks.evaluations import Evaluations
from cloze.tasks.statistics import paired_bootstrap
from cloze.tasks.task import Task

_MEASURES = ("exact_match", "answer_f1")
_KINDS = ("answerable", "unanswerable")
# Of the context, on either side of an answer.
_MARGIN = 90
_GAP = " … "
_PASSAGE_LINES = 6


class AnswersReport(KindReport):
    """Exact match and F1 of all questions and of those with and without an answer; mistakes."""

    row_name = "questions"
    use = "answer"
    baseline_names: ClassVar = {
        "matching_sentence": "the sentence with most words of the question",
        "never_answers": "never an answer",
    }

    def details(self, evaluations: Evaluations, task: Task) -> dict[str, Any]:
        """Return `answers`, `decoding`, `null_thresholds` of the seeds and `mistakes`.

        `answers`: of all questions, and of those with and without an answer where there are both,
        their number, means over the seeds and their intervals over the questions. A mistake is a
        question that the first seed gets wrong, with what is expected and its `passage`.
        """
        return {
            "answers": _measured(evaluations),
            "decoding": evaluations.seeds[0].metrics["decoding"],
            "null_thresholds": evaluations.values("decoding", "null_threshold"),
            "mistakes": _mistakes(evaluations),
        }

    def sections(self, report: Report) -> Iterator[Section]:
        """Yield the measures, how contexts were read, and the mistakes."""
        yield "ANSWERS, mean over seeds, 95 % intervals over questions", table(*_table(report))
        yield "CONTEXTS", [line for note in _notes(report) for line in paragraph(note)]
        yield "MOST CONFIDENT MISTAKES of the first seed: [given] {expected}", _shown(report)

    def page(self, report: Report) -> str:
        """Return the same, with the answers marked in their context."""
        return render(
            resource("show/answers_report.html"),
            report=report,
            table=_table(report),
            notes=list(_notes(report)),
            headings=_headings(report),
        )

    def figure(self, report: Report) -> str:
        """Return both measures of all questions and of their kinds."""
        shares = {
            f"{METRIC_NAMES[measure]}, {kind}": part[measure]["mean"]
            for kind, part in report["answers"].items()
            for measure in _MEASURES
        }
        return bars_figure(shares, "share of the questions, mean F1")

    def split_counts(self, split: Report) -> str:
        """Say how many questions have an answer, and how many contexts and articles there are."""
        return (
            f"{split['answerable']:,} with an answer, {split['unanswerable']:,} without, on "
            f"{split['contexts']:,} contexts of {split['articles']:,} articles"
        )

    def baseline_notes(self, report: Report) -> Iterator[str]:
        """Say what the baseline does."""
        yield (
            "The baseline answers with the whole sentence of the context that has the most words "
            "of the question, so it is hardly ever an exact match."
        )


def _measured(evaluations: Evaluations) -> dict[str, Any]:
    values = {
        name: np.array([seed.predictions.table[name].to_numpy() for seed in evaluations.seeds])
        for name in _MEASURES
    }
    labels = evaluations.seeds[0].predictions.table["label"].to_pylist()
    has_answer = np.array([bool(answers["text"]) for answers in labels])
    kinds = {"all": np.ones(len(labels), dtype=bool)}
    if has_answer.any() and not has_answer.all():
        kinds |= dict(zip(_KINDS, (has_answer, ~has_answer), strict=True))
    return {
        kind: {
            "examples": int(rows.sum()),
            **{name: _with_interval(found[:, rows]) for name, found in values.items()},
        }
        for kind, rows in kinds.items()
    }


def _with_interval(values: np.ndarray) -> dict[str, Any]:
    """Return the mean of [num_seeds, num_questions] and its bootstrap interval over questions."""
    found = paired_bootstrap(values, np.zeros((1, values.shape[1])))
    return {"mean": found.difference, "ci95": list(found.ci95)}


def _mistakes(evaluations: Evaluations) -> list[dict[str, Any]]:
    """Return the questions that the first seed gets wrong, the surest first.

    A part of the right answer is a lesser mistake, by its F1.
    """
    table = evaluations.seeds[0].predictions.table
    f1, exact, scores = (table[name].to_numpy() for name in ("answer_f1", "exact_match", "score"))
    right = np.mean(
        [seed.predictions.table["exact_match"].to_numpy() for seed in evaluations.seeds], axis=0
    )
    severity = np.where(exact == 1, 0.0, (1 - f1) * scores)
    worst = np.lexsort((np.arange(len(f1)), -severity))[:MOST_MISTAKES]
    chosen = [row for row in worst if severity[row] > 0]
    return [
        _mistake(record, f1, float(1 - right[row]) * len(evaluations.seeds))
        for row, f1, record in (
            (row, float(f1[row]), table.slice(row, 1).to_pylist()[0]) for row in chosen
        )
    ]


def _mistake(record: Mapping[str, Any], f1: float, seeds_wrong: float) -> dict[str, Any]:
    true = [
        (start, start + len(text))
        for text, start in zip(
            record["label"]["text"], record["label"]["answer_start"], strict=True
        )
    ]
    return {
        "row": record["row"],
        "id": record["id"],
        "question": record["text"],
        "prediction": record["prediction"],
        "score": record["score"],
        "answer_f1": f1,
        # The most frequent one first.
        "expected": [text for text, _ in Counter(record["label"]["text"]).most_common()],
        "seeds_wrong": round(seeds_wrong),
        "passage": marked_passage(record["text_pair"], (record["start"], record["end"]), true),
    }


def _table(report: Report) -> Table:
    header = ["questions", "number", *(METRIC_NAMES[measure] for measure in _MEASURES)]
    rows = [
        [kind, f"{part['examples']:,}", *(_interval(part[measure]) for measure in _MEASURES)]
        for kind, part in report["answers"].items()
    ]
    return header, rows


def _interval(found: Mapping[str, Any]) -> str:
    low, high = map(percent, found["ci95"])
    return f"{percent(found['mean'])} [{low}, {high}]"


def _notes(report: Report) -> Iterator[str]:
    windows, examples = report["decoding"], report["examples"]
    yield (
        f"{windows['questions_in_windows']:,} of {examples:,} {report['split']} questions have a "
        f"context that was read in several windows; there were {windows['windows']:,} windows."
    )
    thresholds = [value for value in report["null_thresholds"].values() if value is not None]
    if thresholds:
        shown = ", ".join(f"{value:.2f}" for value in thresholds)
        yield (
            "No answer is given where its score is higher than the best one's by more than "
            f"{shown} (a seed each), chosen on held-out training rows; 0 without such rows."
        )
    repaired = {
        split: facts["repaired_offsets"]
        for split, facts in report["task"]["splits"].items()
        if facts["repaired_offsets"]
    }
    if repaired:
        shown = ", ".join(f"{count:,} in {split}" for split, count in repaired.items())
        yield f"Offsets of answers that were a little off were repaired: {shown}."


def _headings(report: Report) -> list[str]:
    seeds = len(report["score"]["per_seed"])
    return [
        f"{_said(mistake)}; {mistake['seeds_wrong']} of {seeds} seeds wrong"
        for mistake in report["mistakes"]
    ]


def _said(mistake: Mapping[str, Any]) -> str:
    given = f"\u201c{mistake['prediction']}\u201d" if mistake["prediction"] else "no answer"
    expected = " or ".join(f"\u201c{text}\u201d" for text in mistake["expected"]) or "no answer"
    return f"{given} ({percent(mistake['score'])} %), expected {expected}"


def _shown(report: Report) -> Iterator[str]:
    if not report["mistakes"]:
        yield "  none"
    indent = " " * 6
    for mistake, heading in zip(report["mistakes"], _headings(report), strict=True):
        yield from textwrap.wrap(
            mistake["question"], WIDTH, initial_indent="  ", subsequent_indent=indent
        )
        for text in (heading, passage_text(mistake["passage"])):
            yield from textwrap.wrap(
                text, WIDTH, initial_indent=indent, subsequent_indent=indent,
                max_lines=_PASSAGE_LINES, placeholder=" …",
            )  # fmt: skip


def marked_passage(
    context: str, predicted: tuple[int, int], true: Sequence[tuple[int, int]]
) -> list[dict[str, Any]]:
    """Return what stands around answers: pieces `text`, each `predicted`, `true`, both or neither.

    predicted, true: first character of an answer and one past the last, equal where there is
    none. Of a context without any the start is returned; what is left out is an ellipsis.
    """
    length = len(context)
    marks = np.zeros((2, length), np.bool_)
    shown = np.zeros(length, np.bool_)
    for row, (start, end) in ((0, predicted), *((1, span) for span in true)):
        marks[row, start:end] = True
        if start < end:
            shown[max(0, start - _MARGIN) : end + _MARGIN] = True
    if not shown.any():
        shown[: 2 * _MARGIN] = True
    pieces = []
    for (is_shown, *flags), places in groupby(
        range(length), key=lambda place: (shown[place], *marks[:, place])
    ):
        run = list(places)
        text = context[run[0] : run[-1] + 1] if is_shown else _GAP
        pieces.append({"text": text, "predicted": bool(flags[0]), "true": bool(flags[1])})
    return pieces


def passage_text(pieces: Sequence[Mapping[str, Any]]) -> str:
    """Return a passage as one line: `[given]`, `{expected}`, and `[{both}]`."""
    marked = ""
    before: Mapping[str, Any] = {"predicted": False, "true": False}
    for piece in [*pieces, {**before, "text": ""}]:
        for flag, end in (("true", "}"), ("predicted", "]")):
            marked += end if before[flag] and not piece[flag] else ""
        for flag, start in (("predicted", "["), ("true", "{")):
            marked += start if piece[flag] and not before[flag] else ""
        marked, before = marked + piece["text"], piece
    return " ".join(marked.split())
