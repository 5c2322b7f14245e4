"""The configuration: coercion, checks, messages, runs and files laid over each other."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloze.errors import ClozeError
from cloze.settings.config import Config, load_config
from tests.configurations import HUB, config, flag, minimal

OTHER = {"format": "text", "files": ["b.txt"]}


@pytest.mark.parametrize(
    ("path", "given", "kept"),
    [
        ("encoders__small__learning_rate", "1e-3", 0.001),
        ("encoders__small__learning_rate", 1, 1.0),
        ("encoders__small__max_steps", "2e3", 2000),
        ("encoders__small__max_steps", "64", 64),
        ("encoders__small__max_steps", 8.0, 8),
        ("tokenizers__words__lowercase", "true", True),
        ("tokenizers__words__lowercase", "False", False),
        ("corpora__mine__text_column", 0, "0"),
        ("corpora__mine__title_column", None, None),
        ("tasks__mood__labels", [0, 1], ["0", "1"]),
        ("tasks__mood__labels", "one", ["one"]),
    ],
)
def test_values_are_coerced_by_the_schema(path: str, given: Any, kept: Any) -> None:
    place: Any = config(**{path: given}).values
    *parents, key = path.split("__")
    for parent in parents:
        place = place[parent]
    found = place.get(key)
    assert (found, type(found)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("path", "given", "message"),
    [
        ("encodr", "small", "config: encodr: unknown key; did you mean encoder?"),
        (
            "encoders__small__warmup_step",
            10,
            "config: encoders.small.warmup_step: unknown key; "
            "did you mean encoders.small.warmup_steps?",
        ),
        ("learning_rate", 1, "config: learning_rate: unknown key; did you mean encoders.NAME.lear"),
        ("corpora__mine__zzz", 1, "config: corpora.mine.zzz: unknown key; known here: files, deco"),
        (
            "encoders__small__learning_rate",
            "fast",
            "config: encoders.small.learning_rate: expected a number, got 'fast'",
        ),
        (
            "encoders__small__learning_rate",
            "nan",
            "config: encoders.small.learning_rate: expected a number, got 'nan'",
        ),
        ("encoders__small__max_steps", 1.5, "max_steps: expected a whole number, got 1.5"),
        ("encoders__small__max_steps", True, "max_steps: expected a whole number, got True"),
        ("encoders__small__max_steps", 0, "max_steps: 0 is too small; the least is 1"),
        ("encoders__small__learning_rate", 0, "learning_rate: 0.0 is too small; it must be above"),
        ("encoders__small__dropout", 1.5, "dropout: 1.5 is too large; the most is 1"),
        ("datasets__short__max_length", 3, "datasets.short.max_length: 3 is too small; the least"),
        ("tokenizers__words__lowercase", "yes", "lowercase: expected true or false, got 'yes'"),
        ("tokenizers__words__lowercase", 1, "lowercase: expected true or false, got 1"),
        ("tasks__mood__labels", [False, True], "labels[0]: expected text, got False; put it in q"),
        ("tasks__mood__labels", [1.5], "tasks.mood.labels[0]: expected text, got 1.5; put it in q"),
        ("tokenizers", ["a"], "config: tokenizers: expected a mapping of keys to values, got ['a'"),
        ("corpora__mine__files", [], "config: corpora.mine.files: the list needs at least 1 entri"),
        ("corpora__mine__files", {"validation": ["a"]}, "corpora.mine.files.train: missing; add"),
        ("corpora__mine__format", "txt", "'txt' is none of: wikitext,"),
        ("corpora__mine__format", "txt", "did you mean 'text'?"),
        ("datasets__short__method", "segment", "datasets.short.method: is 'segment'; choose one o"),
        ("datasets__short", {}, "config: datasets.short.method: is missing; choose one of: segmen"),
        (
            "datasets__short__whole_words",
            True,
            "config: datasets.short.whole_words: method segment_text has no whole_words; leave it "
            "out, or set it to null where another file gives it (whole_words: null)",
        ),
        ("encoders__small__unpickle", True, "encoders.small.unpickle: unknown key; it goes with"),
        ("corpora__mine__delimiter", ";", "corpora.mine.delimiter: is about csv and tsv, and the"),
        ("corpora__mine__header", False, "corpora.mine.header: is about csv and tsv, and the form"),
        ("corpora__mine__title_column", "t", "title_column: format text has no columns; leave it"),
        ("corpora__mine__validation_fraction", 0, "validation_fraction: is 0, but pretraining ne"),
        ("corpora__mine__test_fraction", 0.99, "validation_fraction: leaves with test_fraction n"),
        ("tasks__mood__validation", None, "tasks.mood.validation: missing; name its file, or hol"),
        ("tasks__mood__hold_out_fraction", 1, "hold_out_fraction: leaves one side without rows"),
        ("tasks__mood__metric", "pearson", "mood.metric: pearson does not measure classification"),
        ("tasks__mood__header", False, "mood.header: without a header columns are numbers from 0"),
        ("tasks__mood__scheme", "bio", "tasks.mood.scheme: is read for the objective token_class"),
        ("tasks__mood__label_columns", ["a"], "label_columns: is read for the objective multi_la"),
        ("encoders__small", {}, "config: encoders.small.architecture: missing; add this key (one"),
        ("corpora__mine__files", [{"source": "a", "sha256": "12"}], "files[0].sha256: '12' does n"),
        (
            "corpus",
            "mne",
            "config: corpus: 'mne' is not in corpora; did you mean 'mine'? (known: m",
        ),
        ("encoders__small__architecture", "big", "encoders.small.architecture: 'big' is not in ar"),
        ("encoders__small__max_steps", None, "encoders.small: says nowhere how long to train; add"),
        (
            "encoders__small__budget",
            "20m",
            "config: encoders.small: has max_steps and budget, but only one of them can end a run; "
            "remove one, or set it to null where another file gives it (max_steps: null)",
        ),
        (
            "encoders__small__next_sentence",
            True,
            "config: encoders.small.next_sentence: datasets.short has no pairs of texts; set",
        ),
        ("reports__sst2__task", "mod", "reports.sst2.task: 'mod' is not in tasks; did you mean 'm"),
        ("seeds", [1, 1], "config: seeds: an entry stands in the list twice"),
        ("seeds", [-1], "config: seeds[0]: -1 is too small; the least is 0"),
        ("corpora__documents", {"format": "python-docs"}, "the name 'documents' is reserved for a"),
        ("corpora__Mine", {"format": "python-docs"}, "corpora.Mine: 'Mine' does not have the form"),
        ("corpora__a/b", {"format": "python-docs"}, "'a/b' does not have the form"),
        ("corpora__mine__files", None, "config: corpora.mine.files: missing; name the corpus's fi"),
        ("corpora__mine__format", "python-docs", "files: python-docs reads no files; leave it out"),
        ("corpora__mine__files", ["hf://datasets/a/b/c"], "config: corpora.mine.files: source 'hf"),
        ("corpora__mine__files", ["a{1..0}"], "config: corpora.mine.files: 'a{1..0}': the range"),
        ("corpora__mine__files", ["a", "a"], "config: corpora.mine.files: a stands there twice"),
        ("runs", [{"encoder": "smal"}], "config: runs[0].encoder: 'smal' is not in encoders; did"),
        ("runs", [{"seeds": [4]}], "config: runs[0].name: missing; it ends the report's file name"),
        ("runs", [{"encoder": "small"}] * 2, "two runs write results/sst2-small_report.txt"),
        ("mirror", ["a"], "config: mirror: expected text, got ['a']"),
    ],
)
def test_a_mistake_is_named_with_its_key(path: str, given: Any, message: str) -> None:
    with pytest.raises(ClozeError) as caught:
        config(**{path: given})
    assert message in str(caught.value)


def test_next_sentence_is_for_pairs_and_the_layout_bert() -> None:
    pairs = {"method": "segment_text", "next_sentence": True}
    changes = {"datasets__short": pairs, "encoders__small__next_sentence": True}
    assert "--next-sentence" in config(**changes).flags("encoders", "small")
    with pytest.raises(ClozeError, match="layout modernbert has no next-sentence head"):
        config(**changes, architectures__tiny={"layout": "modernbert"})


def test_null_makes_room_for_another_length() -> None:
    found = config(encoders__small={"architecture": "tiny", "max_steps": None, "budget": "20m"})
    assert flag(found.flags("encoders", "small"), "--budget") == "20m"


def test_names_of_two_owners_must_not_meet_in_one_file() -> None:
    raw = minimal()
    raw["corpora"]["mine"]["files"] = [f"{HUB}/a/x.parquet", f"{HUB}/b/x.parquet"]
    with pytest.raises(ClozeError, match=r"would both be resources/mine/x\.parquet"):
        Config(raw)


def test_a_mixture_is_made_of_other_corpora() -> None:
    found = config(corpora__both={"mixture": {"mine": 1, "other": "2.5"}}, corpora__other=OTHER)
    assert found.section("corpora", "both") == {"mixture": {"mine": 1.0, "other": 2.5}}
    assert found.mixture("both") == {"mine": 1.0, "other": 2.5}
    assert found.mixture("mine") == {}
    assert found.files.corpora["both"] == {}


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ({"mixture": {}}, "config: corpora.both.mixture: empty; name corpora"),
        ({"mixture": {"mne": 1}}, "corpora.both.mixture.mne: 'mne' is not in corpora; did you me"),
        ({"mixture": {"both": 1}}, "config: corpora.both.mixture.both: a mixture cannot hold its"),
        ({"mixture": {"mixed": 1}}, "corpora.both.mixture.mixed: is a mixture itself; name its c"),
        ({"mixture": {"mine": 0}}, "config: corpora.both.mixture.mine: 0.0 is too small; it mus"),
        ({"mixture": {"mine": 1}, "format": "text"}, "corpora.both.format: a mixture is made of"),
        ({"mixture": ["mine"]}, "config: corpora.both.mixture: expected a mapping"),
        ({}, "config: corpora.both.format: missing; add this key"),
    ],
)
def test_what_is_no_mixture(mixture: dict[str, Any], message: str) -> None:
    with pytest.raises(ClozeError) as error:
        config(corpora__both=mixture, corpora__mixed={"mixture": {"mine": 1}})
    assert message in str(error.value)


def test_decontamination_names_tasks() -> None:
    found = config(corpora__mine__decontaminate="mood")
    assert found.decontaminated_tasks("mine") == ["mood"]
    assert "--decontaminate" not in found.flags("corpora", "mine")
    with pytest.raises(ClozeError, match=r"mine\.decontaminate: 'moos' is not in tasks; did you"):
        config(corpora__mine__decontaminate=["moos"])


def test_parts_are_extracted_with_what_cleans_and_put_together_with_the_rest() -> None:
    found = config(corpora__mine__near_duplicate_threshold=0.8, corpora__mine__min_characters=9)
    flags = found.part_flags("mine")
    assert flag(flags, "--near-duplicate-threshold") == "0.8"
    assert flag(flags, "--min-characters") == "9"
    assert "--validation-fraction" in found.flags("corpora", "mine")
    assert "--validation-fraction" not in flags


def test_a_mistake_in_finetuning_is_not_blamed_on_what_inherits_it() -> None:
    with pytest.raises(ClozeError, match=r"config: tasks\.mood\.finetuning\.epochs: unknown"):
        config(tasks__mood__finetuning={"epochs": 3})


def test_a_run_changes_some_picks_and_names_its_reports() -> None:
    found = config(
        encoders__large={"architecture": "tiny", "max_tokens": 10},
        runs=[{"encoder": "large"}, {"seeds": [7], "name": "again"}],
    )
    assert list(found.reports) == ["sst2", "sst2-large", "sst2-again"]
    run, report = found.reports["sst2-large"]
    assert (run.corpus, run.encoder, report.task) == ("mine", "large", "mood")
    assert found.reports["sst2-again"][0].seeds == (7,)
    assert run.encoder_folder == "results/mine/words/short/large"
    assert run.scratch_folder == "results/mine/words/scratch/tiny"


def test_a_report_tells_of_validation_and_of_test_if_there_is_one() -> None:
    assert config().reports["sst2"][1].splits == ("validation",)
    tested = config(tasks__mood__test="test.tsv", tasks__mood__splits={"slang": "slang.tsv"})
    assert tested.reports["sst2"][1].splits == ("validation", "test")
    assert tested.settings.tasks["mood"].evaluation_splits == ["validation", "test", "slang"]
    assert tested.files.tasks["mood"]["slang"] == ["slang.tsv"]


def test_a_split_of_a_task_is_a_file_a_folder_or_a_list() -> None:
    sources = ["a.tsv", "b{1..2}.tsv", {"source": "https://host/c.tsv", "sha256": "0" * 64}]
    found = config(tasks__mood__train=sources, tasks__mood__validation="folder")
    files = found.files.tasks["mood"]
    assert files["train"] == ["a.tsv", "b1.tsv", "b2.tsv", "resources/mood/c.tsv"]
    assert files["validation"] == ["folder"]
    assert found.files.keys_of_task("mood")["tasks.mood.train"] == files["train"]
    with pytest.raises(ClozeError, match=r"config: tasks\.mood\.train: a\.tsv stands there twice"):
        config(tasks__mood__train=["a.tsv", "a.tsv"])
    named = config(
        tasks__mood__splits={"slang": "slang.tsv"},
        reports={"all": {"task": "mood"}, "slang": {"task": "mood", "split": "slang"}},
    )
    assert {name: about.splits for name, (_, about) in named.reports.items()} == {
        "all": ("validation",),
        "slang": ("slang",),
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"reports__sst2__split": "slamg", "tasks__mood__splits": {"slang": "slang.tsv"}},
            "config: reports.sst2.split: 'slamg' is not in the splits of tasks.mood; did you mean "
            "'slang'? (known: validation, slang)",
        ),
        ({"reports__sst2__split": "test"}, "'test' is not in the splits of tasks.mood"),
        (
            {"tasks__mood__splits": {"test": "test.tsv"}},
            "config: tasks.mood.splits.test: has a key of its own; write tasks.mood.test",
        ),
    ],
)
def test_mistakes_with_splits(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ClozeError) as raised:
        config(**changes)
    assert message in str(raised.value)


def test_reports_that_are_laid_over_take_the_place_of_the_others(tmp_path: Path) -> None:
    base, overlay, further = (tmp_path / f"{name}.yaml" for name in ("config", "mine", "further"))
    reports = {"sst2": {"task": "mood"}, "again": {"task": "mood"}}
    base.write_text(
        yaml.safe_dump(minimal() | {"reports": reports, "averages": {"all": ["sst2", "again"]}})
    )
    overlay.write_text("reports: {mine: {task: mood}}")
    further.write_text("reports: {yours: {task: mood}}")
    assert {*load_config([base]).reports} == {"sst2", "again"}
    found = load_config([base, overlay, further])
    assert [*found.reports] == ["mine", "yours"]
    assert found.averages == {}
    assert {*load_config([base], {"seeds": [1]}).reports} == {"sst2", "again"}


def test_files_are_laid_over_each_other(tmp_path: Path) -> None:
    base, overlay = tmp_path / "config.yaml", tmp_path / "preset.yaml"
    base.write_text(yaml.safe_dump(minimal()))
    overlay.write_text(
        "reports: {other: {task: mood}}\n"
        "encoders: {small: {max_steps: 5}}\n"
        "corpora: {mine: {files: {train: b.txt}}}\n"
    )
    found = load_config([base, overlay])
    assert list(found.reports) == ["other"]
    assert found.section("encoders", "small")["architecture"] == "tiny"
    assert found.section("encoders", "small")["max_steps"] == 5
    assert found.files.corpora["mine"] == {"train": ["b.txt"]}


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("corpus: [")
    with pytest.raises(ClozeError, match=r"config\.yaml: not valid YAML"):
        load_config([tmp_path / "config.yaml"])
    with pytest.raises(ClozeError, match=r"none\.yaml: no such file"):
        load_config([tmp_path / "none.yaml"])


def test_the_completed_configuration_completes_to_itself() -> None:
    found = config(runs=[{"name": "more", "seeds": [4]}], tasks__mood__finetuning={"dropout": 0})
    again = Config(yaml.safe_load(found.as_yaml()))
    assert again.values == found.values


FOREIGN = {"pretrained": "models/theirs"}


def test_an_encoder_from_elsewhere_needs_no_recipe() -> None:
    found = config(
        encoders__theirs=FOREIGN,
        runs=[{"encoder": "theirs"}],
        reports={"sst2": {"task": "mood", "ceiling": "theirs"}},
    )
    run, report = found.reports["sst2-theirs"]
    assert (run.is_imported, run.encoder_folder) == (True, "results/imported/theirs")
    assert report.ceiling == "theirs"
    assert not found.reports["sst2"][0].is_imported
    assert found.files.imported == {"theirs": "models/theirs"}
    assert found.files.fetched_of("theirs") == []


@pytest.mark.parametrize(
    ("vocab", "what"),
    [
        ("theirs/spiece.model", "a SentencePiece model"),
        ("theirs/vocab.json", "the vocabulary of a byte-level BPE without its merges"),
    ],
)
def test_a_vocabulary_of_another_kind_is_named_by_the_plan(vocab: str, what: str) -> None:
    with pytest.raises(ClozeError, match=rf"tokenizers\.theirs\.vocab: {vocab}: is {what}, not a"):
        config(tokenizers__theirs={"vocab": vocab})


def test_an_encoder_of_the_hub_is_fetched() -> None:
    found = config(encoders__theirs={"pretrained": HUB.replace("datasets/", "")})
    assert found.files.imported == {"theirs": "resources/theirs"}
    names = ("config.json", "model.safetensors", "tokenizer.json")
    assert found.files.fetched_of("theirs") == [f"resources/theirs/{name}" for name in names]
    source = found.files.downloads["resources/theirs/config.json"].source
    assert source == f"{HUB.replace('datasets/', '')}/config.json"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoders__theirs": {**FOREIGN, "max_steps": 3, "architecture": "tiny"}},
            "encoders.theirs: has pretrained and architecture, max_steps, but an encoder from els",
        ),
        (
            {"encoders__theirs": {"pretrained": HUB.replace("datasets/", "").split("@")[0]}},
            "config: encoders.theirs.pretrained: source",
        ),
        (
            {"reports": {"sst2": {"task": "mood", "ceiling": "small"}}},
            "reports.sst2.ceiling: 'small' is not in encoders with pretrained",
        ),
        ({"encoders__small__keep_at": [100]}, "keep_at[0]: 100 is too large; the most is 99"),
    ],
)
def test_mistakes_with_encoders_from_elsewhere(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ClozeError) as caught:
        config(**changes)
    assert message in str(caught.value)


ADAPTED = {"adapt": "models/theirs", "max_steps": 9}


def test_an_adapted_encoder_brings_its_tokenizer() -> None:
    found = config(encoders__mine={**ADAPTED, "extend_vocabulary": 200}, encoder="mine")
    run = found.runs[0]
    assert (run.is_imported, run.architecture) == (False, None)
    assert run.encoder_folder == "results/mine/mine+200/short/mine"
    assert found.files.imported == {"mine": "models/theirs"}
    assert run.adaptation.folder == "results/imported/mine"
    assert list(found.adapted_tokenizers) == ["mine+200"]
    flags = found.pretraining_flags("mine", 1, "short")
    assert flags[:2] == ["--adapt", "results/imported/mine"]
    assert flag(flags, "--max-steps") == "9"
    # What the workflow does with the vocabulary and the texts that it compares is no flag.
    assert not {"--extend-vocabulary", "--general-corpus", "--hidden-size"} & set(flags)
    assert found.import_flags("mine") == ["--pretrained", "models/theirs"]


def test_encoders_of_one_base_share_its_tokenizer() -> None:
    found = config(
        encoders__theirs=FOREIGN,
        encoders__one={**ADAPTED, "adapt": "theirs"},
        encoders__two={**ADAPTED, "adapt": "theirs", "new_embedding_init": "random"},
        encoder="one",
        runs=[{"encoder": "two"}],
    )
    assert found.files.imported == {"theirs": "models/theirs"}
    assert [run.tokenizer_folder for run in found.runs] == ["results/mine/theirs+0"] * 2


def test_what_is_learned_and_what_may_be_forgotten_are_compared() -> None:
    other = {"format": "text", "files": ["b.txt"]}
    changes = {"corpora__other": other, "corpora__more": other, "encoder": "mine"}
    general = {**ADAPTED, "general_corpus": "other"}
    found = config(encoders__mine=general, **changes)
    assert found.runs[0].adaptation.corpora == ("mine", "other")
    mixed = {"mixture": {"mine": 1, "more": 0.1}}
    found = config(encoders__mine=general, corpora__mixed=mixed, corpus="mixed", **changes)
    assert found.runs[0].adaptation.corpora == ("mine", "more", "other")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {**ADAPTED, "architecture": "tiny"},
            "encoders.mine: has adapt and architecture, but what is adapted brings its own shape",
        ),
        (
            {**ADAPTED, "phases": [{"dataset": "short", "max_steps": 9}]},
            "encoders.mine: has adapt and phases, but an adaptation is one phase; remove phases",
        ),
        (
            {**ADAPTED, "pretrained": "x"},
            "encoders.mine: has pretrained and adapt, max_steps, but an encoder from elsewhere",
        ),
        ({"adapt": "models/theirs"}, "encoders.mine: says nowhere how long to train"),
        (
            {**ADAPTED, "adapt": "small"},
            "encoders.mine.adapt: small is made here, of a corpus, a tokenizer and a data set; "
            "name the folder that it lies in, such as results/CORPUS/TOKENIZER/DATASET/small",
        ),
        (
            {**ADAPTED, "general_corpus": "wiki"},
            "encoders.mine.general_corpus: 'wiki' is not in corpora",
        ),
        ({**ADAPTED, "new_embedding_init": "zero"}, "'zero' is none of: mean, cooccurrence, ran"),
        ({**ADAPTED, "extend_vocabulary": -1}, "extend_vocabulary: -1 is too small"),
        (
            {**ADAPTED, "next_sentence": True},
            "encoders.mine.next_sentence: datasets.short has no pairs of texts",
        ),
    ],
)
def test_mistakes_with_adapted_encoders(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ClozeError) as caught:
        config(encoders__mine=entry, encoder="mine")
    assert message in str(caught.value)


def test_an_average_names_reports_of_every_run_that_has_them() -> None:
    found = config(
        reports={"a": {"task": "mood"}, "b": {"task": "mood"}, "c": {"task": "mood"}},
        averages={"all": ["a", "b+c"]},
        runs=[{"seeds": [7], "name": "again"}, {"name": "few", "reports": {"a": {"task": "mood"}}}],
    )
    assert {name: average.tasks for name, average in found.averages.items()} == {
        "all": [["a"], ["b", "c"]],
        "all-again": [["a-again"], ["b-again", "c-again"]],
    }


def test_every_report_has_a_place_in_the_folder_of_its_recipe() -> None:
    found = config(
        reports={"a": {"task": "mood"}, "b": {"task": "mood"}},
        averages={"all": ["a", "b"]},
        encoders__large={"architecture": "tiny", "max_steps": 9},
        runs=[{"encoder": "large"}],
    )
    folder = "results/mine/words/short"
    assert found.report_places == {
        "a": f"{folder}/small/mood/a",
        "b": f"{folder}/small/mood/b",
        "a-large": f"{folder}/large/mood/a-large",
        "b-large": f"{folder}/large/mood/b-large",
        "all": f"{folder}/small/all",
        "all-large": f"{folder}/large/all-large",
    }


@pytest.mark.parametrize(
    ("averages", "message"),
    [
        ({"all": ["sst2", "sst3"]}, "averages.all: 'sst3' is not in reports; did you mean 'sst2'?"),
        ({"sst2": ["sst2", "sst2+sst2"]}, "averages.sst2: a report has this name too"),
        ({"all": ["sst2"]}, "averages.all: the list needs at least 2 entries"),
    ],
)
def test_mistakes_with_averages(averages: dict[str, Any], message: str) -> None:
    with pytest.raises(ClozeError) as caught:
        config(averages=averages)
    assert message in str(caught.value)


def test_what_ends_a_fine_tuning_is_said_once() -> None:
    ended = {"num_train_epochs": 3, "max_steps": 100}
    with pytest.raises(ClozeError, match=r"mood\.finetuning: has num_train_epochs and max_steps"):
        config(tasks__mood__finetuning=ended)
    found = config(
        tasks__mood__finetuning={"num_train_epochs": 3},
        tasks__mood__finetuning_from_scratch={"num_train_epochs": None, "budget": "5m"},
    )
    assert flag(found.finetuning_flags("mood", from_scratch=True), "--budget") == "5m"
    assert "--num-train-epochs" not in found.finetuning_flags("mood", from_scratch=True)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"regression": True, "labels": ["no", "yes"]}, "mood.labels: a task of scores has one"),
        ({"regression": True, "metric": "f1"}, "mood.metric: f1 does not measure regression; use"),
        ({"regression": True, "objective": "classification"}, "mood.regression: scores are the"),
        ({"labels": ["a", "b", "c"], "metric": "f1"}, "mood.metric: F1 is that of the second of"),
        (
            {"objective": "multi_label_classification", "label_columns": ["a"]},
            "mood.label_columns: stands beside label_column; give only one of the two",
        ),
        ({"format": "jsonl", "delimiter": ";"}, "mood.format: jsonl has neither header nor delim"),
    ],
)
def test_keys_of_a_task_that_exclude_each_other_are_named(
    keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClozeError, match=re.escape(message)):
        config(**{f"tasks__mood__{key}": value for key, value in keys.items()})
