import json
from pathlib import Path

import numpy as np
import pytest

import baselines
import find_contamination
import report
from cloze.files import read_json, read_object, sha256_file, write_json, write_sealed
from cloze.tasks.scores import task_metrics
from cloze.tasks.task import load_task, write_split
from tests.texts import write_documents as write_texts
from tests.tiny import write_dataset, write_tokenizer
from tests.tiny_task import LABELS, make_split, write_label_predictions, write_task

PRETRAINING = {
    "validation_loss": 3.21, "validation_accuracy": 0.456, "unigram_entropy": 5.5,
    "masked_bits_per_byte": 1.9, "steps": 1200, "tokens": 3_400_000, "tokens_per_second": 5000.0,
    "train_seconds": 680.0, "num_parameters": 1_234_567,
}  # fmt: skip


SPLITS = {"validation": 2, "test": 3}


def write_evaluation(
    folder: Path, seed: int, wrong: list[int], train_accuracy: float, name: str = "validation"
) -> Path:
    """Write an evaluation of a split of the tiny task that is wrong on these rows of 40."""
    split = make_split(40, SPLITS[name])
    predictions = split.labels.copy()
    predictions[wrong] = 1 - predictions[wrong]
    probabilities = np.full((40, 2), 0.25, dtype=np.float32)
    # The later the row, the more confident the prediction.
    probabilities[np.arange(40), predictions] = 0.75 + np.arange(40) / 400
    write_label_predictions(folder, split, predictions, probabilities)
    finetuning = {
        "seed": seed, "train_accuracy": train_accuracy, "train_score": train_accuracy,
        "train_seconds": 5.0,
        "truncated_texts": 3, "recipe": {"learning_rate": 1e-4, "truncation": "head", "seed": seed},
    }  # fmt: skip
    scores = task_metrics(split.labels, predictions, LABELS, "accuracy")
    facts = {"task": "tiny-task", "split": name, "finetuning": finetuning}
    write_json(folder / "metrics.json", {"metrics": facts | scores})
    return folder


def write_documents(folder: Path) -> Path:
    """Write documents that hold the first seven evaluated rows."""
    texts = ["before", *(f"start {text.upper()} end" for text in make_split(40, 2).texts[:7])]
    folder.mkdir()
    write_texts(folder / "train.parquet", texts)
    counts = {"documents": 8, "characters": 300, "bytes": 310, "words": 60}
    write_json(folder / "metrics.json", {"metrics": {"splits": {"train": counts}}})
    return folder


@pytest.fixture
def folders(tmp_path):
    """The flags of a whole report, by name."""
    task = write_task(tmp_path / "task", train_rows=100)
    assert baselines.main(["--task", str(task), "--output", str(tmp_path / "baselines.json")]) == 0
    write_json(tmp_path / "encoder" / "metrics.json", {"metrics": PRETRAINING})
    config = {
        "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 64,
    }  # fmt: skip
    write_json(tmp_path / "encoder" / "config.json", config)
    documents = write_documents(tmp_path / "documents")
    leaf = tmp_path / "contamination.json"
    sources = ["--task", str(task), "--documents", str(documents)]
    assert find_contamination.main([*sources, "--output", str(leaf)]) == 0
    dataset = write_dataset(tmp_path / "dataset", write_tokenizer(tmp_path / "tokenizer"))
    wrong = {1: [0, 1, 2, 39], 2: [0, 1, 39], 3: [0, 1]}
    scratch = {1: list(range(10)), 2: list(range(12)), 3: list(range(11))}
    return {
        "--task": [task],
        "--evaluations": [
            write_evaluation(tmp_path / f"e{seed}", seed, rows, 1.0) for seed, rows in wrong.items()
        ],
        "--scratch-evaluations": [
            write_evaluation(tmp_path / f"s{seed}", seed, rows, 0.98)
            for seed, rows in scratch.items()
        ],
        "--baselines": [tmp_path / "baselines.json"],
        "--pretraining": [tmp_path / "encoder"],
        "--dataset": [dataset],
        "--corpus-documents": [documents],
        "--contamination": [leaf],
        "--recipe": ["corpus=sample", "encoder=small"],
        "--output-html": [tmp_path / "r.html"],
        "--output-figure": [tmp_path / "figure.svg"],
    }


