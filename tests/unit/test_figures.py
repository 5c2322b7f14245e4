"""Figures of runs and reports: what they show, and that a label is never more than its words."""

from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from cloze.show.corpus_page import _draw_frequencies
from cloze.show.figures import (
    confusion_figure,
    draw_losses,
    draw_schedules,
    drawing,
    for_a_file,
    for_a_page,
    loss_curve,
)

RECORDS = [
    {"step": 0, "initial_loss": 9.0},
    {"step": 10, "loss": 7.5, "learning_rate": 0.1, "mlm_probability": 0.3},
    {"step": 20, "loss": 6.5, "learning_rate": 0.05, "mlm_probability": 0.15},
    {"step": 20, "validation_loss": 6.75, "validation_accuracy": 0.1},
]


def texts(svg: str) -> list[str]:
    return [
        "".join(node.itertext())
        for node in ElementTree.fromstring(svg).iter()
        if "text" in node.tag
    ]


def test_the_same_numbers_draw_the_same_bytes():
    curve = loss_curve(RECORDS, 7.0)
    assert curve == loss_curve(RECORDS, 7.0)
    assert "<dc:date>" not in curve
    assert curve != loss_curve([*RECORDS[:-1], {"step": 20, "validation_loss": 5.0}], 7.0)


def test_losses_stand_beside_the_floor_and_the_share_guessed_right():
    axes = Figure().add_subplot()
    draw_losses(axes, RECORDS, 7.0)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["training", "validation, last 6.750 (10.0 % right)", "unigram floor 7.000"]
    assert axes.lines[0].get_xydata().tolist() == [[10, 7.5], [20, 6.5]]


def test_the_lower_panel_shows_learning_rate_and_masking_rate():
    figure = Figure()
    draw_schedules(figure.add_subplot(), RECORDS)
    learning_rate, masking_rate = figure.axes
    assert learning_rate.lines[0].get_xydata().tolist() == [[10, 0.1], [20, 0.05]]
    assert masking_rate.lines[0].get_xydata().tolist() == [[10, 30.0], [20, 15.0]]


def test_a_run_without_validation_or_floor_is_drawn():
    assert "validation" in texts(loss_curve(RECORDS[:2], None))


@pytest.mark.parametrize("label", [r"$\frac{$", "US$ or C$", "<b>&'\"", r"\alpha_1^2"])
def test_labels_are_words_and_never_a_formula_or_markup(label):
    svg = for_a_file(confusion_figure([[1, 2], [3, 4]], [label, "other"]))
    assert texts(svg).count(label) == 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "label", ["积极", "บวก", "सकारात्मक", "긍정", "ծառ", "نص", "დადებითი", "🙂"]
)
def test_labels_of_any_script_are_text_and_nothing_is_said(label):
    assert texts(confusion_figure([[1, 2], [3, 4]], [label, "other"])).count(label) == 2


def test_what_svg_may_not_hold_is_shown_as_such():
    assert (
        texts(confusion_figure([[1, 2], [3, 4]], ["bell \x07", "other"])).count("bell \ufffd") == 2
    )


@pytest.mark.parametrize("points", [[[1, 9000], [100, 3]], [[1, 7], [3, 4]]])
def test_logarithmic_axes_need_no_formulas(points):
    facts = {"vocabulary": {"frequency_by_rank": points}}
    assert "$" not in drawing(lambda axes: _draw_frequencies(axes, facts), (4, 3))


def test_a_figure_in_a_page_has_its_colours_and_a_title_that_is_text():
    inline = for_a_page(loss_curve(RECORDS, 7.0), "Loss & <step>")
    assert inline.startswith("<svg viewBox=")
    assert "<title>Loss &amp; &lt;step&gt;</title>" in inline
    assert "var(--first)" in inline
    assert "#2a6fb0" not in inline
