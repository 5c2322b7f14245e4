"""What `config.yaml` says of phases of pretraining."""

from typing import Any

import pytest

from cloze.errors import ClozeError
from cloze.settings.config import Config
from cloze.settings.recipes import recipes
from tests.configurations import config, flag

FIRST = "results/mine/words/short/small"
LONG = {"method": "split_tokens", "max_length": 512}
PAIRS = {"method": "segment_text", "next_sentence": True}


def phased(*phases: dict[str, Any], **changes: Any) -> Config:
    tables = {"datasets__long": LONG, "datasets__pairs": PAIRS}
    return config(**{**tables, "encoders__small__phases": list(phases), **changes})


def test_each_phase_is_a_folder_below_the_one_of_the_first() -> None:
    (run,) = phased({"dataset": "long", "max_steps": 5}, {"dataset": "short", "max_steps": 5}).runs
    assert run.phase_folders == [FIRST, f"{FIRST}/phase-2", f"{FIRST}/phase-3"]
    assert run.encoder_folder == f"{FIRST}/phase-3"
    assert [folder.rpartition("/")[2] for folder in run.dataset_folders] == [
        "short", "long", "short",
    ]  # fmt: skip


def test_a_phase_has_the_recipe_of_the_encoder_but_for_what_it_says() -> None:
    settings = phased(
        {"dataset": "long", "budget": "2m", "weight_decay": 0.1},
        encoders__small__learning_rate=2e-3,
        encoders__small__weight_decay=0.3,
        encoders__small__keep_at=[50],
        encoders__small__reset_heads=True,
    )
    phase = settings.pretraining("small", 2)
    assert (phase.learning_rate, phase.weight_decay) == (2e-3, 0.1)
    assert (phase.max_steps, phase.budget, phase.keep_at, phase.reset_heads) == (
        None, "2m", [], False,
    )  # fmt: skip


def test_a_phase_goes_on_in_the_shape_of_the_one_before() -> None:
    phases = [{"dataset": "long", "max_steps": 5}, {"dataset": "short", "max_steps": 5}]
    settings = phased(*phases)
    second, third = (settings.pretraining_flags("small", phase, "short") for phase in (2, 3))
    assert (flag(second, "--trained-length"), flag(third, "--trained-length")) == ("128", "512")
    assert not {"--layout", "--max-position-embeddings"} & {*second, *third}
    imported = phased(*phases, encoders__small__init_from="there")
    assert flag(imported.pretraining_flags("small", 2, "short"), "--trained-length") == "512"


def test_the_first_phase_is_what_an_encoder_without_phases_is() -> None:
    settings = phased({"dataset": "long", "max_steps": 5})
    assert settings.pretraining_flags("small", 1, "short") == config().pretraining_flags(
        "small", 1, "short"
    )
    weights = f"{FIRST}/model.safetensors"
    assert recipes(settings)[weights] == recipes(config())[weights]


def test_a_recipe_tells_of_the_phases_up_to_its_own() -> None:
    phase = {"dataset": "long", "max_steps": 5}
    found = recipes(phased(phase, {**phase, "keep_at": [50]}))
    counts = {
        folder: len(found[f"{FIRST}{folder}/model.safetensors"]["encoders"]["small"]["phases"])
        for folder in ("/phase-2", "/phase-3", "/phase-3/at-50")
    }
    assert counts == {"/phase-2": 1, "/phase-3": 2, "/phase-3/at-50": 2}
    second = found[f"{FIRST}/phase-2/model.safetensors"]
    assert set(second["datasets"]) == {"short", "long"}
    assert "eval_steps" not in second["encoders"]["small"]["phases"][0]
    assert found["results/mine/words/long/manifest.json"]["dataset"] == "long"


def test_what_is_kept_on_the_way_is_of_the_last_phase() -> None:
    settings = phased(
        {"dataset": "long", "max_steps": 5, "keep_at": [75]}, encoders__small__keep_at=[50]
    )
    assert settings.kept_at("small") == [75]
    assert settings.monitoring_flags("small", 2) == ["--keep-at", "75"]


@pytest.mark.parametrize(
    ("phase", "changes", "message"),
    [
        (
            {"dataset": "lng"},
            {},
            "phases[0].dataset: 'lng' is not in datasets; did you mean 'long'",
        ),
        ({"max_steps": 5}, {}, "small.phases[0].dataset: missing; add this key (what it trains on"),
        (
            {"dataset": "long"},
            {},
            "small.phases[0]: says nowhere how long to train; add one of max",
        ),
        (
            {"dataset": "long", "max_steps": 5, "budget": "2m"},
            {},
            "small.phases[0]: has max_steps and budget, but only one of them can end a run; remove",
        ),
        (
            {"dataset": "long", "max_step": 5},
            {},
            "phases[0].max_step: unknown key; did you mean encoders.small.phases[0].max_steps?",
        ),
        (
            {"dataset": "long", "max_steps": 5},
            {"encoders__small__learning_rate": "fast"},
            "config: encoders.small.learning_rate: expected a number, got 'fast'",
        ),
        (
            {"dataset": "long", "max_steps": 5},
            {"dataset": "pairs", "encoders__small__next_sentence": True},
            "encoders.small.phases[0].next_sentence: datasets.long has no pairs of texts; set ",
        ),
        (
            {"dataset": "pairs", "max_steps": 5, "next_sentence": True},
            {"architectures__tiny__layout": "modernbert"},
            "small.phases[0].next_sentence: layout modernbert has no next-sentence head; take an",
        ),
        (
            {"dataset": "long", "max_steps": 5},
            {"datasets__short__max_length": 1024},
            "config: encoders.small: datasets.short has samples of 1024 tokens and "
            "architectures.tiny max_position_embeddings 512; raise it, pick a data set of shorter "
            "samples, or train on this one in one of encoders.small.phases, which extends posit",
        ),
    ],
)
def test_what_cannot_work_is_told_in_a_sentence(
    phase: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClozeError) as caught:
        phased(phase, **changes)
    assert message in str(caught.value)


def test_an_encoder_from_elsewhere_has_no_phases() -> None:
    with pytest.raises(ClozeError, match="has pretrained and phases, but an encoder from elsewh"):
        config(encoders__theirs={"pretrained": "there", "phases": []})


def test_a_phase_that_nobody_asked_for_is_told() -> None:
    with pytest.raises(ClozeError, match=r"encoders\.small\.phases: names 1, after the first one"):
        phased({"dataset": "long", "max_steps": 5}).pretraining("small", 3)
