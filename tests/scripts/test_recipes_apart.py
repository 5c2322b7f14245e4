"""Results of different recipes in one folder: never averaged, and what is stale is named."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import compare
from cloze.errors import ClozeError
from cloze.files import read_json, sha256_file, write_json
from cloze.show.comparison import compare_results
from cloze.tasks.evaluations import read_evaluations
from tests.scripts.test_compare import write_encoder
from tests.scripts.test_report import write_evaluation as write_predicted

TASK = "tiny-task"


class Results:
    """A folder of results with an encoder and a task, to fine-tune on and evaluate."""

    def __init__(self, root: Path, name: str = "tiny") -> None:
        self.root = root
        self.model = root / "sample" / "words" / "rows" / name
        self.task = root / "tasks" / TASK
        for name in ("config.json", "tokenizer.json"):
            self.write(self.model / name, name)
        for split in ("train", "validation"):
            self.write(self.task / f"{split}.parquet", split)
        self.pretrain("1,700 steps")

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def pretrain(self, recipe: str) -> None:
        self.write(self.model / "model.safetensors", f"weights after {recipe}")

    def finetune(self, seed: int, wrong: int, **args: Any) -> Path:
        """Fine-tune with a seed, and evaluate with so many of 40 rows wrong."""
        folder = self.model / TASK / f"seed-{seed}"
        names = ("config.json", "model.safetensors", "tokenizer.json")
        files = [*(self.model / name for name in names), self.task / "train.parquet"]
        inputs = {str(file): sha256_file(file) for file in files}
        self.write(folder / "model.safetensors", f"{seed} {args} of {inputs}")
        evaluation = write_predicted(folder / "validation", seed, list(range(wrong)), 1.0)
        content = read_json(evaluation / "metrics.json")
        args = {"seed": seed, "learning_rate": 1e-3, "output": str(folder), **args}
        content["metrics"]["finetuning"] |= {"args": args, "inputs": inputs}
        read = [folder / "model.safetensors", self.task / "validation.parquet"]
        content["inputs"] = {str(file): sha256_file(file) for file in read}
        content["args"] = {"max_length": 64}
        write_json(evaluation / "metrics.json", content)
        return evaluation


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Three seeds of one encoder."""
    made = Results(tmp_path / "results")
    for seed in (1, 2, 3):
        made.finetune(seed, wrong=20)
    return made


@pytest.fixture
def mixed(results: Results) -> Results:
    """The same after a run with other settings and `seeds: [1]`."""
    results.pretrain("60 steps")
    results.finetune(1, wrong=4)
    return results


def test_seeds_of_one_recipe_have_one_row(results: Results) -> None:
    found = compare_results(results.root)
    assert [(row["seeds"], row["score"]) for row in found.rows] == [(3, 0.5)]
    assert found.stale == []


