"""The page of a model in a real browser, at the width of a phone and of a desktop.

The screenshots are kept in the folder that the environment variable CLOZE_SCREENSHOTS names.
"""

import html
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.scripts.test_serve import classifier, encoder

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = {"phone": 500, "desktop": 1280}
__all__ = ["classifier", "encoder"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@pytest.fixture
def browse(tmp_path):
    """A function that submits a form in Chromium and returns the page, screenshot and console."""

    def submit(server, name, width, **fields):
        inputs = "".join(
            f'<textarea name="{key}">\n{html.escape(value)}</textarea>'
            for key, value in fields.items()
        )
        start = tmp_path / "start.html"
        start.write_text(
            f'<meta charset="utf-8"><form method="post" action="{server.url}">{inputs}</form>'
            "<script>document.forms[0].submit()</script>",
            encoding="utf-8",
        )
        picture = Path(os.environ.get("CLOZE_SCREENSHOTS", tmp_path)) / f"{name}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900"]
        flags += ["--enable-logging=stderr", "--virtual-time-budget=20000"]
        command = [CHROMIUM, *flags, f"--screenshot={picture}", "--dump-dom", start.as_uri()]
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
        return found.stdout, picture, re.findall(r".*CONSOLE.*", found.stderr)

    return submit


@pytest.mark.parametrize("width", WIDTHS)
def test_an_answer_is_shown(classifier, browse, width):
    page, picture, console = browse(
        classifier, f"classify-{width}", WIDTHS[width], use="classify", text="w1 w2 w3"
    )
    assert page.count("<meter") == 2
    assert picture.stat().st_size > 5_000
    assert console == []


@pytest.mark.parametrize("width", WIDTHS)
def test_masks_are_shown(encoder, browse, width):
    page, _, console = browse(
        encoder, f"fill-mask-{width}", WIDTHS[width], use="fill-mask", text="w1 [MASK] w3"
    )
    assert page.count("<meter") == 5
    assert console == []


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("megabyte", "w" * (1 << 20), "the input is longer than 256 KiB"),
        ("markup", "<script>document.title='spoiled'</script><b>w1", "&lt;script&gt;document"),
        ("control", "w1 \x07", "character 4 of the text is U+0007, a control character"),
    ],
)
def test_strange_input_is_answered_with_a_message(classifier, browse, name, text, shown):
    page, _, _ = browse(classifier, name, WIDTHS["phone"], use="classify", text=text)
    assert shown in page
    assert "<title>spoiled" not in page
