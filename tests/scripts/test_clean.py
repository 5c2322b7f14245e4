"""clean.py: what it lists, what it removes, and what it never touches."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import clean
from cloze.settings.config import load_config

ROOT = Path(__file__).parents[2]
HUB = "hf://datasets/owner/name@0123456789abcdef0123456789abcdef01234567"
SEED_RUNS = "results/sample/uncased-4k/scratch/modernbert-tiny/sample-reviews/seed-3/.runs"
RUNS = "results/sample/uncased-4k/sentences-128/tiny/.runs"
WANTED = [
    "results/config.yaml",
    "results/sst2_report.txt",
    "results/sst2_report.json",
    "results/sst2_figure.svg",
    "results/sample/uncased-4k/sentences-128/tiny/sample-reviews/sst2_report.txt",
    "results/sample/uncased-4k/sentences-128/tiny/sample-reviews/sst2_figure.svg",
    "results/sample/uncased-4k/sentences-128/tiny/recipe.yaml",
    "results/sample/uncased-4k/sentences-128/recipe.yaml",
    "results/sample/documents/recipe.yaml",
    "results/comparison.html",
    "results/tasks/sample-reviews/train.parquet",
    "results/sample/documents/test.parquet",
    "results/sample/documents/contamination/sample-reviews.json",
    "results/sample/uncased-4k/vocab.txt",
    "results/sample/uncased-4k/sentences-128/manifest.json",
    "results/sample/uncased-4k/sentences-128/metrics.json",
    "results/sample/uncased-4k/sentences-128/corpus.html",
    "results/sample/uncased-4k/sentences-128/corpus_row_fill.svg",
    "results/sample/uncased-4k/sentences-128/train-00001-of-00002.msgpack.gz",
    "results/sample/uncased-4k/sentences-128/validation-00000-of-00001.msgpack.gz",
    "results/sample/uncased-4k/sentences-128/tiny/model.safetensors",
    "results/sample/uncased-4k/sentences-128/tiny/best/model.safetensors",
    "results/sample/uncased-4k/sentences-128/tiny/sample-reviews/seed-1/validation/metrics.json",
    "results/sample/uncased-4k/scratch/modernbert-tiny/config.json",
    "results/sample/uncased-4k/scratch/modernbert-tiny/sample-reviews/seed-3/model.safetensors",
    "resources/sample/corpus.txt",
    "resources/by-hand/text.txt",
    "resources/remote/x.parquet",
]
LEFTOVERS = {
    "results/other": "results/other/documents/train.parquet",
    "results/sst2-large_report.txt": "results/sst2-large_report.txt",
    "results/sample/uncased-4k/sentences-128/tiny/sample-reviews/old_report.txt": (
        "results/sample/uncased-4k/sentences-128/tiny/sample-reviews/old_report.txt"
    ),
    "results/imported": "results/imported/theirs/model.safetensors",
    "results/tasks/sst2": "results/tasks/sst2/train.parquet",
    "results/sample/cased": "results/sample/cased/uncased-4k/manifest.json",
    "results/sample/uncased-4k/sentences-128/train-00000-of-00008.msgpack.gz": (
        "results/sample/uncased-4k/sentences-128/train-00000-of-00008.msgpack.gz"
    ),
    "results/sample/uncased-4k/sentences-128/tiny/sample-reviews/seed-4": (
        "results/sample/uncased-4k/sentences-128/tiny/sample-reviews/seed-4/model.safetensors"
    ),
    "results/sample/uncased-4k/scratch/modernbert-mini": (
        "results/sample/uncased-4k/scratch/modernbert-mini/config.json"
    ),
    "resources/remote/old.parquet": "resources/remote/old.parquet",
}


def write(path: Path, text: str = "12345") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_run(root: Path, name: str, **changes: Any) -> None:
    config = load_config([ROOT / "config.yaml"])
    recipe = {
        **config.section("architectures", "modernbert-tiny"),
        **config.section("encoders", "tiny"),
    }
    write(root / RUNS / name / "recipe.json", json.dumps({**recipe, "code": [], **changes}))


def write_finetuning_run(root: Path, name: str, **changes: Any) -> None:
    task = load_config([ROOT / "config.yaml"]).section("tasks", "sample-reviews")
    recipe = {**task["finetuning_from_scratch"], "seed": 3, "from_scratch": True}
    write(root / SEED_RUNS / name / "recipe.json", json.dumps({**recipe, **changes}))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    value = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    value["corpora"]["remote"] = {"format": "parquet", "files": [f"{HUB}/x.parquet"]}
    write(tmp_path / "config.yaml", yaml.safe_dump(value))
    for name in [*WANTED, *LEFTOVERS.values()]:
        write(tmp_path / name)
    for name in ("x.parquet", "old.parquet"):
        write(tmp_path / f"logs/resources/remote/{name}.log")
    write_run(tmp_path, "now")
    write_run(tmp_path, "stale", max_steps=7)
    write_finetuning_run(tmp_path, "now")
    write_finetuning_run(tmp_path, "stale", learning_rate=1.0)
    return tmp_path


def test_it_lists_leftovers_with_sizes_and_removes_nothing_unless_told_to(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(repository.rglob("*"))
    assert clean.main([]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[-1] for line in lines) == sorted(
        [*LEFTOVERS, f"{RUNS}/stale", f"{SEED_RUNS}/stale"]
    )
    assert "leftover     5 bytes  results/sst2-large_report.txt" in lines
    assert last.endswith("; --yes removes them")
    assert sorted(repository.rglob("*")) == before


def test_the_documents_that_a_mixture_is_made_of_stay(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = {"mixture": {"sample": 1, "other": 2}}
    corpora = {"other": {"format": "text", "files": ["x.txt"]}, "mixed": mixed}
    write(repository / "mixed.yaml", yaml.safe_dump({"corpus": "mixed", "corpora": corpora}))
    assert clean.main(["--configfile", "mixed.yaml"]) == 0
    assert "results/other" not in capsys.readouterr().out


def test_it_removes_the_leftovers_and_nothing_else(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clean.main(["--yes"]) == 0
    assert "removed" in capsys.readouterr().out
    for name in LEFTOVERS:
        assert not (repository / name).exists(), name
    kept = [f"{RUNS}/now/recipe.json", f"{SEED_RUNS}/now/recipe.json", "config.yaml"]
    for name in [*WANTED, *kept]:
        assert (repository / name).is_file(), name
    assert not (repository / RUNS / "stale").exists()
    assert not (repository / SEED_RUNS / "stale").exists()
    assert clean.main(["--yes"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_another_configuration_in_the_folder_keeps_what_it_asks_for(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "mine.yaml").write_text("{reports: {sst2: {task: sst2}}}")
    (repository / "environment.yaml").write_text("dependencies: [python]")
    (repository / ".pre-commit-config.yaml").write_text("repos: []")
    assert clean.main([]) == 0
    printed = capsys.readouterr()
    assert "results/tasks/sst2" not in printed.out
    assert "results/other" in printed.out
    assert "environment.yaml is taken for no configuration" in printed.err
    assert "pre-commit" not in printed.err


def test_an_overlay_keeps_what_it_asks_for(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay = repository / "presets" / "preset.yaml"
    overlay.parent.mkdir()
    overlay.write_text("{reports: {sst2: {task: sst2}}, encoders: {tiny: {max_steps: 7}}}")
    assert clean.main(["--configfile", str(overlay)]) == 0
    listed = capsys.readouterr().out
    assert "results/tasks/sst2" not in listed
    assert f"{RUNS}/stale" not in listed
    assert "results/other" in listed


def test_when_to_look_and_what_to_keep_make_no_run_stale(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(repository / "preset.yaml", "encoders: {tiny: {eval_steps: 7, keep_at: [5]}}")
    assert clean.main(["--configfile", "preset.yaml"]) == 0
    assert f"{RUNS}/now" not in capsys.readouterr().out


def test_only_the_splits_that_a_report_tells_of_stay(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = "results/sample/uncased-4k/sentences-128/tiny/sample-reviews/seed-1"
    for split in ("test", "other"):
        write(repository / seed / split / "metrics.json")
    write(repository / "preset.yaml", "tasks: {sample-reviews: {test: test.tsv}}")
    assert clean.main(["--configfile", "preset.yaml"]) == 0
    listed = capsys.readouterr().out
    assert f"{seed}/other" in listed
    assert f"{seed}/test" not in listed
    assert f"{seed}/validation" not in listed


def test_a_run_by_the_clock_is_kept_while_it_is_asked_for(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(repository, "by-the-clock", max_steps=None, budget=1200.0)
    overlay = repository / "preset.yaml"
    overlay.write_text("encoders: {tiny: {max_steps: null, budget: 20m}}")
    assert clean.main(["--configfile", str(overlay)]) == 0
    assert "by-the-clock" not in capsys.readouterr().out
    overlay.write_text("encoders: {tiny: {max_steps: null, budget: 10m}}")
    assert clean.main(["--configfile", str(overlay)]) == 0
    assert f"{RUNS}/by-the-clock" in capsys.readouterr().out


def test_links_are_removed_but_never_followed(repository: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside / "keep.txt")
    (repository / "results/other/documents/link").symlink_to(outside)
    (repository / "results/link").symlink_to(outside)
    assert clean.main(["--yes"]) == 0
    assert not (repository / "results/link").is_symlink()
    assert (outside / "keep.txt").is_file()


def test_it_waits_for_snakemake(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(repository / ".snakemake/locks/0.input.lock")
    assert clean.main([]) == 0
    assert clean.main(["--yes"]) == 1
    assert "Snakemake is at work here" in capsys.readouterr().err
    assert (repository / "results/other").is_dir()


def test_without_results_there_is_nothing_to_do(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(repository / "results")
    shutil.rmtree(repository / "resources")
    assert clean.main(["--yes"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_it_runs_in_the_folder_of_config_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert clean.main(["--yes"]) == 1
    assert "config.yaml: no such file" in capsys.readouterr().err
