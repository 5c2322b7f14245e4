"""`recipe.yaml`: what each folder of results says it was made by."""

from pathlib import Path

import pytest
import yaml

from cloze.settings.recipes import forget_recipes, recipes, write_recipes
from tests.configurations import config

FOLDER = "results/mine/words/short"
WEIGHTS = f"{FOLDER}/small/model.safetensors"


def test_every_folder_of_a_run_has_its_recipe() -> None:
    found = recipes(config(seeds=[3], encoders__small__keep_at=[50]))
    assert set(found) == {
        "results/mine/documents/metrics.json",
        "results/mine/words/tokenizer.json",
        f"{FOLDER}/manifest.json",
        WEIGHTS,
        f"{FOLDER}/small/at-50/model.safetensors",
        "results/mine/words/scratch/tiny/config.json",
        "results/tasks/mood/task.json",
        f"{FOLDER}/small/mood/seed-3/model.safetensors",
        f"{FOLDER}/small/at-50/mood/seed-3/model.safetensors",
        "results/mine/words/scratch/tiny/mood/seed-3/model.safetensors",
    }


def test_a_recipe_names_the_picks_and_what_they_stood_for() -> None:
    settings = config()
    recipe = recipes(settings)[WEIGHTS]
    picks = {"corpus": "mine", "tokenizer": "words", "dataset": "short", "encoder": "small"}
    assert dict(list(recipe.items())[:4]) == picks
    assert recipe["corpora"] == {"mine": settings.section("corpora", "mine")}
    assert recipe["architectures"] == {"tiny": settings.section("architectures", "tiny")}
    assert recipe["encoders"]["small"]["max_steps"] == 1000
    assert "tasks" not in recipe


def test_what_changes_no_weight_is_in_no_recipe() -> None:
    watched = config(encoders__small__eval_steps=7, encoders__small__keep_at=[50])
    assert recipes(watched)[WEIGHTS] == recipes(config())[WEIGHTS]


def test_a_seed_has_the_fine_tuning_of_its_own_arm() -> None:
    found = recipes(config(tasks__mood__finetuning_from_scratch={"max_length": 7}))
    seed = found[f"{FOLDER}/small/mood/seed-1/model.safetensors"]
    scratch = found["results/mine/words/scratch/tiny/mood/seed-1/model.safetensors"]
    assert (seed["seeds"], scratch["seeds"]) == ([1], [1])
    assert "finetuning_from_scratch" not in seed["tasks"]["mood"]
    assert scratch["tasks"]["mood"]["finetuning_from_scratch"]["max_length"] == 7
    assert "finetuning" not in scratch["tasks"]["mood"]


def test_a_mixture_is_made_of_its_parts() -> None:
    other = {"format": "text", "files": ["b.txt"]}
    mixed = {"mixture": {"mine": 1, "other": 2}}
    found = recipes(config(corpus="mixed", corpora__other=other, corpora__mixed=mixed))
    assert set(found["results/mixed/words/tokenizer.json"]["corpora"]) == {"mine", "other", "mixed"}
    part = found["results/other/documents/metrics.json"]
    assert (part["corpus"], set(part["corpora"])) == ("other", {"other"})


def test_an_encoder_from_elsewhere_and_a_ceiling_have_recipes_too() -> None:
    found = recipes(
        config(
            encoders__theirs={"pretrained": "models/theirs"},
            reports={"sst2": {"task": "mood", "ceiling": "theirs"}},
            seeds=[1],
        )
    )
    imported = found["results/imported/theirs/model.safetensors"]
    assert imported["encoders"]["theirs"]["pretrained"] == "models/theirs"
    assert "corpus" not in imported
    assert "results/imported/theirs/mood/seed-1/model.safetensors" in found


def test_a_recipe_is_written_beside_what_is_there_and_forgotten_before_it_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights, recipe = Path(WEIGHTS), Path(WEIGHTS).with_name("recipe.yaml")
    weights.parent.mkdir(parents=True)
    weights.write_text("weights")
    write_recipes(recipes(config()))
    assert list(Path("results").rglob("recipe.yaml")) == [recipe]
    assert yaml.safe_load(recipe.read_text()) == recipes(config())[WEIGHTS]
    before = recipe.stat().st_mtime_ns
    write_recipes(recipes(config()))
    assert recipe.stat().st_mtime_ns == before
    write_recipes(recipes(config(encoders__small__max_steps=60)))
    assert yaml.safe_load(recipe.read_text())["encoders"]["small"]["max_steps"] == 60
    forget_recipes([WEIGHTS, "results/nothing/there.json"])
    assert not recipe.exists()


def test_an_adapted_encoder_says_what_it_was_and_what_it_gained() -> None:
    entry = {"adapt": "theirs", "max_steps": 9, "extend_vocabulary": 20}
    changes = {"encoders__theirs": {"pretrained": "models"}, "encoder": "mine", "seeds": [3]}
    found = recipes(config(encoders__mine=entry, **changes))
    tokenizer = found["results/mine/theirs+20/tokenizer.json"]
    assert tokenizer["encoders"]["mine"] == {"adapt": "theirs", "extend_vocabulary": 20}
    assert tokenizer["encoders"]["theirs"]["pretrained"] == "models"
    assert "tokenizers" not in tokenizer
    weights = found["results/mine/theirs+20/short/mine/model.safetensors"]
    assert weights["encoders"]["mine"]["max_steps"] == 9
    assert "results/imported/theirs/mood/seed-3/model.safetensors" in found
    watched = {**entry, "general_corpus": "mine"}
    assert recipes(config(encoders__mine=watched, **changes)) == found


def test_a_folder_that_is_adapted_has_no_recipe_of_training_before() -> None:
    entry = {"adapt": "models", "max_steps": 9}
    found = recipes(config(encoders__mine=entry, encoder="mine"))
    before = found["results/imported/mine/model.safetensors"]
    assert before["encoders"] == {"mine": {"adapt": "models"}}
