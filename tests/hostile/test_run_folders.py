"""What pretraining reads and keeps: data sets, caches and runs that changed meanwhile."""

import json
import shutil
from pathlib import Path

import pytest

import pretrain
from tests.hostile.damage import WHOLE_FILES, Damage, changed, damage_file, flipped, of_keys
from tests.hostile.outcome import by_name, check, run
from tests.tiny_pretraining import command, weights, write_inputs

pytestmark = pytest.mark.slow
STEPS = 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with inputs, a finished run and the model that it published."""
    folder = tmp_path_factory.mktemp("whole")
    inputs = write_inputs(folder)
    assert pretrain.main(command(inputs, folder / "model", STEPS)) == 0
    return folder


def copied(whole: Path, folder: Path) -> Path:
    return Path(shutil.copytree(whole, folder / "root"))


def train(root: Path, whole: Path, *more: str) -> bool:
    """Train below `root`; returns whether it was refused, else the weights are the right ones."""
    dataset, tokenizer = root / "dataset", root / "tokenizer" / "tokenizer.json"
    inputs = [f"--dataset={dataset}", f"--tokenizer={tokenizer}", f"--run-dir={root / '.runs'}"]
    output = root / "again"
    refused = check(run(pretrain, *command(inputs, output, STEPS, *more), folder=root), str(root))
    if refused:
        assert not (output / "model.safetensors").exists()
    else:
        assert weights(output) == weights(whole / "model")
    return refused


MANIFEST = {
    "format_version": 2, "format": "", "method": "", "max_length": 16, "row_length": 16,
    "vocab_size": 64, "tokenizer_sha256": "", "special_ids": {"pad": 0, "mask": 4},
    "splits": {"train": {"rows": 1, "samples": 1, "tokens": 1, "documents": 1, "text_bytes": 1}},
}  # fmt: skip
SHARD_KEYS = ("file", "rows", "samples", "tokens", "bytes", "sha256", "documents", "text_bytes")


def _manifest_cases() -> dict[str, Damage]:
    cases = {**WHOLE_FILES, **of_keys(MANIFEST, "manifest", each=4)}
    for split in ("train", "validation"):
        for key in SHARD_KEYS:
            for value in (0, -1, 10**15, "x", None):
                path = ("splits", split, "shards", "0", key)
                cases[f"{'.'.join(path)} is {value}"] = changed(*path, value=value)
    for key, value in (("rows", 65), ("tokens", 1025), ("samples", 129), ("tokens", 10**12)):
        cases[f"more {key}: {value}"] = changed("splits", "train", key, value=value)
    cases["a file that leads out"] = changed("splits", "train", "shards", "0", "file", value="../x")
    return cases


@by_name(_manifest_cases())
def test_a_manifest_is_believed_only_as_far_as_its_shards_go(whole, tmp_path, case):
    root = copied(whole, tmp_path)
    damage_file(root / "dataset" / "manifest.json", case)
    train(root, whole)


def _shard_cases() -> dict[str, Damage]:
    return {**WHOLE_FILES, **{f"bits {n}": flipped(f"shard {n}") for n in range(4)}}


@by_name(_shard_cases())
def test_a_damaged_shard_is_named_or_not_needed(whole, tmp_path, case):
    root = copied(whole, tmp_path)
    (shard,) = (root / "dataset").glob("train-*.msgpack*")
    damage_file(shard, case)
    train(root, whole)


RUN_FILES = (
    "recipe.json", "run.json", "sha256.json", "metrics.jsonl", "final/model.safetensors",
    "final/metrics.json", "final/config.json", "final/tokenizer.json",
)  # fmt: skip


DAMAGES = ("empty", "a third", "zeros", "an empty object", "an empty list", "deep lists")


@by_name({f"{name}: {how}": (name, WHOLE_FILES[how]) for name in RUN_FILES for how in DAMAGES})
def test_a_finished_run_is_published_whole_or_made_again(whole, tmp_path, case):
    name, damage = case
    root = copied(whole, tmp_path)
    (folder,) = (path for path in (root / ".runs").iterdir() if path.is_dir())
    damage_file(folder / name, damage)
    dataset, tokenizer = root / "dataset", root / "tokenizer" / "tokenizer.json"
    # The fingerprint of a run depends on where its inputs lie.
    inputs = [f"--dataset={dataset}", f"--tokenizer={tokenizer}", f"--run-dir={root / '.runs'}"]
    output = root / "again"
    assert not check(run(pretrain, *command(inputs, output, STEPS), folder=root))
    assert weights(output) == weights(whole / "model")
    json.loads((output / "metrics.json").read_text())


CACHE: dict[str, Damage] = {
    **{name: WHOLE_FILES[name] for name in ("empty", "a third", "zeros", "zeros at the end")},
    **{f"bits {n}": flipped(f"cache {n}") for n in range(4)},
}


@pytest.mark.parametrize("name", ["input_ids.bin", "row_offsets.bin", "sha256.json"])
@by_name(CACHE)
def test_a_mapped_cache_is_checked_or_made_again(whole, tmp_path, monkeypatch, name, case):
    monkeypatch.setattr("cloze.tokens.loading._SHARE_OF_MEMORY", 0.0)
    root = copied(whole, tmp_path)
    shutil.rmtree(root / ".runs")
    assert not train(root, whole)
    shutil.rmtree(root / ".runs")
    shutil.rmtree(root / "again")
    (cache,) = (root / "dataset" / ".cache").glob("train-*[0-9a-f]")
    damage_file(cache / name, case)
    assert not train(root, whole)
