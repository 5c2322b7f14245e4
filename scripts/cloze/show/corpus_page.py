"""The page that shows a corpus: one HTML file with its figures, for a phone and a desktop."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import (
    EngFormatter,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    PercentFormatter,
)

from cloze.files import resource
from cloze.pages import render
from cloze.show.figures import FIRST, SECOND, drawing, for_a_page

FIGURES = {
    "document_lengths": "Documents by length, in tokens",
    "sample_lengths": "Sentences and samples by length, in tokens",
    "row_fill": "Rows by how full they are",
    "token_frequencies": "Tokens by frequency",
}
_SIZE = (4.4, 2.7)
_TICKS = 8
_CAPTIONS = {
    "document_lengths": "The lower axis is logarithmic.",
    "sample_lengths": "A sample is at most as long as the data set's max_length.",
    "row_fill": "A row holds whole samples; what they leave free is padding.",
    "token_frequencies": "Both axes are logarithmic; natural text is close to a straight line.",
}


def render_page(facts: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """Return the page for what `describe_corpus` and `draw_figures` returned."""
    return render(
        resource("show/corpus_page.html"),
        facts=facts,
        title=" · ".join(facts["recipe"].values()) or "A corpus",
        tiles=_tiles(facts),
        splits=_splits(facts["splits"]),
        lengths=_lengths(facts),
        figures=[
            (FIGURES[name], for_a_page(figures[name], FIGURES[name]), _CAPTIONS[name])
            for name in FIGURES
        ],
        dropped=[(why.replace("_", " "), f"{n:,}") for why, n in facts["dropped"].items()],
        words_of=_words,
    )


def _tiles(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    splits = facts["splits"].values()
    yield "documents", _total(splits, "documents"), "in all splits"
    yield "words", _total(splits, "words"), "between white space"
    yield "bytes", _total(splits, "bytes"), "of UTF-8 text"
    yield "tokens", f"{facts['text_tokens']:,}", "of training text"
    yield "tokens a word", f"{facts['tokens_per_word']:.3f}", "training text"
    yield "bytes a token", f"{facts['bytes_per_token']:.2f}", "training text"
    yield "unknown", _percent(facts["vocabulary"]["unknown_share"], 4), "of the text's tokens"
    yield "rows filled", _percent(facts["row_fill"], 2), f"of {facts['row_length']} tokens"
    yield "duplicates", f"{facts['duplicates']:,}", "documents dropped"


def _splits(splits: Mapping[str, Mapping[str, int]]) -> tuple[list[str], list[list[str]]]:
    counts = dict.fromkeys(count for split in splits.values() for count in split)
    rows = [
        [name, *(f"{split[name]:,}" if name in split else "–" for split in splits.values())]
        for name in counts
    ]
    return ["", *splits], rows


def _lengths(facts: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    summaries = {name: lengths["summary"] for name, lengths in facts["lengths"].items()}
    summaries = {name: summary for name, summary in summaries.items() if summary}
    measures = dict.fromkeys(measure for s in summaries.values() for measure in s)
    rows = [[name, *(_number(s[name]) for s in summaries.values())] for name in measures]
    return ["", *summaries], rows


def _words(tokens: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    numbers = itertools.accumulate(int(token["starts_word"]) for token in tokens)
    pairs = zip(numbers, tokens, strict=True)
    for _, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
        yield [token for _, token in group]


def _number(value: float) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def _total(splits: Iterable[Mapping[str, int]], column: str) -> str:
    return f"{sum(split[column] for split in splits):,}"


def _percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f} %"


def draw_figures(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return name to SVG of each of `FIGURES`; the same facts give the same text.

    `facts` is what `cloze.show.corpus.describe_corpus` returns.
    """
    draw = {
        "document_lengths": _draw_documents,
        "sample_lengths": _draw_samples,
        "row_fill": _draw_fill,
        "token_frequencies": _draw_frequencies,
    }
    return {name: drawing(partial(draw[name], facts=facts), _SIZE) for name in FIGURES}


def _draw_documents(axes: Axes, facts: Mapping[str, Any]) -> None:
    lengths = facts["lengths"]["document"]
    axes.stairs(lengths["counts"], lengths["edges"], fill=True, color=FIRST)
    axes.set_xscale("log")
    low, high = lengths["edges"][0], lengths["edges"][-1]
    axes.set_xlim(low, high)
    axes.set_xticks(_round_numbers(low, high), minor=False)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("tokens in a document")
    axes.set_ylabel("documents")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))


def _round_numbers(low: int, high: int) -> list[int]:
    """Return numbers for a logarithmic axis: as many as it has room for."""
    for steps in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,)):
        numbers = [step * 10**power for power in range(len(str(high))) for step in steps]
        shown = [int(number) for number in numbers if low <= number <= high and number % 1 == 0]
        if len(shown) <= _TICKS:
            break
    return shown


def _draw_samples(axes: Axes, facts: Mapping[str, Any]) -> None:
    for name, colour, label in (
        ("sentence", SECOND, "sentences"),
        ("sample", FIRST, "samples"),
    ):
        lengths = facts["lengths"][name]
        if total := sum(lengths["counts"]):
            shares = [count / total for count in lengths["counts"]]
            axes.stairs(shares, lengths["edges"], color=colour, linewidth=1.6, label=label)
    axes.set_xlabel("tokens")
    axes.set_ylabel("share")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylim(bottom=0)
    axes.legend()


def _draw_fill(axes: Axes, facts: Mapping[str, Any]) -> None:
    lengths = facts["lengths"]["row"]
    full = facts["row_length"]
    edges = [100 * (edge - 1) / full for edge in lengths["edges"]]
    total = max(sum(lengths["counts"]), 1)
    shares = [count / total for count in lengths["counts"]]
    axes.stairs(shares, edges, fill=True, color=FIRST)
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"fill, % of {full} tokens")
    axes.set_ylabel("share of the rows")
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _draw_frequencies(axes: Axes, facts: Mapping[str, Any]) -> None:
    points = facts["vocabulary"]["frequency_by_rank"]
    axes.loglog(*zip(*points, strict=True), color=FIRST, linewidth=1.6)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(EngFormatter(sep=""))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("rank of the token")
    axes.set_ylabel("occurrences")
