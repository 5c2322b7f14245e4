"""The rerun matrix: which rules a change makes run again, and which it leaves alone.

Outputs are small files that Snakemake notes as made, so that only planning is tested here;
test_pipeline.py runs the stages. One change a section belongs to the default tests.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.project import Project

COPIED = {"copy_report"}
REPORT = {"report"} | COPIED
SCRATCH = {"finetune from scratch", "evaluate from scratch"} | REPORT
FINETUNED = {"finetune", "evaluate"} | REPORT
SHOWN = {"show_pretraining"} | REPORT
PRETRAINED = {"pretrain"} | SHOWN | FINETUNED
INITIALISED = {"init_encoder"} | PRETRAINED | SCRATCH
MODELLED = INITIALISED - {"init_encoder"}
COLLECTED = {"collect_sentences-128", "describe_corpus"} | PRETRAINED
SEGMENTED = {"segment_text_sentences-128"} | COLLECTED
TOKENIZED = {"train_tokenizer", "init_encoder"} | SEGMENTED | SCRATCH
EXTRACTED = {"extract_documents", "find_contamination"} | TOKENIZED
TASK = {"prepare_task", "baselines", "find_contamination"} | FINETUNED | SCRATCH
EVERYTHING = EXTRACTED | TASK
slow = pytest.mark.slow


def key(path: str, value: Any, rules: set[str], *, marks: Any = ()) -> Any:
    return pytest.param(path, value, rules, id=f"{path}={value}", marks=marks)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("matrix"))
    project.pretend()
    return project


@pytest.fixture
def project(made: Project) -> Iterator[Project]:
    """The finished project; sources that a test edits are put back."""
    kept = made.folder / "kept"
    for name in ("scripts", "workflow"):
        shutil.copytree(made.folder / name, kept / name)
    yield made
    for name in ("scripts", "workflow"):
        shutil.rmtree(made.folder / name)
        (kept / name).rename(made.folder / name)
    shutil.rmtree(kept)


def test_a_second_run_has_nothing_to_do(made: Project) -> None:
    assert made.plan() == {}


def test_a_lost_shard_is_the_only_one_made_again(made: Project) -> None:
    folder = made.folder / "results" / "sample" / "uncased-4k" / "sentences-128"
    # What a trainer that meets a broken shard says to delete.
    lost = [folder / name for name in ("train-00001-of-00002.msgpack.gz", "manifest.json")]
    for path in lost:
        path.rename(path.with_name(f"{path.name}.kept"))
    try:
        plan = made.plan("--forcerun", "pretrain")
    finally:
        for path in lost:
            path.with_name(f"{path.name}.kept").rename(path)
    assert plan["segment_text_sentences-128"] == 1
    assert "train_tokenizer" not in plan


@pytest.mark.parametrize(
    ("path", "value", "rules"),
    [
        key("corpora.sample.validation_fraction", 0.02, EXTRACTED),
        key("corpora.sample.min_characters", 10, EXTRACTED, marks=slow),
        key("tokenizers.uncased-4k.vocab_size", 2000, TOKENIZED),
        key("tokenizers.uncased-4k.lowercase", False, TOKENIZED, marks=slow),
        key("datasets.sentences-128.max_length", 64, SEGMENTED),
        key("datasets.sentences-128.num_shards", 3, SEGMENTED, marks=slow),
        key("datasets.sentences-128.format", "parquet", SEGMENTED, marks=slow),
        key("architectures.modernbert-tiny.hidden_size", 64, INITIALISED),
        key("encoders.tiny.learning_rate", 2e-3, PRETRAINED),
        # One number against another: a comparison of values without their names sees no change.
        key("encoders.tiny", {"warmup_steps": 1000, "max_steps": 100}, PRETRAINED, marks=slow),
        # Of what changes no weight, an evaluation more often is nothing to do at all.
        key("encoders.tiny.eval_steps", 50, set()),
        key("encoders.tiny.keep_at", [25], {"checkpoint"} | FINETUNED),
        key("tasks.sample-reviews.labels", ["bad", "good"], TASK),
        key("tasks.sample-reviews.finetuning.num_train_epochs", 4, FINETUNED | SCRATCH),
        key("tasks.sample-reviews.finetuning_from_scratch.num_train_epochs", 4, SCRATCH),
        key("seeds", [1, 2, 3, 4], FINETUNED | SCRATCH, marks=slow),
        key("seeds", [1, 2], REPORT, marks=slow),
        key("encoder", "tiny-bert", INITIALISED, marks=slow),
        key("corpus", "python-docs", EXTRACTED, marks=slow),
        key("mirror", "/somewhere", set()),
    ],
)
def test_a_key_replans_what_depends_on_it(
    made: Project, path: str, value: Any, rules: set[str]
) -> None:
    overlay = value
    for name in reversed(path.split(".")):
        overlay = {name: overlay}
    assert made.planned(*made.overlay(overlay)) == rules


def test_a_new_seed_adds_only_its_own_jobs(made: Project) -> None:
    plan = made.plan(*made.overlay({"seeds": [1, 2, 3, 4]}))
    assert plan == {"finetune": 2, "evaluate": 2, "report": 1, "copy_report": 1}


def test_a_test_split_is_one_more_evaluation_of_each_classifier(made: Project) -> None:
    labelled = {"test": "resources/sample/reviews-validation.tsv"}
    arguments = made.overlay({"tasks": {"sample-reviews": labelled}})
    plan = made.plan(*arguments)
    assert plan["evaluate"] == 12
    assert "pretrain" not in plan


@pytest.mark.parametrize(
    ("module", "rules"),
    [
        pytest.param("cloze/tokens/samples.py", SEGMENTED),
        # A folder without weights has no head.
        pytest.param("cloze/model/heads.py", MODELLED, id="cloze/model/heads.py"),
        pytest.param("cloze/model/encoder.py", INITIALISED, marks=slow),
        pytest.param("cloze/model/config.py", INITIALISED, marks=slow),
        pytest.param("cloze/tokens/tokenizer_training.py", TOKENIZED, marks=slow),
        pytest.param("cloze/corpus/readers.py", EXTRACTED, marks=slow),
        pytest.param("cloze/objectives/masking.py", PRETRAINED, marks=slow),
        pytest.param("cloze/objectives/mlm.py", PRETRAINED, id="cloze/objectives/mlm.py"),
        pytest.param(
            "cloze/objectives/classification.py", FINETUNED | SCRATCH, id="classification.py"
        ),
        pytest.param("cloze/objectives/regression.py", set(), marks=slow),
        pytest.param("cloze/show/doctor.py", SHOWN, id="cloze/show/doctor.py"),
        pytest.param("cloze/show/masked_examples.html", SHOWN, marks=slow),
        pytest.param("cloze/show/report_page.html", REPORT, marks=slow),
        pytest.param("cloze/train/finetuning.py", FINETUNED | SCRATCH, marks=slow),
        pytest.param("cloze/objectives/task.py", FINETUNED | SCRATCH, marks=slow),
        pytest.param("cloze/tasks/baselines.py", {"baselines"} | REPORT, marks=slow),
        pytest.param("cloze/show/report_text.py", REPORT, marks=slow),
        pytest.param("cloze/show/corpus_page.html", {"describe_corpus"}, marks=slow),
        pytest.param(
            "cloze/tasks/contamination_report.py", {"find_contamination"} | REPORT, marks=slow
        ),
        # Extraction can remove what it finds, and held-out rows are kept apart by it.
        pytest.param("cloze/corpus/contamination.py", EVERYTHING, marks=slow),
        pytest.param("cloze/show/comparison.py", set(), marks=slow),
        pytest.param("cloze/settings/config.py", set(), marks=slow),
        pytest.param("cloze/settings/tokenizers.py", TOKENIZED, marks=slow),
        pytest.param("pretrain.py", PRETRAINED, marks=slow),
        pytest.param("segment_text.py", SEGMENTED, marks=slow),
        pytest.param("collect_shards.py", COLLECTED, marks=slow),
        pytest.param("split_tokens.py", set(), marks=slow),
    ],
)
def test_a_module_replans_the_stages_that_import_it(
    project: Project, module: str, rules: set[str]
) -> None:
    with open(project.folder / "scripts" / module, "a") as stream:
        stream.write("\n_edited = 1\n")
    assert project.planned() == rules
    if rules:
        assert f"{module}@" in project.snakemake("-n")


def test_whatever_only_shows_trains_and_evaluates_nothing(project: Project) -> None:
    for path in (project.folder / "scripts" / "cloze" / "show").iterdir():
        edit = "\n_edited = 1\n" if path.suffix == ".py" else "\nedited\n"
        path.write_text(path.read_text(encoding="utf-8") + edit, encoding="utf-8")
    assert project.planned() == SHOWN | {"describe_corpus"}


def test_comments_docstrings_and_times_replan_nothing(project: Project) -> None:
    for path in (project.folder / "scripts").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(f'"""Another docstring."""\n# A comment.\n{without_docstring(text)}# end\n')
    for path in (project.folder / "workflow" / "rules").glob("*.smk"):
        path.write_text(path.read_text(encoding="utf-8") + "\n\n# A comment.\n")
    # Without --software-deployment-method the environment is a note, not an input.
    project.edit("workflow/envs/pipeline.yaml", "numpy", "numpy >=2.1,")
    assert project.plan() == {}


def without_docstring(text: str) -> str:
    return text.split('"""', 2)[2] if text.startswith('"""') else text


@slow
def test_the_number_of_cores_and_the_device_replan_nothing(made: Project) -> None:
    assert made.plan("--cores", "1") == {}
    assert made.plan("--cores", "64", "--set-threads", "pretrain=2") == {}
    assert made.plan("--set-resources", "pretrain:device=cuda", "pretrain:precision=fp32") == {}


@slow
def test_there_and_back_again_plans_only_the_copy_of_the_report(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.pretend()
    project.pretend("--config", "corpus=python-docs")
    assert project.planned() == COPIED
    assert set(project.plan("--config", "corpus=python-docs")) == set()


def test_an_input_that_is_only_touched_replans_nothing(made: Project) -> None:
    for name in ("reviews-train.tsv", "reviews-validation.tsv"):
        (made.folder / "resources" / "sample" / name).touch()
    assert made.plan() == {}


def test_a_changed_input_replans_what_follows(made: Project) -> None:
    name = "resources/sample/reviews-train.tsv"
    made.edit(name, "\n", "\n\n")
    try:
        assert made.planned() == TASK
    finally:
        made.edit(name, "\n\n", "\n")
