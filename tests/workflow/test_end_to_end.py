"""From a folder of Portuguese letters to predictions in Hugging Face's world, step by step."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from tests.workflow.project import Project

pytestmark = pytest.mark.slow

LABELS = ["elogio", "pergunta", "queixa"]
OPENINGS = {
    "elogio": ["Adorei {}.", "Que maravilha, {}!", "Fiquei contente com {}."],
    "pergunta": ["Quando chega {}?", "Quanto custa {}?", "Onde está {}?"],
    "queixa": ["Não gostei de {}.", "Que desilusão, {}!", "Estou zangado com {}."],
}
THINGS = [
    "o pão",
    "a maçã",
    "o avô",
    "a avó",
    "a canção",
    "o coração",
    "a manhã",
    "o chá",
    "a lição",
]
MODEL = "results/cartas/cased/frases/pequeno"
CONFIG = {
    "corpus": "cartas",
    "tokenizer": "cased",
    "dataset": "frases",
    "encoder": "pequeno",
    "seeds": [1],
    "reports": {"cartas": {"task": "intencao-das-cartas"}},
    "corpora": {
        "cartas": {
            "format": "text",
            "files": ["cartas"],
            "validation_fraction": 0.1,
            "min_characters": 1,
        }
    },
    "tokenizers": {"cased": {"unicode_normalization": "nfc", "vocab_size": 300}},
    "datasets": {
        "frases": {"method": "segment_text", "language": "pt", "max_length": 32, "num_shards": 1}
    },
    "architectures": {
        "mini": {
            "layout": "modernbert", "hidden_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64,
            "layer_norm_eps": 1e-5,
        }
    },
    "encoders": {"pequeno": {"architecture": "mini", "max_steps": 150, "train_batch_size": 16}},
    "tasks": {
        "intencao-das-cartas": {
            "train": "cartas.jsonl",
            "validation": "cartas-validation.jsonl",
            "text_column": "carta",
            "label_column": "intenção",
            "labels": LABELS,
            "metric": "macro_f1",
            "finetuning": {"num_train_epochs": 6, "learning_rate": 2e-3, "max_length": 32},
        }
    },
}  # fmt: skip


def letter(rng: random.Random, label: str) -> str:
    return rng.choice(OPENINGS[label]).format(rng.choice(THINGS))


def rows(seed: int, number: int) -> list[dict[str, str]]:
    rng = random.Random(seed)
    labels = [LABELS[row % len(LABELS)] for row in range(number)]
    return [{"carta": letter(rng, label), "intenção": label} for label in labels]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("cartas"))
    rng = random.Random(0)
    (project.folder / "cartas").mkdir()
    for number in range(300):
        text = " ".join(letter(rng, rng.choice(LABELS)) for _ in range(rng.randrange(3, 9)))
        (project.folder / "cartas" / f"{number:03}.txt").write_text(text, encoding="utf-8")
    for name, seed, number in (("cartas", 1, 240), ("cartas-validation", 2, 60)):
        lines = [json.dumps(row, ensure_ascii=False) for row in rows(seed, number)]
        (project.folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    project.snakemake("--cores", "2", "results/cartas_report.txt", *project.overlay(CONFIG))
    return project


def script(project: Project, name: str, *arguments: str) -> str:
    command = [sys.executable, f"scripts/{name}.py", *arguments]
    found = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout


def exported(project: Project, model: str, name: str) -> Path:
    script(project, "export_hf", "--model", model, "--output", name)
    return project.folder / name


def test_the_report_tells_of_the_task(project: Project) -> None:
    found = json.loads((project.folder / "results" / "cartas_report.json").read_text())
    assert found["score"]["metric"] == "macro_f1"
    assert found["score"]["mean"] > 0.8
    assert found["pretraining"]["validation_loss"] < found["pretraining"]["unigram_entropy"] - 0.5
    page = (project.folder / "results" / "cartas_report.html").read_text(encoding="utf-8")
    assert "elogio" in page


def test_transformers_loads_the_encoder_and_fills_the_same_gaps(project: Project) -> None:
    folder = exported(project, MODEL, "encoder-hf")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    text = "Fiquei [MASK] com a canção."
    encoded = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        logits = model(**encoded).logits[0]
    place = encoded["input_ids"][0].tolist().index(tokenizer.mask_token_id)
    expected = logits[place].softmax(-1).topk(3)
    printed = script(
        project, "predict", "fill-mask", "--model", MODEL, text, "--top-k", "3", "--json"
    )
    candidates = json.loads(printed)["masks"][0]
    assert [c["token"] for c in candidates] == tokenizer.convert_ids_to_tokens(expected.indices)
    assert [c["score"] for c in candidates] == pytest.approx(expected.values.tolist(), abs=1e-4)


def test_transformers_loads_the_classifier_and_says_the_same(project: Project) -> None:
    model_folder = f"{MODEL}/intencao-das-cartas/seed-1"
    folder = exported(project, model_folder, "classifier-hf")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    texts = [row["carta"] for row in rows(3, 20)]
    with torch.no_grad():
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    expected = [model.config.id2label[number] for number in logits.argmax(-1).tolist()]
    (project.folder / "new.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    arguments = ["classify", "--model", model_folder, "--input", "new.txt", "--json"]
    found = [json.loads(line) for line in script(project, "predict", *arguments).splitlines()]
    assert [row["label"] for row in found] == expected
    assert [row["text"] for row in found] == texts
