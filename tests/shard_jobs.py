"""A corpus of two shards, and the jobs that make a data set of it one by one."""

import os
import subprocess
import sys
from pathlib import Path

import segment_text
import split_tokens
import train_tokenizer
from cloze.tokens.dataset import shard_names
from tests.texts import random_text, write_documents

SCRIPTS = Path(__file__).parents[1] / "scripts"
METHODS = {"segment_text": segment_text.main, "split_tokens": split_tokens.main}
FORMATS = {"msgpack": "msgpack.gz", "parquet": "parquet"}
SHARD = "train-00000-of-00002"
TEXTS = [random_text(seed, 25) for seed in range(40)]


def write_corpus(folder: Path) -> Path:
    """Write documents and a tokenizer; returns their folder."""
    write_documents(folder / "train.parquet", TEXTS)
    write_documents(folder / "validation.parquet", TEXTS[:4], first_id=len(TEXTS))
    assert train_tokenizer.main(tokenizer_flags(folder, folder)) == 0
    return folder


def tokenizer_flags(corpus: Path, output: Path) -> list[str]:
    paths = ["--documents", corpus / "train.parquet", "--output", output]
    return [*map(str, paths), "--vocab-size", "900", "--min-frequency", "1", "--threads", "1"]


def shard_flags(corpus: Path, documents: Path, output: Path, shard_format: str) -> list[str]:
    paths = ["--documents", documents, "--tokenizer", corpus / "tokenizer.json"]
    flags = ["--max-length", "32", "--num-shards", "2", "--threads", "1"]
    return [*map(str, paths), *flags, "--output", str(output), "--format", shard_format]


def collect_flags(folder: Path) -> list[str]:
    return ["--dataset", str(folder), "--num-shards", "2"]


def build_shards(method: str, corpus: Path, output: Path, shard_format: str) -> None:
    flags = shard_flags(corpus, corpus, output, shard_format)
    for name in shard_names(2):
        assert METHODS[method]([*flags, "--shard", str(name)]) == 0


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name != "metrics.json"
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def script(name: str, flags: list[str]) -> list[str]:
    return [sys.executable, str(SCRIPTS / f"{name}.py"), *flags]


def killed_at(call: str, name: str, flags: list[str]) -> int:
    """Run a script that is killed where it would call a function; return its exit code."""
    module, _, function = call.rpartition(".")
    code = (
        f"import os, signal, runpy, sys; import {module};"
        f"{module}.{function} = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL);"
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    interpreter, *arguments = script(name, flags)
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    return subprocess.run(
        [interpreter, "-c", code, *arguments], env=environment, check=False
    ).returncode
