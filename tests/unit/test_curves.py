from cloze.pretraining.curves import draw_loss_curve

RECORDS = [
    {"step": 10, "loss": 7.5, "learning_rate": 0.1},
    {"step": 20, "loss": 6.5, "learning_rate": 0.1},
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
