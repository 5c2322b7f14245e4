"""What a report tells of vectors: neighbours of texts, and where cosines or rankings are wrong."""

import textwrap
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from scipy.stats import rankdata

from cloze.files import resource
from cloze.pages import render
from cloze.show.figures import bars_figure, cosines_figure, for_a_page
from cloze.show.kind_report import MOST_MISTAKES, KindReport, Report, Section
from cloze.show.text_layout import WIDTH
from cloze.tasks.evaluations import Evaluations
from cloze.tasks.sentence_similarity import collection_of
from cloze.tasks.task import Task

_POINTS = 1_000
_TEXT_LINES = 3
_RANKING_MEASURES = {
    "ndcg_at_10": "nDCG@10",
    "mrr_at_10": "MRR@10",
    "recall_at_10": "recall@10",
    "recall_at_100": "recall@100",
}


class VectorsReport(KindReport):
    """The nearest neighbours of some texts, and the pairs or queries that come out worst."""

    row_name = "rows"
    use = "embed"
    baseline_names: ClassVar = {"bm25": "BM25", "tfidf_cosine": "TF-IDF cosine"}

    def details(self, evaluations: Evaluations, task: Task) -> dict[str, Any]:
        """Return `neighbours` and `mistakes`, of pairs with scores also `scatter`.

        A mistake is a `row` with `text` and either `text_pair`, `label` and `prediction`, or
        `answer`, a relevant document, and `found`, the one that the first seed ranks first.
        """
        neighbours = {"neighbours": evaluations.seeds[0].metrics["neighbours"]}
        if evaluations.statistics is not None:
            return {**neighbours, "mistakes": _worst_queries(evaluations, task)}
        return {
            **neighbours,
            "scatter": _scatter(evaluations),
            "mistakes": _worst_pairs(evaluations),
        }

    def sections(self, report: Report) -> Iterator[Section]:
        """Yield the neighbours and the mistakes."""
        yield "NEAREST NEIGHBOURS, first seed", _neighbours(report)
        yield _worst_heading(report), _mistakes(report)

    def page(self, report: Report) -> str:
        """Return the same with a figure."""
        return render(
            resource("show/vectors_report.html"),
            report=report,
            measures=_measures(report),
            figure=for_a_page(self.figure(report), "How vectors do"),
            heading=_worst_heading(report).capitalize(),
            headings=[_heading(mistake) for mistake in report["mistakes"]],
        )

    def figure(self, report: Report) -> str:
        """Return cosines by score, or bars of the measures of a ranking."""
        if "scatter" in report:
            return cosines_figure(report["scatter"])
        return bars_figure(_measures(report), "mean over queries")

    def split_counts(self, split: Report) -> str:
        """Say what the rows of a split are."""
        if "documents" in split:
            relevant = split["relevant_documents"]
            return f"queries; {split['documents']:,} documents, {relevant:,} relevant"
        if "scores" in split:
            scores = split["scores"]
            return f"pairs; scores {scores['min']:g} to {scores['max']:g}"
        return "texts or pairs without a score"

    def baseline_notes(self, report: Report) -> Iterator[str]:
        """Say what the baselines read."""
        if "bm25" in report["baselines"]:
            yield "BM25 and TF-IDF compare words as they are written, without stems or stop words."
        else:
            yield "TF-IDF compares words as they are written, without stems or stop words."


def _measures(report: Report) -> dict[str, float]:
    measures = report["measures"]
    named = {**_RANKING_MEASURES, "spearman": "Spearman", "pearson": "Pearson"}
    return {shown: measures[name] for name, shown in named.items() if name in measures}


def _scatter(evaluations: Evaluations) -> list[list[float]]:
    """Return [score, mean cosine] of at most 1,000 rows, evenly spread."""
    cosines = evaluations.predictions.mean(axis=0)
    rows = np.linspace(0, len(cosines) - 1, min(_POINTS, len(cosines))).astype(int)
    pairs = np.stack([evaluations.labels[rows], cosines[rows]], axis=1)
    return [[float(score), float(cosine)] for score, cosine in pairs.round(4)]


def _worst_pairs(evaluations: Evaluations) -> list[dict[str, Any]]:
    """Return the rows whose cosine has another rank than their score, the furthest first."""
    cosines, first = evaluations.predictions.mean(axis=0), evaluations.seeds[0].predictions
    distance = np.abs(rankdata(cosines) - rankdata(evaluations.labels))
    worst = np.lexsort((np.arange(len(distance)), -distance))[:MOST_MISTAKES]
    assert first.pairs is not None
    return [
        {
            "row": int(row),
            "text": first.texts[row],
            "text_pair": first.pairs[row],
            "label": float(evaluations.labels[row]),
            "prediction": float(cosines[row]),
        }
        for row in worst
    ]


def _worst_queries(evaluations: Evaluations, task: Task) -> list[dict[str, Any]]:
    """Return the queries with the lowest score over the seeds, the lowest first."""
    statistics, first = evaluations.statistics, evaluations.seeds[0]
    assert statistics is not None
    values = statistics[..., 0].mean(axis=0)
    documents = collection_of(task.split(first.metrics["split"])).documents
    texts = dict(zip(documents.ids, documents.texts, strict=True))
    labels, rankings = (
        first.predictions.table[name].to_pylist() for name in ("label", "prediction")
    )
    worst = np.lexsort((np.arange(len(values)), values))[:MOST_MISTAKES]
    return [
        {
            "row": int(row),
            "text": first.predictions.texts[row],
            "score": float(values[row]),
            "answer": texts[labels[row][0]],
            "found": texts[rankings[row][0]],
        }
        for row in worst
        if values[row] < 1
    ]


def _worst_heading(report: Report) -> str:
    if "scatter" in report:
        return "PAIRS WHOSE COSINE IS THE FURTHEST FROM ITS PLACE, mean over seeds"
    return "QUERIES THAT COME OUT WORST, mean over seeds"


def _heading(mistake: Report) -> str:
    if "text_pair" in mistake:
        return f"score {mistake['label']:g}, cosine {mistake['prediction']:.2f}"
    return f"{mistake['score']:.2f} for its query"


def _neighbours(report: Report) -> Iterator[str]:
    for entry in report["neighbours"]:
        yield from _wrapped(entry["text"], "  ")
        for neighbour in entry["neighbours"]:
            yield from _wrapped(f"{neighbour['cosine']:.2f}  {neighbour['text']}", " " * 6)


def _mistakes(report: Report) -> Iterator[str]:
    if not report["mistakes"]:
        yield "  none"
    for mistake in report["mistakes"]:
        yield f"  {_heading(mistake)}"
        yield from _wrapped(mistake["text"], " " * 6)
        if "text_pair" in mistake:
            yield from _wrapped(mistake["text_pair"], " " * 6)
        else:
            yield from _wrapped(f"answer: {mistake['answer']}", " " * 6)
            yield from _wrapped(f"first: {mistake['found']}", " " * 6)


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, max_lines=_TEXT_LINES,
        placeholder=" …",
    )  # fmt: skip
