"""Every command of the documentation, run in a copy of the project with a tiny sample.

What needs the hub, a cluster or a GPU is planned (`snakemake -n`); what cannot be tried at
all stands in `NOT_RUN`, with the reason.
"""

import gzip
import importlib.util
import json
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import yaml
from transformers import BertConfig, BertForMaskedLM

from tests.test_docs import PAGES, blocks, commands
from tests.workflow.project import Project
from tests.workflow.tiny_sample import TINY, shorten

pytestmark = pytest.mark.slow

ENCODER = "results/sample/uncased-4k/sentences-128/tiny"
CLASSIFIER = f"{ENCODER}/sample-reviews/seed-1"
QUEUES = ("billing", "delivery", "account", "praise", "other")
NOT_RUN = {
    "python3 -m venv": "makes the environment in which the tests run",
    ". ": "enters that environment",
    "pip ": "fills that environment",
    "pre-commit ": "installs a hook",
    "bash .ci/run": "is what runs these tests",
    "python -m pytest": "is what runs these tests",
    "python scripts/download.py": "asks the hub; tests/scripts/test_download.py asks a server here",
    "snakemake --workflow-profile profiles/slurm": "needs a cluster",
}
PLANNED = ("workflow/presets/", "device=cuda")
INSTALLED_APART = {"--onnx": ("onnx", "onnxscript", "onnxruntime"), "serve.py": ("uvicorn",)}


def reason_not_to_run(command: str) -> str | None:
    return next((why for start, why in NOT_RUN.items() if command.startswith(start)), None)


COMMANDS = [
    pytest.param(page, words, id=f"{page.name}: {' '.join(words)[:70]}")
    for page in PAGES
    for block in blocks(page, "bash")
    for words in commands(block)
    if reason_not_to_run(shlex.join(words)) is None
]


def deep_update(values: dict[str, object], changes: dict[str, object]) -> None:
    for key, change in changes.items():
        old = values.get(key)
        if isinstance(old, dict) and isinstance(change, dict):
            deep_update(old, change)
        else:
            values[key] = change


