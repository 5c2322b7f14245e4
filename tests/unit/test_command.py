import shutil
from pathlib import Path

import pytest

from cloze.show import command

ROOT = Path(__file__).parents[2]


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands, without the interpreter, that take the place of `cloze` in a clone."""
    for part in ("config.yaml", "Snakefile"):
        shutil.copy(ROOT / part, tmp_path / part)
    shutil.copytree(ROOT / "workflow/presets", tmp_path / "workflow/presets")
    monkeypatch.chdir(tmp_path)
    calls = list[list[str]]()
    monkeypatch.setattr("os.execv", lambda path, words: calls.append(words[1:]))
    return calls


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run"], []),
        (["run", "sst2"], ["results/sst2_report.txt"]),
        (["plan", "results/x/y.json"], ["-n", "results/x/y.json"]),
        (
            ["run", "wikitext-2", "sst2", "encoders.mini.max_steps=60", "seeds=[1]"],
            [
                *("results/sst2_report.txt", "--configfile", "workflow/presets/wikitext-2.yaml"),
                *("--config", "encoders={mini: {max_steps: 60}}", "seeds=[1]"),
            ],
        ),
        (
            ["run", "corpus=python-docs", "tokenizers.uncased-4k.vocab_size=2000",
             "tokenizers.uncased-4k.lowercase=false"],
            ["--config", "corpus=python-docs",
             "tokenizers={uncased-4k: {vocab_size: 2000, lowercase: false}}"],
        ),
        (["run", "sst2", "--", "-p", "--cores", "4"],
         ["-p", "--cores", "4", "results/sst2_report.txt"]),
        # The names of a preset for a task alone and of one that pretrains too: the latter.
        (["run", "imdb"], ["--configfile", "workflow/presets/imdb.yaml"]),
    ],
)  # fmt: skip
def test_run_and_plan_call_snakemake_and_print_the_call(
    called: list[list[str]], words: list[str], expected: list[str], capsys: pytest.CaptureFixture
) -> None:
    assert command.main(words) == 0
    assert called == [["-m", "snakemake", *expected]]
    assert capsys.readouterr().err.startswith("+ snakemake")


def test_the_scripts_get_all_their_flags(called: list[list[str]]) -> None:
    assert command.main(["predict", "classify", "--help"]) == 0
    assert called == [["scripts/predict.py", "classify", "--help"]]


def test_status_names_the_reports_that_are_not_made(
    called: list[list[str]], capsys: pytest.CaptureFixture
) -> None:
    assert command.main(["status", "reports={entities: {task: sample-entities}}"]) == 0
    assert capsys.readouterr().out == "entities: not made yet\n"
    assert called == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "wikitext2"], "'wikitext2' is no preset of workflow/presets and no report"),
        (["run", "encoder=huge"], "encoder: 'huge' is not in encoders"),
        (["run", "seeds=[1"], "seeds: '[1' is not valid YAML"),
        (["run", "seeds=3", "seeds.a=1"], "seeds was given a value before"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_runs(
    called: list[list[str]], words: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert command.main(words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert called == []


def test_elsewhere_it_says_where_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["run"]) == 1
    assert "run `cloze` in a clone of the repository" in capsys.readouterr().err
