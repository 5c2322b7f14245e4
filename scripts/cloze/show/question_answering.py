"""Answers in their context, as pieces of text that a report marks."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

# Of the context, on either side of an answer.
_MARGIN = 90
_GAP = " … "


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
    """Return a passage as one line: `[predicted]`, `{true}`, and `[{both}]`."""
    return " ".join("".join(_bracketed(pieces)).split())


def _bracketed(pieces: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for piece in pieces:
        text = f"{{{piece['text']}}}" if piece["true"] else piece["text"]
        yield f"[{text}]" if piece["predicted"] else text
