"""What a report tells of tagged words: types of entities or tags, confusions, mistakes in place."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from cloze.files import resource
from cloze.pages import render
from cloze.show.figures import bars_figure
from cloze.show.kind_report import (
    MOST_MISTAKES,
    KindReport,
    Report,
    Section,
    Table,
    type_scores,
    type_table,
)
from cloze.show.text_layout import WIDTH, percent, table
from cloze.tasks.evaluations import Evaluations
from cloze.tasks.tag_scores import entities
from cloze.tasks.task import Task

_CONTEXT_LINES = 5
_CONFUSIONS = 12
# More would be legible in no figure.
_BARS = 30


class TagsReport(KindReport):
    """F1 by type, the most frequent confusions, and the sentences with the most mistakes."""

    row_name = "sentences"
    use = "tag"
    baseline_names: ClassVar = {
        "linear_crf": "linear CRF",
        "most_frequent_tag": "most frequent tag of the word",
    }

    def details(self, evaluations: Evaluations, task: Task) -> dict[str, Any]:
        """Return `types`, `confusions` and `mistakes`.

        A mistake is a sentence with `words` and, as lists of first word, last word and type, what
        is `expected` there, `missed` of it and `wrongly` found by the first seed.
        """
        first = evaluations.seeds[0]
        return {
            "scheme": task.facts["scheme"],
            "words": first.metrics["words"],
            "types": type_scores(evaluations, "per_type"),
            "confusions": first.metrics["confusions"][:_CONFUSIONS],
            "mistakes": _mistakes(evaluations, task),
        }

    def sections(self, report: Report) -> Iterator[Section]:
        """Yield the tables of types and confusions, and the sentences."""
        yield "BY TYPE, mean over seeds", table(*type_table(report["types"]))
        if report["confusions"]:
            yield "MOST FREQUENT CONFUSIONS, words of the first seed", table(*_confusions(report))
        yield "SENTENCES WITH THE MOST MISTAKES, first seed", _sentences(report)

    def page(self, report: Report) -> str:
        """Return the same, with what was expected and found marked in the sentences."""
        return render(
            resource("show/tags_report.html"),
            report=report,
            type_table=type_table(report["types"]),
            confusions=_confusions(report),
            sentences=[_marked(mistake) for mistake in report["mistakes"]],
            percent=percent,
        )

    def figure(self, report: Report) -> str:
        """Return F1 by type."""
        largest = sorted(report["types"].items(), key=lambda item: -item[1]["support"])[:_BARS]
        return bars_figure({name: part["f1"] for name, part in largest}, "F1")

    def split_counts(self, split: Report) -> str:
        """Say how many words there are, and of each type."""
        by_type = ", ".join(f"{count:,} {name}" for name, count in split["words_by_label"].items())
        return f"{split['words']:,} words: {by_type}"

    def baseline_notes(self, report: Report) -> Iterator[str]:
        """Say what the baselines read."""
        yield (
            "The CRF reads each word, its ends and its shape, and those of two words on each side. "
            "The most frequent tag of a word is that of the training split; an unknown word gets "
            "the most frequent tag of all."
        )


def _mistakes(evaluations: Evaluations, task: Task) -> list[dict[str, Any]]:
    """Return the sentences in which the first seed is wrong most often, the worst first."""
    predictions = evaluations.seeds[0].predictions
    labels, found, tokens = (
        predictions.table[name].to_pylist() for name in ("label", "prediction", "tokens")
    )
    wrong = np.array(
        [
            sum(one != other for one, other in zip(*pair, strict=True))
            for pair in zip(labels, found, strict=True)
        ]
    )
    worst = np.lexsort((np.arange(len(wrong)), -wrong))[:MOST_MISTAKES]
    return [
        {"row": int(row), "words": tokens[row], **_spans(labels[row], found[row], task)}
        for row in worst
        if wrong[row]
    ]


def _spans(labels: Sequence[int], found: Sequence[int], task: Task) -> dict[str, Any]:
    scheme = task.facts["scheme"]
    true, predicted = ([task.labels[tag] for tag in tags] for tags in (labels, found))
    if scheme == "plain":
        sides = [
            {(tag, place, place) for place, tag in enumerate(tags)} for tags in (true, predicted)
        ]
        # Of tags that every word has, those that are right would hide the others.
        expected, missed = sides[0] - sides[1], sides[0] - sides[1]
    else:
        sides = [set(entities(tags, scheme)) for tags in (true, predicted)]
        expected, missed = sides[0], sides[0] - sides[1]

    def listed(spans: set[tuple[str, int, int]]) -> list[list[Any]]:
        ordered = sorted(spans, key=lambda span: (span[1], span[2], span[0]))
        return [[first, last, kind] for kind, first, last in ordered]

    wrongly = sides[1] - sides[0]
    return {"expected": listed(expected), "missed": listed(missed), "wrongly": listed(wrongly)}


def _confusions(report: Report) -> Table:
    rows = [
        [found["label"], found["prediction"], f"{found['words']:,}"]
        for found in report["confusions"]
    ]
    return ["expected", "found", "words"], rows


def _sentences(report: Report) -> Iterator[str]:
    if not report["mistakes"]:
        yield "  none"
    indent = " " * 6
    for mistake in report["mistakes"]:
        for what in ("missed", "wrongly"):
            spans = [
                f"{kind} ({' '.join(mistake['words'][first : last + 1])})"
                for first, last, kind in mistake[what]
            ]
            name = "missed" if what == "missed" else "wrongly found"
            yield from textwrap.wrap(
                f"{name}: {', '.join(spans) or 'nothing'}", WIDTH, initial_indent="  ",
                subsequent_indent=indent, max_lines=_CONTEXT_LINES, placeholder=" …",
            )  # fmt: skip
        yield from textwrap.wrap(
            " ".join(mistake["words"]), WIDTH, initial_indent=indent, subsequent_indent=indent,
            max_lines=_CONTEXT_LINES, placeholder=" …",
        )  # fmt: skip


def _marked(mistake: Report) -> list[tuple[str, str, str]]:
    """Return a sentence in parts: text, how to mark it, and its type; in the order of reading.

    Marks: `right`, `missed`, `wrongly` or none. Where a wrong span meets a missed one, the missed
    one is marked and the other named behind it.
    """
    missed = [tuple(span) for span in mistake["missed"]]
    marks = [
        (first, last, "missed" if (first, last, kind) in missed else "right", kind)
        for first, last, kind in mistake["expected"]
    ]
    taken = {place for first, last, _, _ in marks for place in range(first, last + 1)}
    for first, last, kind in mistake["wrongly"]:
        if taken.isdisjoint(range(first, last + 1)):
            marks.append((first, last, "wrongly", kind))
        else:
            places = [n for n, (one, end, _, _) in enumerate(marks) if one <= last and first <= end]
            one, end, mark, name = marks[places[0]]
            marks[places[0]] = (one, end, mark, f"{name}, found {kind}")
    words, parts, done = mistake["words"], [], 0
    for first, last, mark, kind in sorted(marks):
        if first > done:
            parts.append((" ".join(words[done:first]), "", ""))
        parts.append((" ".join(words[first : last + 1]), mark, kind))
        done = last + 1
    if done < len(words):
        parts.append((" ".join(words[done:]), "", ""))
    return parts
