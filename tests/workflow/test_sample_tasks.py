"""The sample's tasks of every kind, from pretraining to a page in the browser and other libraries.

The encoder is small and sees the sample a few times, so scores are low; what is asked for is that
each step gives the same outputs as the one before it.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from cloze.tasks.question_answering import Answer
from tests.scripts.test_serve import ask, start
from tests.scripts.test_serve_in_chromium import CHROMIUM, browse
from tests.workflow.project import Project

__all__ = ["browse"]

pytestmark = pytest.mark.slow

MODEL = "results/sample/uncased-4k/sentences-128/tiny"
KINDS = {"entities": "tag", "topics": "classify", "questions": "answer", "vectors": "embed"}
TEXTS = ["The soup at the Harbour Inn was cold.", "We paid too much, but the waiter was kind."]
QUESTION, CONTEXT = "What was cold?", "The waiter was kind. The soup was cold, and the bread old."


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("kinds"))
    reports = {name: {"task": f"sample-{name}"} for name in KINDS}
    short = {"finetuning": {"num_train_epochs": 1, "early_stopping_patience": 0}}
    settings = {
        "reports": reports,
        "seeds": [1],
        "encoders": {"tiny": {"max_steps": 60, "eval_steps": 30, "warmup_steps": 10}},
        "tasks": {f"sample-{name}": short for name in KINDS},
    }
    files = [f"results/{name}_report.txt" for name in KINDS]
    project.snakemake("--cores", "2", *project.overlay(settings), "--", *files)
    return project


def script(project: Project, name: str, *arguments: str) -> str:
    command = [sys.executable, f"scripts/{name}.py", *arguments]
    found = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(project: Project, kind: str) -> Path:
    return project.folder / MODEL / f"sample-{kind}" / "seed-1"


@pytest.fixture
def served(model: Path) -> Iterator[SimpleNamespace]:
    server = start(model)
    yield server
    server.stop()


def predicted(project: Project, kind: str, model: Path) -> list[dict]:
    texts = (QUESTION, CONTEXT) if kind == "questions" else TEXTS
    flags = ["--model", str(model), "--precision", "fp32", "--json"]
    output = script(project, "predict", KINDS[kind], *flags, *texts)
    return [json.loads(line) for line in output.splitlines()]


def test_the_report_tells_of_the_task_and_its_baselines(project: Project, kind: str) -> None:
    for end in ("txt", "html"):
        shown = (project.folder / f"results/{kind}_report.{end}").read_text("utf-8")
        assert f"sample-{kind}" in shown
    found = json.loads((project.folder / f"results/{kind}_report.json").read_text("utf-8"))
    assert 0 <= found["score"]["mean"] <= 1
    assert "no_pretraining" in found["baselines"]
    assert len(found["baselines"]) > 1


def test_other_libraries_compute_what_predict_says(
    project: Project, kind: str, model: Path
) -> None:
    folder = project.folder / f"exported-{kind}"
    script(project, "export_hf", "--model", str(model), "--output", str(folder))
    certificate = json.loads((folder / "parity.json").read_text("utf-8"))
    assert certificate["max_abs_difference"] <= 1e-5 * max(1, certificate["largest_output"])
    if kind == "vectors":
        check_vectors(project, folder, model)
        return
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    names = {
        "entities": "AutoModelForTokenClassification",
        "topics": "AutoModelForSequenceClassification",
        "questions": "AutoModelForQuestionAnswering",
    }
    loaded = getattr(transformers, names[kind]).from_pretrained(folder).eval()
    found = predicted(project, kind, model)
    with torch.inference_mode():
        {"entities": check_tags, "topics": check_labels, "questions": check_answer}[kind](
            tokenizer, loaded, found
        )


def check_tags(tokenizer, loaded, found: list[dict]) -> None:
    pipeline = transformers.pipeline(
        "token-classification", model=loaded, tokenizer=tokenizer, aggregation_strategy="first"
    )
    for text, prediction in zip(TEXTS, found, strict=True):
        expected = [(span["entity_group"], span["start"], span["end"]) for span in pipeline(text)]
        spans = [(span["type"], span["start"], span["end"]) for span in prediction["spans"]]
        assert spans == expected


def check_labels(tokenizer, loaded, found: list[dict]) -> None:
    assert loaded.config.problem_type == "multi_label_classification"
    logits = loaded(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    for row, prediction in zip(logits.sigmoid().tolist(), found, strict=True):
        given = prediction["probabilities"]
        for index, name in loaded.config.id2label.items():
            assert given[name] == pytest.approx(row[index], abs=1e-5)


def check_answer(tokenizer, loaded, found: list[dict]) -> None:
    encoded = tokenizer(QUESTION, CONTEXT, return_tensors="pt", return_offsets_mapping=True)
    offsets, is_context = encoded.pop("offset_mapping")[0], encoded.sequence_ids(0)
    outputs = loaded(**encoded)
    places = [place for place, side in enumerate(is_context) if side == 1]
    starts, ends = outputs.start_logits[0], outputs.end_logits[0]
    start, end = max(
        ((i, j) for i in places for j in places if i <= j < i + 30),
        key=lambda span: float(starts[span[0]] + ends[span[1]]),
    )
    best = Answer(CONTEXT[offsets[start][0] : offsets[end][1]], int(offsets[start][0]))
    (prediction,) = found
    if prediction["answer"]:
        assert (prediction["answer"], prediction["start"]) == best
    else:
        assert float(starts[0] + ends[0]) >= float(starts[start] + ends[end])


def check_vectors(project: Project, folder: Path, model: Path) -> None:
    from sentence_transformers import SentenceTransformer

    vectors = SentenceTransformer(str(folder)).encode(TEXTS)
    assert np.abs(own_vectors(project, model) - vectors).max() <= 1e-5


def own_vectors(project: Project, model: Path) -> np.ndarray:
    output = project.folder / "vectors.npy"
    flags = ["--model", str(model), "--precision", "fp32", "--output", str(output)]
    script(project, "predict", "embed", *flags, *TEXTS)
    return np.load(output)


def test_the_server_says_what_predict_says(
    project: Project, kind: str, model: Path, served: SimpleNamespace
) -> None:
    texts = [[QUESTION, CONTEXT]] if kind == "questions" else TEXTS
    answered = ask(served, KINDS[kind], *texts).json()["results"]
    if kind == "vectors":
        own = own_vectors(project, model)
        assert np.abs(np.array([row["embedding"] for row in answered]) - own).max() <= 1e-5
        return
    for row, expected in zip(answered, predicted(project, kind, model), strict=True):
        shared = row.keys() & expected.keys()
        assert len(shared) > 1
        for key in shared:
            assert_close(row[key], expected[key])


def assert_close(found: Any, expected: Any) -> None:
    """Numbers in the same places are equal but for rounding, and all else is."""
    if isinstance(found, dict):
        assert found.keys() == expected.keys()
        found, expected = list(found.values()), [expected[key] for key in found]
    if isinstance(found, list):
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    else:
        is_number = isinstance(expected, float)
        assert found == (pytest.approx(expected, abs=1e-5) if is_number else expected)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_shows_the_answer(kind: str, served: SimpleNamespace, browse) -> None:
    fields = {"text": TEXTS[0]}
    if kind == "questions":
        fields = {"text": QUESTION, "second_text": CONTEXT}
    page, picture, console = browse(served, f"sample-{kind}", 1280, use=KINDS[kind], **fields)
    assert console == []
    assert picture.stat().st_size > 5_000
    assert 'role="alert"' not in page
