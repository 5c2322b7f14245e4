"""The pages that a workflow writes, in a real browser: as wide as a phone and as a desk.

The screenshots are kept in the folder that the environment variable CLOZE_SCREENSHOTS names.
"""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import compare
from tests.scripts.test_compare import results
from tests.scripts.test_report import folders, write_report
from tests.scripts.test_report_of_any_task import SCORES, write_any_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = {"phone": 390, "desktop": 1280}
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--enable-logging=stderr", "--virtual-time-budget=5000",
]  # fmt: skip
# It asks its maker for the time and for news, whatever page it shows.
OF_THE_BROWSER = re.compile(r"https?://([\w.-]+\.)?(google|googleapis|gvt1)\.com/")
# The page stands in a frame, because no window is as narrow as a phone.
FRAME = """<!doctype html><meta charset="utf-8"><style>body {{ margin: 0 }}
iframe {{ border: 0; width: {width}px; height: 6000px; color-scheme: {scheme} }}</style>
<iframe srcdoc="{page}" onload="const page = this.contentDocument.documentElement;
document.title = page.scrollWidth + ' of ' + page.clientWidth"></iframe>"""
__all__ = ["folders", "results"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


def look(page: str, tmp_path: Path, name: str, width: int, scheme: str = "light") -> None:
    """Open a page: it scrolls only downwards, complains of nothing and asks nobody."""
    wrapper, network = tmp_path / "wrapper.html", tmp_path / "network.json"
    framed = FRAME.format(width=width, scheme=scheme, page=html.escape(page))
    wrapper.write_text(framed, encoding="utf-8")
    picture = Path(os.environ.get("CLOZE_SCREENSHOTS", tmp_path)) / f"{name}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    flags = [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={network}"]
    flags += [f"--window-size={max(width, 500)},6000", f"--screenshot={picture}", "--dump-dom"]
    flags += ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    found = subprocess.run(
        [CHROMIUM, *flags, wrapper.as_uri()],
        capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    inner, outer = re.search(r"<title>(\d+) of (\d+)</title>", found.stdout).groups()
    assert int(inner) <= int(outer) == width
    assert re.findall(r".*CONSOLE.*", found.stderr) == []
    urls = {event.get("params", {}).get("url", "") for event in events(network)}
    assert not {url for url in urls if url.startswith("http") and not OF_THE_BROWSER.match(url)}
    assert picture.stat().st_size > 20_000


def events(network: Path) -> list[dict]:
    text = network.read_text(encoding="utf-8")
    try:
        return json.loads(text)["events"]
    except json.JSONDecodeError:  # Chromium was told to end before it had closed the list.
        return json.loads(text.rstrip().rstrip(",") + "]}")["events"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_report_of_classes(tmp_path, folders, width, scheme):
    assert write_report(tmp_path, folders) == 0
    page = (tmp_path / "r.html").read_text()
    look(page, tmp_path, f"report-{width}-{scheme}", WIDTHS[width], scheme)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_report_of_scores(tmp_path, width):
    page = write_any_report(tmp_path, SCORES)["html"]
    look(page, tmp_path, f"report-scores-{width}", WIDTHS[width])


@pytest.mark.parametrize("width", WIDTHS)
def test_a_comparison(tmp_path, results, width, capsys):
    assert compare.main([str(results), "--output", str(tmp_path / "c.html")]) == 0
    look((tmp_path / "c.html").read_text(), tmp_path, f"comparison-{width}", WIDTHS[width])
