"""Adapted encoders in the workflow: what is planned, what runs again, and a whole run."""

import json
import random
from typing import Any

import pytest

from tests.workflow.project import Project
from tests.workflow.tiny_sample import TINY, shorten

STEMS, ENDS = ["hydro", "chlor", "phosph", "carb", "sulf", "nitr"], ["ate", "ide", "ic", "ous"]
BASE = "results/sample/uncased-4k/sentences-128/tiny"
PICKS = {
    "corpus": "chemistry",
    "encoder": "adapted",
    "corpora": {"chemistry": {"format": "paragraphs", "files": ["chemistry.txt"]}},
    "encoders": {
        "adapted": {
            "adapt": "theirs",
            "max_steps": 20,
            "train_batch_size": 8,
            "extend_vocabulary": 40,
            "general_corpus": "sample",
        },
        "theirs": {"pretrained": "theirs"},
    },
}
SHOWN = {"show_pretraining", "report", "copy_report"}
ADAPTED = {"pretrain", "evaluate_masked_lm", "finetune", "evaluate"} | SHOWN
SEGMENTED = {"segment_text_sentences-128", "collect_sentences-128", "describe_corpus"} | ADAPTED
slow = pytest.mark.slow


def prepare(folder: Any) -> Project:
    project = Project(folder)
    rng = random.Random(0)
    sentence = "The {}{} of {} was kept with the {}{} and the salt."
    paragraphs = [
        " ".join(
            sentence.format(*(rng.choice(each) for each in (STEMS, ENDS, STEMS, STEMS, ENDS)))
            for _ in range(5)
        )
        for _ in range(150)
    ]
    (project.folder / "chemistry.txt").write_text("\n\n".join(paragraphs) + "\n")
    (project.folder / "theirs").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (project.folder / "theirs" / name).write_text("{}")
    return project


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = prepare(tmp_path_factory.mktemp("adaptation"))
    project.pretend(*project.overlay(PICKS))
    return project


def changed(**changes: Any) -> dict[str, Any]:
    encoders = {**PICKS["encoders"], "adapted": {**PICKS["encoders"]["adapted"], **changes}}
    return {**PICKS, "encoders": encoders}


def test_one_line_plans_the_encoder_before_and_after(made: Project) -> None:
    output = made.snakemake("-n", "--forceall", *made.overlay(PICKS))
    assert "results/chemistry/theirs+40/sentences-128/adapted/model.safetensors" in output
    assert "--adapt results/imported/theirs" in output
    assert "--extend-vocabulary 40" in output
    counts = made.plan("--forceall", *made.overlay(PICKS))
    assert (counts["evaluate_masked_lm"], counts["finetune"]) == (4, 6)
    assert "init_encoder" not in counts
    assert "train_tokenizer" not in counts


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"learning_rate": 1e-3}, ADAPTED),
        pytest.param({"new_embedding_init": "random"}, ADAPTED, marks=slow),
        pytest.param({"eval_steps": 5}, set(), marks=slow),
        # The tokenizer of another number of pieces lies in another folder.
        ({"extend_vocabulary": 50}, {"extend_tokenizer"} | SEGMENTED),
        pytest.param({"general_corpus": None}, {"report", "copy_report"}, marks=slow),
    ],
)
def test_a_key_replans_what_depends_on_it(
    made: Project, changes: dict[str, Any], rules: set[str]
) -> None:
    assert made.planned(*made.overlay(changed(**changes))) == rules


@slow
def test_another_encoder_of_the_same_base_shares_tokenizer_and_data_set(made: Project) -> None:
    other = {**PICKS["encoders"]["adapted"], "new_embedding_init": "random"}
    values = {**PICKS, "encoders": {**PICKS["encoders"], "other": other}, "encoder": "other"}
    assert made.planned(*made.overlay(values)) == ADAPTED
    counts = made.plan(*made.overlay(values))
    assert (counts["evaluate_masked_lm"], counts["finetune"]) == (2, 3)


@slow
def test_an_encoder_made_here_is_made_first(made: Project) -> None:
    counts = made.plan(*made.overlay(changed(adapt=BASE)))
    assert (counts["pretrain"], counts["import_encoder"]) == (2, 1)


@slow
def test_a_folder_that_is_not_there_is_one_sentence(made: Project) -> None:
    output = made.snakemake("-n", *made.overlay(changed(adapt="models/none")), code=1)
    sentence = "error: config: encoders.adapted.adapt: models/none/config.json: no such file"
    (line,) = (line for line in output.splitlines() if line.startswith(sentence))
    assert "write a model on the hub as hf://models/none" in line


@slow
def test_the_sample_is_adapted_and_the_report_tells_of_both_sides(tmp_path: Any) -> None:
    project = prepare(tmp_path)
    shorten(project)
    values = changed(adapt=BASE, max_steps=60)
    values["encoders"] |= TINY["encoders"]
    values = {**TINY, **values}
    project.snakemake("--cores", "2", *project.overlay(values))
    report = json.loads((project.folder / "results" / "sst2_report.json").read_text())
    facts = report["adaptation"]
    words = facts["tokens_per_word"]
    assert words["after"] < 0.9 * words["before"]
    bits = {
        corpus: {side: found["masked_bits_per_byte"] for side, found in sides.items()}
        for corpus, sides in facts["masked_lm"].items()
    }
    assert bits["chemistry"]["after"] < bits["chemistry"]["before"]
    assert set(bits) == {"chemistry", "sample"}
    assert "no_pretraining" not in report["baselines"]
    assert report["baselines"]["unadapted"]["paired_difference"]["ci95"]
    text = (project.folder / "results" / "sst2_report.txt").read_text()
    assert "the same encoder, not adapted" in text
    assert "chemistry: bits a byte" in text
    assert project.plan(*project.overlay(values)) == {}
    recipe = project.folder / "results" / "chemistry" / "adapted+40" / "recipe.yaml"
    assert "extend_vocabulary: 40" in recipe.read_text()