def write_rows(path: Path, header: list[str], rows: list[list[str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    lines = [",".join(f'"{cell}"' for cell in row) for row in [header, *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_the_readers_files(folder: Path) -> None:
    """Write the files that the pages' reader has: texts, mail, a vocabulary, a public encoder."""
    sample = (folder / "resources/sample/corpus.txt").read_text("utf-8")
    reviews = sample.split("\n\n")
    (folder / "texts").mkdir()
    for number, review in enumerate(reviews[:100]):
        (folder / "texts" / f"{number}.txt").write_text(review, encoding="utf-8")
    (folder / "texts" / "corpus.txt").write_text(sample, encoding="utf-8")
    with zipfile.ZipFile(folder / "letters.zip", "w") as archive:
        for number, review in enumerate(reviews):
            archive.writestr(f"{number}.txt", review)
    (folder / "reviews").mkdir()
    validation = (folder / "resources/sample/reviews-validation.tsv").read_bytes()
    (folder / "reviews/other-films.tsv").write_bytes(validation)
    mail = [
        [str(number), f"about {queue}", f"My question is one of {queue}.", queue]
        for number, queue in enumerate(QUEUES * 12)
    ]
    write_rows(folder / "mail/train.csv", ["id", "subject", "body", "queue"], mail)
    write_rows(folder / "mail/validation.csv", ["id", "subject", "body", "queue"], mail[:20])
    write_rows(folder / "reviews.csv", ["review"], [["The soup was cold."], ["A fine room."]])
    pair = {"premise": "It rains.", "hypothesis": "The street is wet."}
    (folder / "pairs.jsonl").write_text(json.dumps(pair) + "\n", encoding="utf-8")
    (folder / "documents.txt.gz").write_bytes(gzip.compress(sample.encode()))
    table = pyarrow.table({"text": reviews[:50]})
    pyarrow.parquet.write_table(table, folder / "documents.parquet")
    config = BertConfig(
        vocab_size=4096, hidden_size=16, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=32,
    )  # fmt: skip
    for task in ("cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte"):
        for split in ("train", "validation", "validation_matched", "validation_mismatched"):
            path = folder / "data/glue" / task / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    BertForMaskedLM(config).save_pretrained(folder / "models/bert-base-uncased")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy whose own config.yaml is the tiny one, with the first report made."""
    project = Project(tmp_path_factory.mktemp("docs"))
    shorten(project)
    path = project.folder / "config.yaml"
    config = yaml.safe_load(path.read_text("utf-8"))
    deep_update(config, TINY)
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    write_the_readers_files(project.folder)
    project.snakemake("--cores", "2", "results/sst2_report.txt")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        source = project.folder / "results/sample/uncased-4k" / name
        (project.folder / "models/bert-base-uncased" / name).write_bytes(source.read_bytes())
    (project.folder / "bert-base-uncased").symlink_to("models/bert-base-uncased")
    return project


def as_the_reader_means(words: list[str], folder: Path) -> list[str]:
    """Put a folder that there is for each stand-in, and what the shell makes of a glob."""
    classifies = {"classify", "serve.py", "--evaluation"} & {Path(word).name for word in words}
    model = CLASSIFIER if classifies else ENCODER
    made = []
    for word in words:
        word = word.replace("MODEL_FOLDER", ENCODER).replace("MODEL", model)
        word = word.replace("/models/", str(folder / "models") + "/")
        if word.startswith("/tmp/"):
            word = str(folder / "made" / word.removeprefix("/tmp/"))
        if "*" in word:
            made.extend(sorted(str(path.relative_to(folder)) for path in folder.glob(word)))
        else:
            made.append(word)
    return made


def needed(words: list[str]) -> list[str]:
    """The modules that a command needs beyond the locked ones."""
    joined = " ".join(words)
    return [name for mark, names in INSTALLED_APART.items() if mark in joined for name in names]


def serve(command: list[str], folder: Path) -> None:
    """Start the server, ask for its page, stop it."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    command[command.index("--port") + 1] = port
    server = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and server.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
                    assert b"<form" in page.read()
                return
            except (ConnectionError, urllib.error.URLError):
                time.sleep(0.5)
        raise AssertionError("the server did not answer")
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)


@pytest.mark.parametrize(("page", "words"), COMMANDS)
def test_the_command_does_what_the_page_says(project: Project, page: Path, words: list[str]):
    missing = [name for name in needed(words) if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    words = as_the_reader_means(words, project.folder)
    if words[0] == "python":
        run_python([sys.executable, *words[1:]], project.folder)
    else:
        assert words[0] == "snakemake"
        run_snakemake(words[1:], page, project)


def run_python(command: list[str], folder: Path) -> None:
    if "scripts/serve.py" in command:
        serve(command, folder)
        return
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if "--output" in command and "--dry-run" not in command:
        output = folder / command[command.index("--output") + 1]
        assert output.exists(), f"{output} was not made"


def run_snakemake(arguments: list[str], page: Path, project: Project) -> None:
    """The page's own YAML counts: a command may use what the reader was told to add."""
    if not {"--configfile", "--report"} & set(arguments):
        overlay: dict[str, object] = {}
        for text in blocks(page, "yaml"):
            deep_update(overlay, yaml.safe_load(text))
        for key in {"corpus", "runs"} & set(overlay):
            if any(word.startswith("--config") for word in arguments):
                del overlay[key]
        arguments = [*arguments, *project.overlay(overlay)] if overlay else arguments
    planned = any(mark in word for word in arguments for mark in PLANNED)
    if planned and "-n" not in arguments:
        arguments = ["-n", *arguments]
    project.snakemake(*arguments)


def test_nothing_is_left_out_without_a_reason() -> None:
    every = [
        shlex.join(words)
        for page in PAGES
        for block in blocks(page, "bash")
        for words in commands(block)
    ]
    for start in NOT_RUN:
        assert any(command.startswith(start) for command in every), f"no page has {start!r}"