def write_report(folder: Path, flags: dict) -> int:
    outputs = ["--output-text", str(folder / "r.txt"), "--output-json", str(folder / "r.json")]
    given = [str(value) for name, values in flags.items() for value in (name, *values)]
    return report.main(["--name", "sst2", *outputs, *given])


def test_the_json_holds_what_was_measured(tmp_path, folders):
    assert write_report(tmp_path, folders) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["accuracy"]["per_seed"] == {"1": 0.9, "2": 0.925, "3": 0.95}
    assert found["accuracy"]["mean"] == pytest.approx(0.925)
    assert found["accuracy"]["std"] == pytest.approx(0.025)
    low, high = found["accuracy"]["ci95"]
    assert (low, high) == pytest.approx((0.925 - 0.0621, 0.925 + 0.0621), abs=1e-4)
    no_pretraining = found["baselines"]["no_pretraining"]
    assert no_pretraining["accuracy"]["mean"] == pytest.approx(1 - 11 / 40)
    assert no_pretraining["finetuning"]["train_accuracy"] == {"1": 0.98, "2": 0.98, "3": 0.98}
    assert found["baselines"]["majority"]["accuracy"] == 0.5
    tfidf = found["baselines"]["tfidf_logistic_regression"]["accuracy"]
    written = read_json(tmp_path / "baselines.json")["metrics"]["splits"]["validation"]
    assert tfidf == written["tfidf_logistic_regression"]["accuracy"]
    assert found["paired_difference"]["difference"] == pytest.approx(0.925 - (1 - 11 / 40))
    assert found["paired_difference"]["ci95"][0] > 0
    assert np.sum(found["confusion_matrix"]) == pytest.approx(40)
    assert found["pretraining"]["validation_loss"] == 3.21
    assert found["recipe"] == {"corpus": "sample", "encoder": "small"}


def test_contamination_is_that_of_the_evaluated_split(tmp_path, folders):
    assert write_report(tmp_path, folders) == 0
    overlap = json.loads((tmp_path / "r.json").read_text())["overlap"]["with_pretraining_text"]
    texts = make_split(40, 2).texts
    assert (overlap["rows"], overlap["exact"]) == (40, 7)
    assert overlap["long_rows"] == sum(len(text.split()) >= 8 for text in texts)
    assert overlap["contaminated"] == sum(len(text.split()) >= 8 for text in texts[:7]) > 0
    text = " ".join((tmp_path / "r.txt").read_text().split())
    assert f"{overlap['contaminated']} of 40 rows ({100 * overlap['share']:.2f} %) are in" in text
    assert overlap["examples"][0]["text"] in text


def test_contamination_of_other_rows_is_refused(tmp_path, folders, capsys):
    path = folders["--contamination"][0]
    content = read_object(path)
    for change in ({"task": "other"}, {"splits": {}}):
        write_sealed(path, content | {"metrics": content["metrics"] | change})
        assert "run find_contamination.py again on this task" in failure(capsys, tmp_path, folders)


def with_test_split(tmp_path: Path, folders: dict) -> dict:
    """The flags of a report that tells of the test split too, where seeds do worse."""
    task = str(write_task(folders["--task"][0], train_rows=100, test_rows=40))
    leaf = str(tmp_path / "contamination.json")
    documents = ["--documents", str(tmp_path / "documents")]
    assert baselines.main(["--task", task, "--output", str(tmp_path / "baselines.json")]) == 0
    assert find_contamination.main(["--task", task, *documents, "--output", leaf]) == 0
    more = {
        flag: [
            write_evaluation(tmp_path / f"{kind}{seed}", seed, list(range(wrong)), 1.0, "test")
            for seed in (1, 2, 3)
        ]
        for flag, kind, wrong in (("--evaluations", "te", 5), ("--scratch-evaluations", "ts", 15))
    }
    return folders | {flag: [*folders[flag], *found] for flag, found in more.items()}


