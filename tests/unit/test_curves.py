from cloze.show.curves import draw_loss_curve, loss_figure

RECORDS = [
    {"step": 0, "initial_loss": 9.0},
    {"step": 10, "loss": 7.5, "learning_rate": 0.1, "mlm_probability": 0.3},
    {"step": 20, "loss": 6.5, "learning_rate": 0.05, "mlm_probability": 0.15},
    {"step": 20, "validation_loss": 6.75, "validation_accuracy": 0.1},
]


def test_the_same_numbers_draw_the_same_bytes(tmp_path):
    for name in ("a.svg", "b.svg"):
        draw_loss_curve(RECORDS, 7.0, tmp_path / name)
    content = (tmp_path / "a.svg").read_bytes()
    assert content == (tmp_path / "b.svg").read_bytes()
    assert content.rstrip().endswith(b"</svg>")
    assert b"<dc:date>" not in content
    draw_loss_curve([*RECORDS[:-1], {"step": 20, "validation_loss": 5.0}], 7.0, tmp_path / "c.svg")
    assert content != (tmp_path / "c.svg").read_bytes()


def test_losses_stand_beside_the_floor_and_the_share_guessed_right():
    losses = loss_figure(RECORDS, 7.0).axes[0]
    labels = [text.get_text() for text in losses.get_legend().get_texts()]
    assert labels == ["training", "validation, last 6.750 (10.0 % right)", "unigram floor 7.000"]
    assert losses.lines[0].get_xydata().tolist() == [[10, 7.5], [20, 6.5]]


def test_the_lower_panel_shows_learning_rate_and_masking_rate():
    _, learning_rate, masking_rate = loss_figure(RECORDS, 7.0).axes
    assert learning_rate.lines[0].get_xydata().tolist() == [[10, 0.1], [20, 0.05]]
    assert masking_rate.lines[0].get_xydata().tolist() == [[10, 30.0], [20, 15.0]]
