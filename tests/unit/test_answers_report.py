"""Answers are marked where they stand, and nothing of a passage is markup."""

from cloze.show.answers_report import marked_passage, passage_text

CONTEXT = "x" * 200 + " a <b>right</b> answer " + "y" * 400 + " wrong " + "z" * 200
TRUE = (CONTEXT.index("right"), CONTEXT.index("</b>"))
WRONG = (CONTEXT.index("wrong"), CONTEXT.index("wrong") + 5)


def test_what_lies_between_is_left_out():
    pieces = marked_passage(CONTEXT, WRONG, [TRUE])
    assert [piece["text"] for piece in pieces if piece["true"]] == ["right"]
    assert [piece["text"] for piece in pieces if piece["predicted"]] == ["wrong"]
    assert [piece["text"] for piece in pieces].count(" … ") == 3
    assert sum(len(piece["text"]) for piece in pieces) == 4 * 90 + 2 * 5 + 3 * 3


def test_a_line_shows_both():
    context = "in the old town hall"
    assert passage_text(marked_passage(context, (3, 20), [(7, 20), (11, 20)])) == (
        "in [the {old town hall}]"
    )
    assert passage_text(marked_passage(context, (0, 0), [(3, 20)])) == "in {the old town hall}"


def test_without_any_answer_the_start_is_shown():
    pieces = marked_passage(CONTEXT, (0, 0), [])
    assert pieces[0] == {"text": CONTEXT[:180], "predicted": False, "true": False}
    assert [piece["text"] for piece in pieces[1:]] == [" … "]
