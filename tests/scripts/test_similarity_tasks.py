"""Tasks of sentence_similarity by the scripts: what files hold, what is refused, the whole way."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import spearmanr

import baselines
import evaluate
import export_hf
import finetune
import import_encoder
import predict
import prepare_task
import report
from cloze.files import read_json
from cloze.model.pooling import Pooling, read_pooling
from cloze.tasks.task import load_task
from tests.scripts.test_pretrain_processes import TWO_PROCESSES
from tests.tiny_pretraining import MACHINE, start
from tests.tiny_similarity import (
    PAIR,
    SCORED,
    TRIPLES,
    prepare,
    write_collection,
    write_pairs,
    write_rows,
    write_scored,
)
from tests.tiny_task import write_encoder

THREADS = ["--threads=1", "--device=cpu"]


@pytest.fixture
def scored(tmp_path) -> Path:
    train = write_scored(tmp_path / "train.tsv", 64, 1)
    return prepare(tmp_path / "task", train, write_scored(tmp_path / "dev.tsv", 32, 2), *SCORED)


def metrics(folder: Path) -> dict:
    return read_json(folder / "metrics.json")["metrics"]


def fine_tune(encoder: Path, task: Path, output: Path, *flags: str) -> Path:
    places = ["--model", str(encoder), "--task", str(task), "--output", str(output)]
    recipe = ["--max-length=16", "--learning-rate=3e-3", *flags]
    assert finetune.main([*places, *recipe, *MACHINE]) == 0
    return output


def evaluated(model: Path, task: Path, output: Path) -> Path:
    places = ["--model", str(model), "--task", str(task), "--output", str(output)]
    assert evaluate.main([*places, "--max-length=16", *THREADS]) == 0
    return output


def refusal(capsys, output: Path, train: Path, validation: Path, *flags: str) -> str:
    files = ["--train", str(train), "--validation", str(validation), "--output", str(output)]
    assert prepare_task.main([*files, "--objective=sentence_similarity", *flags]) == 1
    return capsys.readouterr().err


def test_the_loss_and_the_measure_follow_the_columns(tmp_path, scored):
    qrels = write_collection(tmp_path / "collection", 3)
    pairs = write_pairs(tmp_path / "pairs.tsv", 16, 1)
    facts = {
        "scored": load_task(scored).facts,
        "triples": load_task(prepare(tmp_path / "1", pairs, qrels, *TRIPLES)).facts,
        "texts": load_task(prepare(tmp_path / "2", pairs, qrels, "--text-column=first")).facts,
        "pairs": load_task(prepare(tmp_path / "3", pairs, pairs, *PAIR)).facts,
        "queries": load_task(prepare(tmp_path / "4", qrels, qrels)).facts,
    }
    found = {name: (fact["similarity_loss"], fact["metric"]) for name, fact in facts.items()}
    assert found == {
        "scored": ("cosent", "spearman"),
        "triples": ("multiple_negatives_ranking", "ndcg_at_10"),
        "texts": ("simcse", "ndcg_at_10"),
        "pairs": ("multiple_negatives_ranking", "ndcg_at_10"),
        "queries": ("multiple_negatives_ranking", "ndcg_at_10"),
    }
    assert facts["queries"]["splits"]["validation"]["documents"] == 8
    split = load_task(tmp_path / "4").split("validation")
    assert split.labels[9] == [{"document": 1, "grade": 1}]
    assert split.documents.ids[1] == "d1"
    assert load_task(tmp_path / "1").split("train").columns["negative"][0].as_py()


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--text-column=first"], "--text-pair-column: missing; "),
        ([*PAIR, "--similarity-loss=cosent"], "--label-column: missing; "),
        ([*SCORED, "--negative-column=score"], "--negative-column: similarity_loss cosent reads"),
        ([*PAIR, "--label-column=second"], "train.tsv: line 2: column 'second' holds "),
        ([*SCORED, "--metric=ndcg_at_10"], "--metric ndcg_at_10: "),
        ([*PAIR, "--metric=spearman"], "--metric spearman: "),
        ([*PAIR, "--metric=accuracy"], "--metric accuracy: "),
        ([*PAIR, "--negative-column=other"], "no column 'other'"),
    ],
)
def test_what_makes_no_task_is_refused(tmp_path, capsys, flags, problem):
    train = write_scored(tmp_path / "train.tsv", 8, 1)
    other = write_scored(tmp_path / "dev.tsv", 8, 2)
    assert problem in refusal(capsys, tmp_path / "task", train, other, *flags)
    assert not (tmp_path / "task" / "task.json").exists()


def test_two_measures_are_refused(tmp_path, capsys):
    train = write_scored(tmp_path / "train.tsv", 8, 1)
    qrels = write_collection(tmp_path / "collection", 3)
    found = refusal(
        capsys, tmp_path / "task", train, train, f"--test={qrels}", *SCORED
    )  # fmt: skip
    assert "a task has one measure" in found


def test_a_query_without_an_answer_is_named_or_counted(tmp_path, capsys):
    qrels = write_collection(tmp_path / "collection", 3)
    qrels.write_text(qrels.read_text() .replace("q5\td5\t1", "q5\td5\t0"))  # fmt: skip
    assert "relevant to query q5" in refusal(capsys, tmp_path / "task", qrels, qrels)
    task = prepare(tmp_path / "task", qrels, qrels, "--leave-out-unanswered-queries")
    facts = load_task(task).facts
    assert facts["splits"]["validation"]["rows"] == 20
    assert facts["left_out_queries"] == {"train": 1, "validation": 1}


def test_baselines_of_scored_pairs_and_of_searches(tmp_path, scored):
    output = tmp_path / "baselines.json"
    assert baselines.main(["--task", str(scored), "--output", str(output)]) == 0
    found = read_json(output)["metrics"]["splits"]["validation"]
    assert list(found) == ["tfidf_cosine"]
    # The topic's word says all, so words alone do well here.
    assert 0.5 < found["tfidf_cosine"]["score"] <= 1
    qrels = write_collection(tmp_path / "collection", 3)
    task = prepare(tmp_path / "search", qrels, qrels)
    assert baselines.main(["--task", str(task), "--output", str(output)]) == 0
    found = read_json(output)["metrics"]["splits"]["validation"]
    assert list(found) == ["tfidf_cosine", "bm25"]
    assert min(part["score"] for part in found.values()) > 0.6
    value = np.array(found["bm25"]["statistics"]).mean(axis=0)[0]
    assert found["bm25"]["score"] == pytest.approx(value)


def test_an_encoder_is_evaluated_as_it_is(tmp_path, scored):
    encoder = write_encoder(tmp_path / "encoder")
    model = fine_tune(encoder, scored, tmp_path / "model", "--num-train-epochs=0")
    facts = metrics(model)
    assert (facts["steps"], facts["train_loss"]) == (0, None)
    assert read_pooling(model) == Pooling("mean", True, 16)
    evaluation = evaluated(model, scored, tmp_path / "evaluation")
    table = pq.read_table(evaluation / "predictions.parquet")
    expected = spearmanr(table["label"].to_numpy(), table["prediction"].to_numpy()).statistic
    assert metrics(evaluation)["score"] == pytest.approx(expected)
    vectors = tmp_path / "vectors.npy"
    rows = [str(text) for text in table["text"].to_pylist() + table["text_pair"].to_pylist()]
    (tmp_path / "rows.txt").write_text("\n".join(rows) + "\n")
    places = ["--model", str(encoder), "--input", str(tmp_path / "rows.txt")]
    flags = ["--output", str(vectors), "--max-length=16", "--normalize", *THREADS]
    assert predict.main(["embed", *places, *flags]) == 0
    first, second = np.split(np.load(vectors), 2)
    np.testing.assert_allclose((first * second).sum(axis=1), table["prediction"], atol=1e-5)


def test_no_epoch_is_for_encoders_without_a_head(tmp_path, capsys):
    from tests.tiny_task import write_task

    encoder, task = write_encoder(tmp_path / "encoder"), write_task(tmp_path / "task")
    places = ["--model", str(encoder), "--task", str(task), "--output", str(tmp_path / "model")]
    assert finetune.main([*places, "--num-train-epochs=0", "--max-length=16", *MACHINE]) == 1
    assert "num_train_epochs 0" in capsys.readouterr().err


def test_texts_alone_cannot_be_held_out(tmp_path, capsys):
    qrels = write_collection(tmp_path / "collection", 3)
    texts = write_rows(tmp_path / "texts.tsv", "first", [[f"w{n} w{n + 1}"] for n in range(20)])
    task = prepare(tmp_path / "task", texts, qrels, "--text-column=first")
    encoder = write_encoder(tmp_path / "encoder")
    places = ["--model", str(encoder), "--task", str(task), "--output", str(tmp_path / "model")]
    flags = ["--early-stopping-patience=1", "--max-length=16", *MACHINE]
    assert finetune.main([*places, *flags]) == 1
    assert "early_stopping_patience" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--gradient-accumulation-steps=3"]])
def test_two_processes_take_the_steps_of_one(tmp_path, flags):
    qrels = write_collection(tmp_path / "collection", 3)
    # Of 33 pairs the last batch has one, so that a process has none.
    pairs = write_pairs(tmp_path / "train.tsv", 33, 1)
    task = prepare(tmp_path / "task", pairs, qrels, *TRIPLES)
    encoder = write_encoder(tmp_path / "encoder")
    recipe = ["--num-train-epochs=2", "--train-batch-size=8", "--dropout=0"]
    one = fine_tune(encoder, task, tmp_path / "one", *recipe)
    places = [f"--model={encoder}", f"--task={task}", f"--output={tmp_path / 'two'}"]
    more = ["--max-length=16", "--learning-rate=3e-3", *recipe, *flags, *MACHINE]
    process = start([*places, *more], *TWO_PROCESSES, script=finetune)
    message = process.communicate(timeout=600)[1].decode()
    assert process.returncode == 0, message
    weights = [load_file(folder / "model.safetensors") for folder in (one, tmp_path / "two")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=2e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["scored", "triples", "texts"])
def test_from_files_to_a_report_and_a_folder_of_sentence_transformers(tmp_path, kind):
    qrels = write_collection(tmp_path / "collection", 3)
    train, validation, flags = {
        "scored": lambda: (write_scored(tmp_path / "train.tsv", 256, 1),
                           write_scored(tmp_path / "dev.tsv", 64, 2), SCORED),
        "triples": lambda: (write_pairs(tmp_path / "train.tsv", 256, 1), qrels, TRIPLES),
        "texts": lambda: (write_pairs(tmp_path / "train.tsv", 256, 1), qrels, PAIR[:1]),
    }[kind]()  # fmt: skip
    task = prepare(tmp_path / "task", train, validation, *flags)
    encoder = write_encoder(tmp_path / "encoder")
    recipe = ["--num-train-epochs=15", "--gradient-accumulation-steps=2"]
    model = fine_tune(encoder, task, tmp_path / "model", *recipe)
    evaluation = evaluated(model, task, tmp_path / "evaluation")
    untouched = fine_tune(encoder, task, tmp_path / "untouched", "--num-train-epochs=0")
    before = evaluated(untouched, task, tmp_path / "before")
    if kind != "texts":
        assert metrics(evaluation)["score"] > metrics(before)["score"] + 0.2
    baseline = tmp_path / "baselines.json"
    assert baselines.main(["--task", str(task), "--output", str(baseline)]) == 0
    written = [
        f"--output-{kind}={tmp_path / f'report.{kind}'}" for kind in ("text", "json", "html")
    ]
    places = ["--name=vectors", "--task", str(task), "--evaluations", str(evaluation)]
    places += ["--scratch-evaluations", str(before), "--baselines", str(baseline)]
    figure = [f"--output-figure={tmp_path / 'figure.svg'}"]
    assert report.main([*places, *written, *figure]) == 0
    text = (tmp_path / "report.text").read_text()
    assert "NEAREST NEIGHBOURS" in text
    assert "TF-IDF cosine" in text
    assert ("BM25" in text) == (kind != "scored")
    assert "Nearest neighbours" in (tmp_path / "report.html").read_text()
    sentence_transformers = pytest.importorskip("sentence_transformers")
    assert export_hf.main(["--model", str(model), "--output", str(tmp_path / "exported")]) == 0
    parity = read_json(tmp_path / "exported" / "parity.json")
    assert parity["sentence_transformers"]["max_abs_difference"] < 1e-5
    card = (tmp_path / "exported" / "README.md").read_text()
    assert "SentenceTransformer" in card
    texts = ["w1 w2 w3", "w4", " ".join(["w5"] * 30)]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    vectors = tmp_path / "vectors.npy"
    places = ["embed", "--model", str(tmp_path / "exported")]
    flags = ["--input", str(tmp_path / "texts.txt"), "--output", str(vectors)]
    assert predict.main([*places, *flags, *THREADS]) == 0
    peer = sentence_transformers.SentenceTransformer(str(tmp_path / "exported"), device="cpu")
    np.testing.assert_allclose(np.load(vectors), peer.encode(texts), atol=1e-5)


def test_a_folder_of_sentence_transformers_keeps_its_pooling(tmp_path, scored):
    encoder = write_encoder(tmp_path / "encoder")
    model = fine_tune(encoder, scored, tmp_path / "model", "--num-train-epochs=0", "--pooling=cls")
    output = tmp_path / "imported"
    assert import_encoder.main(["--pretrained", str(model), "--output", str(output)]) == 0
    assert read_pooling(output) == Pooling("cls", True, 16)
    # Whoever starts from it pools in the same way.
    again = fine_tune(output, scored, tmp_path / "again", "--num-train-epochs=0")
    assert read_pooling(again) == Pooling("cls", True, 16)
    modules = json.loads((output / "modules.json").read_text())
    modules[1]["type"] = "sentence_transformers.models.WordWeights"
    (model / "modules.json").write_text(json.dumps(modules))
    assert import_encoder.main(["--pretrained", str(model), "--output", str(output)]) == 0