def test_seeds_of_an_encoder_that_is_gone_are_left_out_and_named(
    mixed: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare_results(mixed.root)
    assert [(row["seeds"], row["score"]) for row in found.rows] == [(1, 0.9)]
    folder = mixed.model / TASK
    assert found.stale == [
        f"{folder}/seed-{seed}/validation was fine-tuned from another model.safetensors than "
        f"{mixed.model} holds now"
        for seed in (2, 3)
    ]
    files = [tmp_path / f"table.{form}" for form in ("txt", "md", "html", "csv")]
    assert compare.main([str(mixed.root), "--output", *map(str, files)]) == 0
    printed = capsys.readouterr().out
    assert all(sentence in printed for sentence in found.stale)
    for file in files[:3]:
        assert all(sentence in file.read_text() for sentence in found.stale), file
    assert len(files[3].read_text().splitlines()) == 2


def test_a_difference_is_that_of_the_seeds_that_are_left(
    mixed: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Results(mixed.root, "other")
    other.finetune(1, wrong=4)
    folders = [str(made.model / TASK) for made in (mixed, other)]
    assert compare.main(["diff", *folders]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "A 90.00 % 1" in shown
    assert "show no difference" in shown
    assert f"left out: {folders[0]}/seed-2/validation was fine-tuned from another" in shown
    assert compare.main(["diff", f"{folders[0]}/seed-3", folders[1]]) == 1
    message = capsys.readouterr().err
    assert "seed-3/validation was fine-tuned from another model.safetensors than" in message
    assert "fine-tune and evaluate its seeds again" in message


def test_a_report_refuses_them(mixed: Results) -> None:
    folders = [mixed.model / TASK / f"seed-{seed}" / "validation" for seed in (1, 2)]
    with pytest.raises(ClozeError) as caught:
        read_evaluations(folders)
    assert str(caught.value) == (
        f"{folders[1]}: was fine-tuned from another model.safetensors than {mixed.model} holds "
        "now; fine-tune and evaluate this seed again"
    )


def test_evaluations_away_from_their_models_are_told_apart_too(
    mixed: Results, tmp_path: Path
) -> None:
    """Where nothing lies around them, what they say of each other still counts."""
    folders = []
    for seed in (1, 2):
        folder = mixed.model / TASK / f"seed-{seed}" / "validation"
        folders.append(folder.rename(tmp_path / f"evaluation-{seed}"))
    with pytest.raises(ClozeError) as caught:
        read_evaluations(folders)
    assert str(caught.value) == (
        f"{folders[1]}: was made with another model.safetensors of the encoder than {folders[0]}, "
        "and seeds of different recipes have no mean; fine-tune and evaluate both seeds again"
    )


def test_seeds_of_other_settings_have_a_row_of_their_own(results: Results) -> None:
    folder = results.finetune(1, wrong=4, learning_rate=5e-4)
    found = compare_results(results.root)
    assert sorted((row["seeds"], row["score"]) for row in found.rows) == [(1, 0.9), (2, 0.5)]
    assert found.stale == []
    other = results.model / TASK / "seed-2" / "validation"
    with pytest.raises(ClozeError, match=r"other settings of the fine-tuning \(learning_rate\)"):
        read_evaluations([folder, other])


def test_a_seed_that_was_fine_tuned_anew_is_not_what_was_evaluated(results: Results) -> None:
    seed = results.model / TASK / "seed-2"
    results.write(seed / "model.safetensors", "other weights")
    found = compare_results(results.root)
    assert [row["seeds"] for row in found.rows] == [2]
    assert found.stale == [f"{seed}/validation is of other weights than {seed} holds now"]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_other_rows_of_the_task_make_evaluations_stale(results: Results, split: str) -> None:
    results.write(results.task / f"{split}.parquet", "other rows")
    results.finetune(3, wrong=4)
    found = compare_results(results.root)
    assert [(row["seeds"], row["score"]) for row in found.rows] == [(1, 0.9)]
    assert len(found.stale) == 2
    assert f"is of other {split} rows than {results.task} holds now" in found.stale[0]


def test_weights_that_were_removed_say_nothing(results: Results) -> None:
    for path in results.root.rglob("model.safetensors"):
        path.unlink()
    found = compare_results(results.root)
    assert [row["seeds"] for row in found.rows] == [3]
    assert found.stale == []


def test_where_all_is_stale_nothing_is_compared(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    results.pretrain("60 steps")
    assert compare.main([str(results.root)]) == 1
    assert "was fine-tuned from another model.safetensors" in capsys.readouterr().err


def test_a_checkpoint_has_no_loss_of_the_finished_encoder(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    write_encoder(results.model, 2.5, max_steps=1700)
    on_the_way = Results(results.root, "tiny/at-25")
    on_the_way.pretrain("425 steps")
    on_the_way.finetune(1, wrong=8)
    rows = {row["run"]: row for row in compare_results(results.root).rows}
    finished = rows[f"sample/words/rows/tiny/{TASK}"]
    assert (finished["validation_loss"], finished["max_steps"]) == (2.5, 1700)
    assert (
        not {"validation_loss", "max_steps"} & rows[f"sample/words/rows/tiny/at-25/{TASK}"].keys()
    )
    folders = [str(made.model / TASK) for made in (results, on_the_way)]
    assert compare.main(["diff", *folders]) == 0
    shown = capsys.readouterr().out
    assert shown.split("validation_loss")[1].split()[:2] == ["2.5", "-"]


def test_every_report_is_listed_and_a_stale_one_called_so(results: Results, tmp_path: Path) -> None:
    folder = results.model / TASK
    encoder = {"model.safetensors": sha256_file(results.model / "model.safetensors")}
    report = {
        "finetuning": {"encoder": encoder},
        "split": "validation",
        "score": {"per_seed": {"1": 0.5, "2": 0.5}},
    }
    write_json(folder / "a_report.json", report)
    write_json(folder / "b_report.json", report | {"score": {"per_seed": {"1": 0.75}}})
    write_json(results.model / "all_report.json", {"average": {}, "encoder": encoder})
    # The copy of what was asked for last is of one of these.
    write_json(results.root / "a_report.json", report)
    older = "stale: of another evaluation of seed 1 than lies there now"
    assert compare_results(results.root).reports == {
        folder / "a_report.txt": None,
        folder / "b_report.txt": older,
        results.model / "all_report.txt": None,
    }
    page = tmp_path / "pages" / "comparison.html"
    assert compare.main([str(results.root), "--output", str(page)]) == 0
    assert f'href="../results/sample/words/rows/tiny/{TASK}/a_report.txt"' in page.read_text()
    results.pretrain("60 steps")
    results.finetune(1, wrong=4)
    other = "stale: of another encoder than lies there now"
    reports = compare_results(results.root).reports
    assert reports[folder / "a_report.txt"] == reports[results.model / "all_report.txt"] == other


def test_one_name_for_different_settings_is_said(results: Results) -> None:
    other = Results(results.root, "other")
    other.finetune(1, wrong=4)
    for made, steps in ((results, 1700), (other, 60)):
        recipe = {"encoder": "tiny", "encoders": {"tiny": {"max_steps": steps, "seed": 0}}}
        results.write(made.model / "recipe.yaml", yaml.safe_dump(recipe))
    assert compare_results(results.root).names == [
        f"encoders.tiny.max_steps is 60 in {other.model}, 1,700 in {results.model}"
    ]
