"""Lines, tables and numbers of a report for a terminal."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tabulate import tabulate

WIDTH = 88
METRIC_NAMES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "macro_f1": "macro F1",
    "matthews": "Matthews correlation",
    "accuracy_and_f1": "mean of accuracy and F1",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "pearson_and_spearman": "mean of Pearson and Spearman correlation",
    "ndcg_at_10": "nDCG@10",
    "recall_at_10": "recall@10",
    "recall_at_100": "recall@100",
    "mrr_at_10": "MRR@10",
    "entity_f1": "F1 of entities",
    "token_accuracy": "accuracy of words",
    "micro_f1": "micro F1",
    "answer_f1": "F1 of answers",
    "exact_match": "exact match",
}


def percent(share: float | None) -> str:
    """Return a share of 1 as percent with two decimals, or a dash."""
    return "-" if share is None else f"{100 * share:.2f}"


def unit(metric: str) -> str:
    """Return what stands behind a score: only an accuracy is a percentage of something."""
    return " %" if metric in ("accuracy", "token_accuracy", "exact_match") else ""


def with_deviation(score: Mapping[str, Any]) -> str:
    """Return `92.43 % ± 4.36`: a score over seeds, times 100."""
    text = f"{percent(score['mean'])}{unit(score['metric'])}"
    return text if score["std"] is None else f"{text} ± {percent(score['std'])}"


def mean_count(count: float) -> str:
    """Return a count that is a mean over seeds: `10,312` or `419.7`."""
    return f"{count:,.1f}".removesuffix(".0")


def short_number(value: float) -> str:
    """Return an integer whole, another number with four digits, or all before its point."""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def shown_value(value: Any) -> str:
    """Return a value of a table: a number short, yes or no, a dash for nothing."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return short_number(value) if isinstance(value, int | float) else str(value)


def points(difference: Mapping[str, Any]) -> str:
    """Return a difference with its interval, times 100."""
    low, high = (100 * bound for bound in difference["ci95"])
    return f"{100 * difference['difference']:+.2f} [{low:+.2f}, {high:+.2f}]"


def pairs(named: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield `name  value` lines with the values in one column, wrapped."""
    found = list(named)
    width = max(len(name) for name, _ in found) + 2
    for name, value in found:
        hanging = " " * (width + 2)
        first = f"  {name:<{width}}"
        yield from textwrap.wrap(
            value or "-", WIDTH, initial_indent=first, subsequent_indent=hanging
        )


def aligned(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table's lines: the first column to the left, all others to the right."""
    alignment = ("left", *["right"] * (len(header) - 1))
    # As a row, because tabulate makes columns wider than their headers.
    text = tabulate([header, *rows], tablefmt="plain", colalign=alignment, disable_numparse=True)
    return [line.rstrip() for line in text.splitlines()]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of `aligned`, indented as a report's are."""
    return [f"  {line}".rstrip() for line in aligned(header, rows)]


def paragraph(text: str) -> list[str]:
    """Return a text as indented lines."""
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def settings(recipe: Mapping[str, Any]) -> str:
    """Return the settings of a training on one line, its seed apart."""
    shown = (f"{key.replace('_', ' ')} {_short(recipe[key])}" for key in recipe if key != "seed")
    return ", ".join(shown) or "settings not recorded"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