def test_the_test_split_stands_beside_the_headline(tmp_path, folders):
    assert write_report(tmp_path, folders) == 0
    alone = json.loads((tmp_path / "r.json").read_text())
    assert write_report(tmp_path, with_test_split(tmp_path, folders)) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    same = ("split", "score", "accuracy", "paired_difference", "mistakes", "confusion_matrix")
    assert [found[key] for key in same] == [alone[key] for key in same]
    test = found["other_splits"]["test"]
    assert (test["examples"], test["score"]["mean"]) == (40, pytest.approx(35 / 40))
    assert test["paired_difference"]["difference"] == pytest.approx(10 / 40)
    written = read_json(tmp_path / "baselines.json")["metrics"]["splits"]["test"]
    for name, baseline in written.items():
        assert test["baselines"][name]["score"] == baseline["score"]
    assert test["overlap"]["with_pretraining_text"]["rows"] == 40
    text = " ".join((tmp_path / "r.txt").read_text().split())
    assert "92.50 % ± 2.50 on 40 validation rows" in text
    _, _, section = text.partition("ON THE TEST SPLIT")
    assert "87.50 % ± 0.00 on 40 test rows" in section
    assert "of 40 test rows equal a training row" in section
    assert "On the test split" in (tmp_path / "r.html").read_text()


def test_mistakes_are_those_of_the_average_most_confident_first(tmp_path, folders):
    assert write_report(tmp_path, folders) == 0
    mistakes = json.loads((tmp_path / "r.json").read_text())["mistakes"]
    assert [(m["row"], m["seeds_wrong"]) for m in mistakes] == [(1, 3), (0, 3), (39, 2)]
    assert mistakes[0]["text"] == make_split(40, 2).texts[1]
    assert (mistakes[0]["label"], mistakes[0]["prediction"]) == ("positive", "negative")
    # Row 39 is predicted with 0.8475 by two seeds that are wrong, with 0.25 by the other.
    assert mistakes[2]["probability"] == pytest.approx((2 * 0.8475 + 0.25) / 3)


def test_the_text_tells_all_of_it(tmp_path, folders):
    assert write_report(tmp_path, folders) == 0
    text = (tmp_path / "r.txt").read_text()
    subject = "".join(text.partition("RESULT")[0].split())
    encoder = folders["--pretraining"][0].as_posix()
    assert subject.endswith(f"=model{encoder}recipecorpussample,encodersmall")
    for part in (
        "tiny-task (made for a test)",
        "92.50 % ± 2.50 on 40 validation rows",
        "mean of 3; 95 % interval of the mean 86.29 to 98.71 %",
        "+20.00 [",
        "the same encoder, no pretraining",
        "fits its training split to 98.00, 98.00, 98.00 %",
        "majority class",
        "corpus        sample",
        "1,234,567",
        "1,200 steps, 3,400,000 tokens, 680 s, 5,000 tokens/s",
        "validation loss 3.210 nats where word frequencies alone give 5.500",
        "45.60 % guessed right; masked-LM loss of 1.900 bits a byte (no compression rate)",
        "however short, 7 stand there",
        "3 training texts were longer than max length",
        "positive, taken for negative",
        "precision  recall",
    ):
        assert part in " ".join(text.split()) or part in text, part
    assert max(len(line) for line in text.splitlines()) <= 100


def test_the_page_shows_how_pretraining_went(tmp_path, folders):
    encoder = folders["--pretraining"][0]
    said = ["still at the unigram floor. Likely causes:", "- masks: 3 < 4 & <b>few</b>"]
    write_json(encoder / "diagnosis.json", {"metrics": {"diagnosis": said}})
    records = [{"step": 10, "loss": 7.5}, {"step": 20, "validation_loss": 6.0}]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (encoder / "metrics.jsonl").write_text(lines)
    (encoder / "masked_examples.html").write_text('<p title="a">gap</p>')
    assert write_report(tmp_path, folders) == 0
    page = (tmp_path / "r.html").read_text()
    assert "<dt>recipe</dt><dd>corpus sample, encoder small</dd>" in page
    assert "<p>still at the unigram floor. Likely causes:</p>" in page
    assert "<p>- masks: 3 &lt; 4 &amp; &lt;b&gt;few&lt;/b&gt;</p>" in page
    assert "<title>Loss by step</title>" in page
    assert 'srcdoc="&lt;p title=&#34;a&#34;&gt;gap&lt;/p&gt;"' in page
    assert "diagnosis     still at the unigram floor" in (tmp_path / "r.txt").read_text()


