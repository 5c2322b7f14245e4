"""JSON that Cloze wrote and reads again: what was changed, cut or never its own is refused."""

import dataclasses
import json

import pytest

from cloze.errors import ClozeError
from cloze.files import read_json, read_object, write_json, write_sealed
from cloze.metrics import metrics_of_model, read_metrics, recipe_of_model
from cloze.tokens.loading import load_rows
from cloze.tokens.manifest import read_manifest, write_manifest
from tests.tiny import write_dataset, write_tokenizer


def test_a_sealed_object_is_read_as_it_was_written(tmp_path):
    values = {"score": 0.1 + 0.2, "names": ("a", "é"), "rows": {1: 2, 10: 3}, "none": None}
    write_sealed(tmp_path / "a.json", values)
    assert read_object(tmp_path / "a.json") == json.loads(json.dumps(values))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not valid JSON"),
        ('{"score": 0.', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "holds no object of keys and values"),
        ("7", "holds no object of keys and values"),
        ('{"metrics": {"score": 1.0}, "digest": "0123456789abcdef"}', "digest is not that of its"),
        ("{}", "has no 'metrics'; make it again"),
        ('{"metrics": [1]}', "its 'metrics' are no keys and values"),
        ('{"metrics": {}, "inputs": 7}', "its 'inputs' are no keys and values"),
    ],
)
def test_metrics_that_no_stage_wrote_are_refused(tmp_path, content, message):
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(ClozeError, match=rf"metrics\.json: .*{message}"):
        read_metrics(path)


def test_a_key_that_is_not_there_is_named_however_deep_it_lies(tmp_path):
    write_json(tmp_path / "a.json", {"metrics": [{"splits": {}}]})
    with pytest.raises(ClozeError, match=r"a\.json: has no 'train'; make it again"):
        read_json(tmp_path / "a.json")["metrics"][0]["splits"]["train"]
    with pytest.raises(KeyError):  # as templates and callers may expect
        read_json(tmp_path / "a.json")["metrics"][0]["splits"]["train"]


def test_a_model_from_elsewhere_has_no_recipe(tmp_path):
    assert metrics_of_model(tmp_path) == recipe_of_model(tmp_path) == {}
    write_json(tmp_path / "metrics.json", {"accuracy": 0.9})
    assert metrics_of_model(tmp_path) == recipe_of_model(tmp_path) == {}


@pytest.mark.parametrize(
    "recipe", [[], {"max_length": 0}, {"max_length": 2.5}, {"truncation": "middle"}]
)
def test_limits_of_a_text_that_are_none_are_refused(tmp_path, recipe):
    write_json(tmp_path / "metrics.json", {"metrics": {"recipe": recipe}})
    with pytest.raises(ClozeError, match=r"metrics\.json: its recipe has .* make it again"):
        recipe_of_model(tmp_path)


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "dataset", write_tokenizer(tmp_path / "tokenizer"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.update(vocab_size=65), "its digest is not that of its values"),
        (lambda value: value["splits"]["train"].update(rows=65), "its digest is not that"),
        (lambda value: value.pop("splits"), "its digest is not that of its values"),
    ],
)
def test_a_manifest_that_was_changed_is_refused(dataset, change, message):
    path = dataset / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    write_json(path, value)
    with pytest.raises(ClozeError, match=rf"manifest\.json: .*{message}"):
        read_manifest(dataset)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tokens", 10**9, "the totals of train are not those of its shards"),
        ("rows", -1, "rows -1 is no number of 0 or more"),
        ("samples", "x", "samples 'x' is no number of 0 or more"),
    ],
)
def test_a_manifest_of_other_totals_is_refused(dataset, key, value, message):
    manifest = read_manifest(dataset)
    train = dataclasses.replace(manifest.splits["train"], **{key: value})
    write_manifest(dataset, dataclasses.replace(manifest, splits={"train": train}))
    with pytest.raises(ClozeError, match=rf"manifest\.json: .*{message}"):
        read_manifest(dataset)


@pytest.mark.parametrize("key", ["rows", "samples", "tokens"])
@pytest.mark.parametrize("more", [1, -1])
def test_a_shard_of_other_counts_than_the_manifest_says_is_refused(dataset, key, more):
    manifest = read_manifest(dataset)
    train = manifest.splits["train"]
    (shard,) = train.shards
    shard = dataclasses.replace(shard, **{key: getattr(shard, key) + more})
    train = dataclasses.replace(train, shards=[shard], **{key: getattr(shard, key)})
    write_manifest(dataset, dataclasses.replace(manifest, splits={"train": train}))
    with pytest.raises(ClozeError, match=r"train-.*: has other rows, samples or tokens than"):
        load_rows(dataset, "train", None)
