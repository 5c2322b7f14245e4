"""Every layout from pretraining to an exported classifier, by the scripts alone."""

import json
import math

import pytest

import evaluate
import export_hf
import finetune
import predict
import prepare_task
import pretrain
from cloze.files import read_json
from cloze.model.hf import load_encoder
from tests.scripts.test_kinds_of_tasks import KINDS
from tests.tiny_pretraining import MACHINE, VOCAB_SIZE, write_inputs
from tests.tiny_questions import write_questions
from tests.tiny_similarity import SCORED, prepare, write_scored
from tests.tiny_task import write_task

SHAPE = ["--hidden-size=16", "--num-hidden-layers=3", "--num-attention-heads=2",
         "--intermediate-size=32"]  # fmt: skip
LAYOUTS = {
    "roberta": ["--layout=roberta", "--max-position-embeddings=17"],
    "distilbert": ["--layout=distilbert", "--max-position-embeddings=16"],
    "electra": ["--layout=electra", "--max-position-embeddings=16", "--embedding-size=8"],
    "modernbert": [
        "--layout=modernbert", "--max-position-embeddings=16", "--local-attention=4",
        "--global-attn-every-n-layers=3", "--local-rope-theta=100",
    ],
}  # fmt: skip

# Heads of all kinds are compared for every layout elsewhere.
OTHER_KINDS = {
    "roberta": "question_answering",
    "distilbert": "token_classification",
    "electra": "multi_label_classification",
    "modernbert": "token_classification",
}


@pytest.fixture(scope="module", params=LAYOUTS)
def pretrained(request, tmp_path_factory):
    """A folder with an encoder of some layout that was trained for a few steps."""
    root = tmp_path_factory.mktemp(request.param)
    recipe = ["--max-steps=30", "--eval-steps=30", "--warmup-steps=5", "--learning-rate=0.01"]
    output = [f"--output={root / 'encoder'}"]
    shape = [*SHAPE, *LAYOUTS[request.param]]
    assert pretrain.main([*write_inputs(root), *output, *shape, *MACHINE, *recipe]) == 0
    return root


def test_it_learns_to_fill_gaps(pretrained, capsys):
    metrics = read_json(pretrained / "encoder" / "metrics.json")["metrics"]
    assert metrics["validation_loss"] < math.log(VOCAB_SIZE) - 0.02
    model = ["--model", str(pretrained / "encoder"), "--threads=1"]
    assert predict.main(["fill-mask", "--json", *model, "w1 [MASK] w3"]) == 0
    assert json.loads(capsys.readouterr().out)["masks"][0][0]["score"] > 0


def test_it_goes_on_from_where_it_was(pretrained, tmp_path, request):
    layout = request.node.callspec.params["pretrained"]
    encoder = pretrained / "encoder"
    inputs = [f"--dataset={pretrained / 'dataset'}",
              f"--tokenizer={pretrained / 'tokenizer/tokenizer.json'}",
              f"--run-dir={tmp_path / 'runs'}", f"--init-from={encoder}"]  # fmt: skip
    recipe = ["--max-steps=1", "--eval-steps=1", "--warmup-steps=0", "--learning-rate=1e-9"]
    flags = [*inputs, f"--output={tmp_path / 'more'}", *SHAPE, *LAYOUTS[layout], *MACHINE, *recipe]
    assert pretrain.main(flags) == 0
    before = read_json(encoder / "metrics.json")["metrics"]["validation_loss"]
    after = read_json(tmp_path / "more" / "metrics.json")["metrics"]["validation_loss"]
    assert after == pytest.approx(before, abs=1e-4)
    assert load_encoder(tmp_path / "more").config == load_encoder(encoder).config


def test_it_is_fine_tuned_measured_and_exported(pretrained, tmp_path, capsys):
    task = write_task(tmp_path / "task", train_rows=64, validation_rows=16)
    common = ["--task", str(task), "--max-length=16", "--threads=1"]
    recipe = ["--num-train-epochs=16", "--learning-rate=5e-3", "--seed=1"]
    model = ["--model", str(pretrained / "encoder"), "--output", str(tmp_path / "classifier")]
    assert finetune.main([*model, *common, *recipe]) == 0
    model = ["--model", str(tmp_path / "classifier")]
    assert evaluate.main([*model, *common, "--output", str(tmp_path / "evaluation")]) == 0
    assert read_json(tmp_path / "evaluation" / "metrics.json")["metrics"]["accuracy"] > 0.7
    assert predict.main(["classify", *model, "--threads=1", "w1 w2"]) == 0
    assert predict.main(["embed", *model, "--threads=1", "w1 w2"]) == 0
    assert export_hf.main([*model, "--output", str(tmp_path / "hf")]) == 0
    assert "SequenceClassification" in read_json(tmp_path / "hf" / "parity.json")["class"]


def test_it_learns_other_kinds_of_tasks(pretrained, tmp_path, request):
    kind = OTHER_KINDS[request.node.callspec.params["pretrained"]]
    task = tmp_path / "task"
    if kind == "question_answering":
        arguments = write_questions(tmp_path / "files")
    else:
        write, suffix, flags, _ = KINDS[kind]
        arguments = [f"--objective={kind}", *flags]
        for number, split in enumerate(("train", "validation")):
            write(tmp_path / f"{split}.{suffix}", 24, 100 * number)
            arguments += [f"--{split}", str(tmp_path / f"{split}.{suffix}")]
    assert prepare_task.main([*arguments, "--output", str(task)]) == 0
    flags = ["--task", str(task), "--max-length=16", "--threads=1", "--max-steps=2"]
    model = ["--model", str(pretrained / "encoder"), "--output", str(tmp_path / "model")]
    assert finetune.main([*model, *flags]) == 0
    model = ["--model", str(tmp_path / "model")]
    assert export_hf.main([*model, "--output", str(tmp_path / "hf")]) == 0


def test_it_gives_vectors_that_sentence_transformers_gives(pretrained, tmp_path):
    files = [write_scored(tmp_path / f"{number}.tsv", 32, number) for number in range(2)]
    task = prepare(tmp_path / "task", *files, *SCORED)
    flags = ["--task", str(task), "--max-length=16", "--threads=1", "--max-steps=2"]
    model = ["--model", str(pretrained / "encoder"), "--output", str(tmp_path / "vectors")]
    assert finetune.main([*model, *flags]) == 0
    model = ["--model", str(tmp_path / "vectors")]
    assert export_hf.main([*model, "--output", str(tmp_path / "hf")]) == 0
    assert "sentence_transformers" in read_json(tmp_path / "hf" / "parity.json")


def test_roberta_keeps_a_position_free_for_padding(tmp_path, capsys):
    flags = [*SHAPE, "--layout=roberta", "--max-position-embeddings=16", "--max-steps=1"]
    assert pretrain.main([*write_inputs(tmp_path), "--output", str(tmp_path / "o"), *flags]) == 1
    assert "16, of which roberta keeps 1 free, is less than the data" in capsys.readouterr().err
