"""Question answering from files to predictions: prepared, learnt, evaluated, exported, used."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import baselines
import evaluate
import export_hf
import finetune
import predict
import prepare_task
import report
from cloze.files import read_json, write_json
from tests.tiny_questions import write_questions
from tests.tiny_task import write_encoder

FAST = ["--max-length=24", "--doc-stride=4", "--threads=1", "--precision=fp32"]
RECIPE = [
    "--learning-rate=3e-3",
    "--num-train-epochs=12",
    "--train-batch-size=16",
    "--dropout=0",
    "--classifier-dropout=0",
]


def prepare(root, *more, **options):
    flags = write_questions(root / "files", **options)
    return prepare_task.main([*flags, *more, "--output", str(root / "task")])


def train(root, *more, layout="bert"):
    write_encoder(root / "encoder", layout)
    folders = ["--model", str(root / "encoder"), "--task", str(root / "task")]
    return finetune.main([*folders, "--output", str(root / "model"), *FAST, *RECIPE, *more])


def measure(root, name="evaluation"):
    folders = ["--model", str(root / "model"), "--task", str(root / "task")]
    assert evaluate.main([*folders, "--output", str(root / name), *FAST]) == 0
    measured = read_json(root / name / "metrics.json")["metrics"]
    return measured, pq.read_table(root / name / "predictions.parquet").to_pylist()


@pytest.fixture(scope="module", params=["bert", pytest.param("modernbert", marks=pytest.mark.slow)])
def learnt(request, tmp_path_factory):
    """Folders of a task with unanswerable questions, a model and its evaluation."""
    root = tmp_path_factory.mktemp(request.param)
    assert prepare(root) == 0
    assert train(root, "--early-stopping-patience=12", layout=request.param) == 0
    return root, *measure(root)


def test_answers_and_their_absence_are_learnt(learnt):
    root, measured, _ = learnt
    assert baselines.main(["--task", f"{root}/task", "--output", f"{root}/baselines.json"]) == 0
    beside = read_json(root / "baselines.json")["metrics"]["splits"]["validation"]
    assert set(beside) == {"matching_sentence", "never_answers"}
    assert beside["never_answers"]["exact_match"] == pytest.approx(20 / 61)
    assert measured["exact_match"] > 0.6 > beside["never_answers"]["score"]
    assert measured["answer_f1"] >= measured["exact_match"]
    assert measured["score"] == measured["answer_f1"]
    assert measured["unanswerable"]["examples"] == 20


def test_every_answer_is_a_slice_of_its_context(learnt):
    _, measured, rows = learnt
    for row in rows:
        assert row["prediction"] == row["text_pair"][row["start"] : row["end"]]
        assert 0 <= row["score"] <= 1
        if not row["prediction"]:
            assert row["score"] == row["no_answer_probability"]
    assert np.mean([row["answer_f1"] for row in rows]) == pytest.approx(measured["answer_f1"])
    statistics = np.array([row["statistics"] for row in rows])
    assert statistics.sum(axis=0) == pytest.approx([measured["score"] * 61, 61])


def test_the_threshold_was_chosen_while_training_and_lies_with_the_model(learnt):
    root, measured, _ = learnt
    kept = read_json(root / "model" / "config.json")["null_score_diff_threshold"]
    assert measured["decoding"]["null_threshold"] == kept
    moved = kept + 1000
    write_json(
        root / "model" / "config.json",
        read_json(root / "model" / "config.json") | {"null_score_diff_threshold": moved},
    )
    always, rows = measure(root, "always")
    write_json(
        root / "model" / "config.json",
        read_json(root / "model" / "config.json") | {"null_score_diff_threshold": kept},
    )
    assert all(row["prediction"] for row in rows)
    assert always["unanswerable"]["exact_match"] == 0


def test_transformers_loads_the_model_with_equal_logits(learnt, tmp_path):
    root, _, _ = learnt
    transformers = pytest.importorskip("transformers")
    output = tmp_path / "exported"
    assert export_hf.main(["--model", f"{root}/model", "--output", str(output)]) == 0
    certificate = read_json(output / "parity.json")
    assert certificate["class"].endswith("BertForQuestionAnswering")
    assert certificate["output"] == "start_logits, end_logits"
    assert certificate["max_abs_difference"] <= 1e-5 * max(1, certificate["largest_output"])
    peer = transformers.AutoModelForQuestionAnswering.from_pretrained(output).eval()
    with torch.inference_mode():
        found = peer(input_ids=torch.tensor([[2, 7, 8, 3, 20, 6, 30, 31, 3]]))
    assert found.start_logits.shape == found.end_logits.shape == (1, 9)
    assert "AutoModelForQuestionAnswering" in (output / "README.md").read_text()


def test_the_report_shows_mistakes_in_their_context_as_text_alone(learnt, tmp_path):
    root, _, rows = learnt
    assert baselines.main(["--task", f"{root}/task", "--output", f"{root}/baselines.json"]) == 0
    folder = tmp_path / "evaluation"
    folder.mkdir()
    wrong = {"prediction": "</script>", "start": 13, "end": 22, "score": 1.0}
    last = rows[-1] | wrong | {"exact_match": 0.0, "answer_f1": 0.0}
    schema = pq.read_schema(root / "evaluation" / "predictions.parquet")
    changed = pa.Table.from_pylist([*rows[:-1], last], schema)
    pq.write_table(changed, folder / "predictions.parquet")
    (folder / "metrics.json").write_bytes((root / "evaluation" / "metrics.json").read_bytes())
    outputs = {name: tmp_path / f"report.{name}" for name in ("text", "json", "html", "figure")}
    flags = [f"--output-{name}={path}" for name, path in outputs.items()]
    files = ["--task", f"{root}/task", "--baselines", f"{root}/baselines.json"]
    assert report.main(["--name=qa", *files, "--evaluations", str(folder), *flags]) == 0
    text, page = (outputs[name].read_text() for name in ("text", "html"))
    assert "w5 <script>w6[</script>] <b>{w7}</b>" in text
    assert "&lt;script&gt;w6" in page
    assert "<script>" not in page
    assert '<mark class="right">w7</mark>' in page
    answers = read_json(outputs["json"])["answers"]
    assert answers["all"]["examples"] == 61
    low, high = answers["all"]["answer_f1"]["ci95"]
    assert low < answers["all"]["answer_f1"]["mean"] < high
    assert "the sentence with most words of the question" in text
    assert "never an answer" in text
    assert "1 of 61 validation questions have a context that was read" in text


class TestPredict:
    def ask(self, root, capsys, *words):
        flags = ["--model", f"{root}/model", "--threads=1", "--device=cpu"]
        assert predict.main(["answer", *words, *flags]) == 0
        return capsys.readouterr().out

    def test_files_give_what_evaluation_gave(self, learnt, tmp_path, capsys):
        root, _, rows = learnt
        path = tmp_path / "questions.jsonl"
        lines = [json.dumps({"question": r["text"], "context": r["text_pair"]}) for r in rows]
        path.write_text("\n".join(lines))
        found = self.ask(root, capsys, "--json", "--input", str(path)).splitlines()
        for line, row in zip(found, rows, strict=True):
            record = json.loads(line)
            assert (record["answer"], record["start"], record["end"]) == (
                row["prediction"], row["start"], row["end"],
            )  # fmt: skip
            assert record["score"] == pytest.approx(row["score"], abs=1e-4)
            expected = pytest.approx(row["no_answer_probability"], abs=1e-4)
            assert record["no_answer_probability"] == expected

    def test_arguments_are_a_question_and_its_context(self, learnt, capsys):
        root, _, rows = learnt
        row = next(row for row in rows if row["prediction"])
        answer, score, place, question = self.ask(root, capsys, row["text"], row["text_pair"])[
            :-1
        ].split("\t")
        assert answer == row["prediction"]
        assert place == f"{row['start']}:{row['end']}"
        assert float(score) == pytest.approx(row["score"], abs=1e-3)
        assert question == row["text"]

    def test_no_answer_is_said(self, learnt, capsys):
        root, _, rows = learnt
        row = next(row for row in rows if not row["prediction"])
        assert self.ask(root, capsys, row["text"], row["text_pair"]).startswith("no answer\t0.")

    def test_a_question_without_a_context_is_refused(self, learnt, capfd):
        root, _, _ = learnt
        flags = ["--model", f"{root}/model", "--threads=1", "--device=cpu"]
        assert predict.main(["answer", "w3 w4", *flags]) == 1
        assert "'w3 w4' has no second text; give texts in twos" in capfd.readouterr().err


def test_questions_that_all_have_answers_know_no_threshold(tmp_path):
    assert prepare(tmp_path, unanswerable=False) == 0
    assert train(tmp_path, "--num-train-epochs=1") == 0
    assert "null_score_diff_threshold" not in read_json(tmp_path / "model" / "config.json")
    measured, rows = measure(tmp_path)
    assert all(row["prediction"] for row in rows)
    assert "unanswerable" not in measured
    assert {row["no_answer_probability"] for row in rows} == {0.0}


def test_long_contexts_are_read_in_windows(tmp_path):
    assert prepare(tmp_path, words=60) == 0
    assert train(tmp_path, "--num-train-epochs=1") == 0
    measured, rows = measure(tmp_path)
    assert measured["decoding"]["questions_in_windows"] == 61
    assert measured["decoding"]["windows"] > 180
    # Answers stand behind the first window, too.
    assert any(row["start"] > 100 for row in rows)


def test_a_hold_out_divides_by_article(tmp_path):
    flags = write_questions(tmp_path / "files")
    path = tmp_path / "files" / "train.json"
    held = json.loads(path.read_text())
    for number, article in enumerate(held["data"]):
        article["title"] = f"article {number // 20}"
    path.write_text(json.dumps(held))
    assert (
        prepare_task.main(
            [flags[0], flags[2], "--hold-out-fraction=0.25", "--output", f"{tmp_path}/task"]
        )
        == 0
    )
    splits = [
        pq.read_table(tmp_path / "task" / f"{name}.parquet") for name in ("train", "validation")
    ]
    sides = [set(split["group"].to_pylist()) for split in splits]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 3


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (["--metric=accuracy"], "--metric accuracy: does not measure this kind of task"),
        (["--labels", "a", "b"], "--labels: questions have answers and no labels"),
        (["--format=csv"], "csv is no format of this kind of task; it is read from squad"),
    ],
)
def test_settings_of_other_tasks_are_refused(tmp_path, capfd, more, match):
    assert prepare(tmp_path, *more) == 1
    assert match in capfd.readouterr().err


def test_class_weights_are_refused(tmp_path, capfd):
    assert prepare(tmp_path) == 0
    assert train(tmp_path, "--class-weights=balanced") == 1
    assert "--class-weights: is for texts with one class each" in capfd.readouterr().err
