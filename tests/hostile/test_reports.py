"""Reports of folders that were cut, edited or made by something else."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import average_report
import baselines
import compare
import find_contamination
import report
from cloze.files import read_json, read_object, write_json, write_sealed
from tests.hostile.damage import WHOLE_FILES, Damage, damage_file, flipped, of_keys
from tests.hostile.outcome import by_name, check, run
from tests.scripts.test_report import PRETRAINING, write_documents, write_evaluation
from tests.tiny import write_dataset, write_tokenizer
from tests.tiny_task import write_task

pytestmark = pytest.mark.slow

FILES = {
    "evaluation": "model/task/seed-1/validation/metrics.json",
    "second evaluation": "model/task/seed-2/validation/metrics.json",
    "predictions": "model/task/seed-1/validation/predictions.parquet",
    "baselines": "tasks/task/baselines.json",
    "contamination": "contamination.json",
    "pretraining": "model/metrics.json",
    "configuration": "model/config.json",
    "documents": "documents/metrics.json",
    "manifest": "dataset/manifest.json",
    "task": "tasks/task/task.json",
    "split": "tasks/task/validation.parquet",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results from which a whole report is made."""
    root = tmp_path_factory.mktemp("results")
    task = write_task(root / "tasks" / "task", train_rows=100)
    assert baselines.main(["--task", str(task), "--output", str(root / FILES["baselines"])]) == 0
    write_json(root / FILES["pretraining"], {"metrics": PRETRAINING})
    sizes = dict.fromkeys(("num_hidden_layers", "num_attention_heads", "intermediate_size"), 2)
    write_json(root / FILES["configuration"], {"model_type": "bert", "hidden_size": 4, **sizes})
    documents = write_documents(root / "documents")
    found = ["--task", str(task), "--documents", str(documents)]
    assert find_contamination.main([*found, "--output", str(root / FILES["contamination"])]) == 0
    write_dataset(root / "dataset", write_tokenizer(root / "tokenizer"))
    for seed, wrong in ((1, [0, 1, 2, 39]), (2, [0, 1, 39])):
        write_evaluation(root / "model" / "task" / f"seed-{seed}" / "validation", seed, wrong, 0.97)
    # As the scripts write them, with a digest.
    for name in ("evaluation", "second evaluation", "pretraining", "documents"):
        write_sealed(root / FILES[name], read_object(root / FILES[name]))
    return root


def make_report(root: Path) -> Any:
    flags = {
        "--name": "tiny", "--task": root / "tasks" / "task",
        "--baselines": root / FILES["baselines"], "--pretraining": root / "model",
        "--dataset": root / "dataset", "--corpus-documents": root / "documents",
        "--contamination": root / FILES["contamination"],
        **{f"--output-{kind}": root / f"r.{kind}" for kind in ("text", "json", "html", "figure")},
    }  # fmt: skip
    given = [part for flag in flags.items() for part in flag]
    seeds = [root / "model" / "task" / f"seed-{seed}" / "validation" for seed in (1, 2)]
    return run(report, *given, "--evaluations", *seeds, folder=root)


def _cases() -> dict[str, tuple[str, Damage]]:
    cases: dict[str, tuple[str, Damage]] = {}
    for what, path in FILES.items():
        suffix = Path(path).suffix
        for name, damage in WHOLE_FILES.items():
            cases[f"{what}: {name}"] = path, damage
        if suffix == ".parquet":
            cases |= {f"{what}: bits {n}": (path, flipped(f"{what} {n}")) for n in range(4)}
    score = {"metrics": dict.fromkeys(("task", "split", "score", "accuracy", "metric"))}
    score["metrics"]["finetuning"] = dict.fromkeys(("seed", "recipe", "train_score"))
    measured = {"metrics": {"task": "", "splits": {"validation": {"majority": {}}}}}
    trained = {"metrics": dict.fromkeys(("steps", "tokens", "validation_loss", "num_parameters"))}
    counted = {"metrics": {"splits": {"train": {"documents": 1, "words": 1}}}}
    for what, keys in (
        ("evaluation", score), ("baselines", measured), ("pretraining", trained),
        ("documents", counted),
    ):  # fmt: skip
        found = of_keys(keys, what, each=4)
        cases |= {f"{what}: {name}": (FILES[what], damage) for name, damage in found.items()}
    return cases


@by_name(_cases())
def test_a_report_of_damaged_results_names_the_file(results, tmp_path, case):
    path, damage = case
    root = Path(shutil.copytree(results, tmp_path / "results"))
    damage_file(root / path, damage)
    if check(make_report(root), str(root)):
        assert not (root / "r.json").exists()
        return
    # What was damaged decides nothing that is said.
    sound = Path(shutil.copytree(results, tmp_path / "sound"))
    assert not check(make_report(sound))
    ours, theirs = (read_json(folder / "r.json") for folder in (root, sound))
    for key in ("score", "accuracy", "baselines", "paired_difference", "examples"):
        assert ours.get(key) == theirs.get(key)


@by_name(
    {
        f"{what}: {name}": (FILES[what], damage)
        for what in ("evaluation", "baselines", "pretraining")
        for name, damage in WHOLE_FILES.items()
    }
)
def test_a_comparison_of_damaged_results_names_the_file(results, tmp_path, case):
    path, damage = case
    root = Path(shutil.copytree(results, tmp_path / "results"))
    damage_file(root / path, damage)
    check(run(compare, root, folder=tmp_path), str(root))


# The last byte is a line end, which nobody misses.
@by_name({name: case for name, case in WHOLE_FILES.items() if name != "all but the last byte"})
def test_an_average_of_damaged_reports_names_the_file(results, tmp_path, case):
    root = Path(shutil.copytree(results, tmp_path / "results"))
    assert not check(make_report(root))
    damage_file(root / "r.json", case)
    outputs = [f"--output-{kind}={root / f'a.{kind}'}" for kind in ("text", "json")]
    given = ["--name", "both", "--task", root / "r.json", *outputs]
    assert check(run(average_report, *given, folder=tmp_path), "r.json")