def test_the_same_inputs_give_the_same_bytes(tmp_path, folders):
    outputs = [tmp_path / name for name in ("figure.svg", "r.txt", "r.json", "r.html")]
    assert write_report(tmp_path, folders) == 0
    before = [path.read_bytes() for path in outputs]
    assert before[0].startswith(b"<?xml")
    assert write_report(tmp_path, folders) == 0
    assert [path.read_bytes() for path in outputs] == before


def test_a_model_from_elsewhere_needs_no_pretraining_and_one_seed_no_interval(tmp_path, folders):
    flags = {name: folders[name] for name in ("--task", "--baselines")}
    assert write_report(tmp_path, flags | {"--evaluations": folders["--evaluations"][:1]}) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["accuracy"]["std"] is None
    assert found["accuracy"]["ci95"] is None
    assert found["paired_difference"] is None
    assert "no_pretraining" not in found["baselines"]
    text = (tmp_path / "r.txt").read_text()
    assert "one seed only: no deviation and no interval" in text
    assert "pretrained" not in text


def failure(capsys, tmp_path, flags) -> str:
    assert write_report(tmp_path, flags) == 1
    return capsys.readouterr().err


def test_a_seed_given_twice_is_refused(tmp_path, folders, capsys):
    flags = folders | {"--evaluations": folders["--evaluations"][:1] * 2}
    assert "seed 1 was given twice" in failure(capsys, tmp_path, flags)


def test_evaluations_of_other_rows_are_refused(tmp_path, folders, capsys):
    split = make_split(40, 5)
    other = folders["--evaluations"][1]
    write_label_predictions(other, split, split.labels, np.ones((40, 2)))
    assert "e2: was evaluated on other rows" in failure(capsys, tmp_path, folders)
    folders["--evaluations"] = folders["--evaluations"][:1]
    folders["--scratch-evaluations"] = [other]
    assert "was evaluated on other rows" in failure(capsys, tmp_path, folders)


def test_a_task_that_changed_since_is_refused(tmp_path, folders, capsys):
    task = load_task(folders["--task"][0])
    write_split(task.folder / "validation.parquet", make_split(40, 9))
    assert "its validation split has changed since" in failure(capsys, tmp_path, folders)
    write_json(task.folder / "task.json", task.facts | {"name": "other"})
    message = failure(capsys, tmp_path, folders)
    assert "is the task other, the evaluations are of tiny-task" in message


def test_an_encoder_other_than_the_one_that_was_fine_tuned_is_refused(tmp_path, folders, capsys):
    weights = folders["--pretraining"][0] / "model.safetensors"
    weights.write_text("those that were fine-tuned")
    inputs = {"anywhere/model.safetensors": sha256_file(weights)}
    for folder in folders["--evaluations"]:
        content = read_json(folder / "metrics.json")
        content["metrics"]["finetuning"]["inputs"] = inputs
        write_json(folder / "metrics.json", content)
    assert write_report(tmp_path, folders) == 0
    weights.write_text("others")
    message = failure(capsys, tmp_path, folders)
    assert f"encoder: holds another encoder than {folders['--evaluations'][0]}" in message
    assert "fine-tune and evaluate these seeds again" in message


def test_baselines_of_other_rows_are_refused(tmp_path, folders, capsys):
    path = folders["--baselines"][0]
    content = read_object(path)
    content["metrics"]["splits"]["validation"]["majority"]["predictions"].pop()
    for changed in (content, {"metrics": content["metrics"] | {"splits": {}}}):
        write_sealed(path, changed)
        assert "run baselines.py again on this task" in failure(capsys, tmp_path, folders)


def test_a_recipe_without_a_value_is_refused(tmp_path, folders, capsys):
    with pytest.raises(SystemExit):
        write_report(tmp_path, folders | {"--recipe": ["corpus"]})
    assert "'corpus' is not KEY=VALUE" in capsys.readouterr().err
