"""What a report says of phases of pretraining and of long texts."""

from pathlib import Path
from typing import Any

import pytest

from cloze.files import read_json
from cloze.show.report_page import PretrainingFiles, render_page
from cloze.show.report_text import render_report

KEPT = Path(__file__).parents[2] / "docs" / "reports" / "sst2-ten-minutes.json"
FULL = {"first": 0, "last": 63, "predictions": 1200, "loss": 4.5, "standard_error": 0.03}
EMPTY = {"first": 64, "last": 127, "predictions": 0, "loss": None, "standard_error": None}
COPIED = {
    "first": 128, "last": 255, "pairs": 64, "seen": 0.25, "masked": 0.125, "gain": 0.5,
    "ci95": [0.2, 0.8],
}  # fmt: skip


@pytest.fixture
def report() -> dict[str, Any]:
    kept = read_json(KEPT)
    first = {**kept["pretraining"], "dataset": "tokens-128", "loss_by_position": [FULL]}
    second = {
        "dataset": "tokens-512",
        "loss_by_position": [FULL, EMPTY],
        "repeated_words": [COPIED],
    }
    return {**kept, "phases": [first], "pretraining": {**first, **second, "steps": 7}}


def lines(report: dict[str, Any]) -> list[str]:
    return [" ".join(line.split()) for line in render_report(report).splitlines()]


def test_the_text_tells_of_every_phase(report: dict[str, Any]) -> None:
    text = lines(report)
    assert any(line.startswith("phase 1 on tokens-128: ") for line in text)
    assert any(line.startswith("pretraining last phase, on tokens-512: 7 steps, ") for line in text)
    assert [line for line in text if line.startswith("position, phase")] == [
        "position, phase 2 masked tokens loss (nats)",
        "position, phase 1 masked tokens loss (nats)",
    ]
    assert "0 to 63 1,200 4.500 ± 0.030" in text
    assert "64 to 127 0 -" in text
    assert "128 to 255 64 25.00 % 12.50 % +0.50 [+0.20, +0.80]" in text


def test_the_page_has_the_figure(report: dict[str, Any]) -> None:
    page = render_page(report, PretrainingFiles())
    assert "<title>Loss by position</title>" in page
    assert ">+0.50 [+0.20, +0.80]</td>" in page


def test_a_report_kept_from_an_earlier_version_has_no_such_section() -> None:
    kept = read_json(KEPT)
    assert "LONG TEXTS" not in lines(kept)
    assert "Long texts" not in render_page(kept, PretrainingFiles())
    assert not [line for line in lines(kept) if line.startswith("phase ")]
