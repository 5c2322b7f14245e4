"""What a finished pretraining shows, and that showing decides nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pretrain
import show_pretraining
from cloze.files import read_json, write_json
from tests.tiny_pretraining import command, weights, write_inputs

SCRIPTS = Path(__file__).parents[2] / "scripts"
# Trains with nothing in `cloze.show` to import, and nobody told how it goes.
BLIND = """
import sys
from pathlib import Path


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("cloze.show"):
            raise ImportError(f"{name} is blocked")


sys.path.insert(0, "SCRIPTS")
sys.meta_path.insert(0, Blocked())
from types import ModuleType

stand_in = ModuleType("cloze.show.doctor")
stand_in.watch = lambda *facts: lambda records: None
sys.modules["cloze.show"] = ModuleType("cloze.show")
sys.modules["cloze.show.doctor"] = stand_in
import pretrain

sys.exit(pretrain.main(sys.argv[1:]))
"""


def show(inputs: list[str], model: Path, output: Path) -> int:
    flags = [*inputs[:2], f"--model={model}", f"--output={output}", "--device=cpu", "--threads=1"]
    return show_pretraining.main(flags)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    folder = tmp_path_factory.mktemp("trained")
    inputs = write_inputs(folder)
    assert pretrain.main(command(inputs, folder / "model", 60)) == 0
    return inputs, folder / "model"


def test_it_shows_curve_guesses_and_diagnosis(trained, tmp_path):
    inputs, model = trained
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    assert show(inputs, model, tmp_path) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "loss_curve.svg", "masked_examples.html", "diagnosis.json",
    }  # fmt: skip
    page = (tmp_path / "masked_examples.html").read_text(encoding="utf-8")
    assert 'class="right" title="guess: ' in page or 'class="wrong" title="guess: ' in page
    assert "<th>0</th><th>20</th><th>40</th><th>60</th>" in page
    assert "unigram floor" in (tmp_path / "loss_curve.svg").read_text(encoding="utf-8")
    record = read_json(tmp_path / "diagnosis.json")
    assert "unigram floor" in record["metrics"]["diagnosis"][0]
    assert record.keys() == read_json(model / "metrics.json").keys()
    assert {path: path.read_bytes() for path in model.rglob("*") if path.is_file()} == before


def test_the_last_recorded_guesses_are_those_of_the_model(trained, tmp_path):
    inputs, model = trained
    assert show(inputs, model, tmp_path) == 0
    page = (tmp_path / "masked_examples.html").read_text(encoding="utf-8")
    table = page.partition("<th>60</th></tr>")[2]
    recorded = [row.rpartition('<td class="')[2][:5] == "right" for row in table.split("<tr>")[1:]]
    first_row = page.partition("<p> [CLS]")[2].partition("</p>")[0]
    shown = [part.startswith('right"') for part in first_row.split('<span class="')[1:]
             if part.startswith(('right"', 'wrong"'))]  # fmt: skip
    assert shown[: len(recorded)] == recorded


def test_a_model_from_elsewhere_has_nothing_to_show(trained, tmp_path, capsys):
    inputs, _ = trained
    write_json(tmp_path / "metrics.json", {"metrics": {"num_parameters": 9}, "args": {}})
    assert show(inputs, tmp_path, tmp_path / "out") == 1
    assert (
        "tells of no pretraining; give a folder that pretrain.py wrote" in capsys.readouterr().err
    )


def test_broken_records_are_named(trained, tmp_path, capsys):
    inputs, model = trained
    for name in ("metrics.json", "masked_examples.jsonl"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"step"')
    assert show(inputs, tmp_path, tmp_path / "out") == 1
    assert "metrics.jsonl: not a JSON value a line" in capsys.readouterr().err


def test_training_without_anything_to_show_with_gives_the_same_weights(trained, tmp_path):
    inputs, model = trained
    arguments = command([*inputs[:2], f"--run-dir={tmp_path / '.runs'}"], tmp_path / "model", 60)
    program = BLIND.replace("SCRIPTS", str(SCRIPTS))
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)
    assert weights(tmp_path / "model") == weights(model)


def test_nothing_below_imports_what_shows():
    library = SCRIPTS / "cloze"
    below = [path for path in library.rglob("*.py") if library / "show" not in path.parents]
    for path in below:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in named if name.startswith("cloze.show")], path
