"""What the configuration tells the stages: the files they read and the flags they get."""

import pytest

from cloze.settings.config import Config
from tests.configurations import HUB, config, flag, minimal


def test_a_corpus_and_a_task_share_one_download() -> None:
    raw = minimal()
    raw["tasks"]["mine"] = {**raw["tasks"]["mood"], "train": f"{HUB}/x.parquet"}
    raw["corpora"]["mine"] = {"format": "parquet", "files": [f"{HUB}/x.parquet"]}
    found = Config(raw)
    assert list(found.files.downloads) == ["resources/mine/x.parquet"]
    assert found.files.corpora["mine"] == {"input": ["resources/mine/x.parquet"]}
    assert found.files.tasks["mine"]["train"] == ["resources/mine/x.parquet"]


def test_local_files_are_used_in_place_unless_a_hash_must_be_checked() -> None:
    sources = ["data/a.txt", "file:///b.txt", {"source": "c.txt", "sha256": "0" * 64}]
    found = config(corpora__mine__files=sources)
    assert found.files.corpora["mine"] == {
        "input": ["data/a.txt", "/b.txt", "resources/mine/c.txt"]
    }
    assert found.files.downloads["resources/mine/c.txt"].sha256 == "0" * 64


def test_braces_stand_for_several_files_and_splits_keep_apart() -> None:
    files = {"train": f"{HUB}/t-{{00..02}}.parquet", "test": ["x.parquet"]}
    found = config(corpora__mine__files=files)
    assert found.files.corpora["mine"] == {
        "train": [f"resources/mine/t-0{n}.parquet" for n in range(3)],
        "test": ["x.parquet"],
    }
    assert found.files.downloads["resources/mine/t-01.parquet"].source == f"{HUB}/t-01.parquet"


def test_flags_hold_every_key_with_a_value_and_switches_that_differ() -> None:
    found = config(tokenizers__words__lowercase=True, corpora__mine__keep_duplicates=True)
    assert found.flags("tokenizers", "words") == [
        *("--lowercase", "--unicode-normalization", "none"),
        *("--pad-vocab-to-multiple-of", "1", "--model", "wordpiece", "--vocab-size", "16384"),
        *("--min-frequency", "2", "--limit-alphabet", "0"),
    ]
    corpus = found.flags("corpora", "mine")
    assert "--keep-duplicates" in corpus
    assert "--no-header" not in corpus
    assert "--title-column" not in corpus
    assert "--files" not in corpus


def test_the_order_and_spelling_of_keys_do_not_change_flags() -> None:
    one = config(encoders__small={"learning_rate": "1e-3", "max_steps": 5, "architecture": "tiny"})
    two = config(encoders__small={"architecture": "tiny", "max_steps": "5", "learning_rate": 0.001})
    assert one.flags("encoders", "small") == two.flags("encoders", "small")


def test_numbers_keep_their_value_as_flags() -> None:
    rate = 0.00012345678901234
    given = {"encoders__small__learning_rate": rate, "encoders__small__max_steps": 1000}
    flags = config(**given).flags("encoders", "small")
    assert float(flag(flags, "--learning-rate")) == rate
    assert flag(flags, "--adam-epsilon") == "1e-06"
    assert flag(flags, "--max-steps") == "1000"


def test_a_data_sets_flags_are_those_of_its_method() -> None:
    found = config(datasets__cut={"method": "split_tokens", "whole_words": True})
    assert "--whole-words" in found.flags("datasets", "cut")
    assert "--language" not in found.flags("datasets", "cut")
    assert flag(found.flags("datasets", "short"), "--language") == "en"


def test_a_data_set_has_the_shards_that_it_asks_for() -> None:
    found = config(datasets__short={"method": "segment_text", "num_shards": 2, "format": "parquet"})
    assert found.dataset_files("short") == [
        "manifest.json",
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
        "validation-00000-of-00001.parquet",
    ]


def test_what_changes_no_weight_has_flags_of_its_own() -> None:
    found = config(encoders__small__eval_steps=9, encoders__small__keep_at=[25, 50])
    assert found.flags("encoders", "small") == config().flags("encoders", "small")
    assert set(found.monitoring_flags("small")) == {"--eval-steps", "9", "--keep-at", "25", "50"}
    assert config().monitoring_flags("small") == []


def test_without_pretraining_the_task_is_tuned_by_what_differs() -> None:
    found = config(
        tasks__mood__finetuning={"learning_rate": 3e-5, "max_length": 64},
        tasks__mood__finetuning_from_scratch={"learning_rate": 5e-4},
    )
    pretrained = found.finetuning_flags("mood", from_scratch=False)
    scratch = found.finetuning_flags("mood", from_scratch=True)
    assert flag(pretrained, "--learning-rate") == "3e-05"
    assert flag(scratch, "--learning-rate") == "0.0005"
    assert flag(scratch, "--max-length") == "64"
    assert found.evaluation_flags("mood", from_scratch=True) == [
        *("--max-length", "64"),
        *("--truncation", "head"),
    ]


@pytest.mark.parametrize("from_scratch", [False, True])
def test_an_evaluation_knows_nothing_of_training(from_scratch: bool) -> None:
    section = "finetuning_from_scratch" if from_scratch else "finetuning"
    trained = {"learning_rate": 5e-4, "num_train_epochs": 4, "classifier_pooling": "mean"}
    found = config(**{f"tasks__mood__{section}": trained})
    assert found.evaluation_flags("mood", from_scratch=from_scratch) == [
        *("--max-length", "128"),
        *("--truncation", "head"),
    ]


def test_a_text_that_is_empty_is_no_flag() -> None:
    assert "--origin" not in config().flags("tasks", "mood")
    assert flag(config(tasks__mood__origin="my own").flags("tasks", "mood"), "--origin") == "my own"
