"""Going on from an encoder that exists: from its loss, with its heads, with pieces of its own."""

import contextlib
import dataclasses
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import evaluate_masked_lm
import export_hf
import extend_tokenizer
import import_encoder
import pretrain
import split_tokens
from cloze.files import read_json
from cloze.model.encoder import Encoder
from cloze.model.heads import MaskedLM
from cloze.model.hf import load_masked_lm, save_model
from cloze.objectives.adaptation import start_new_pieces
from cloze.objectives.mlm import MaskedLanguageModeling, PretrainingData
from cloze.tokens.tokenizer import load_tokenizer
from tests.scripts.test_found_folders import write_model
from tests.scripts.test_import_encoder import foreign_model, write_folder
from tests.texts import write_documents
from tests.tiny import SPECIAL, make_rows, write_dataset
from tests.tiny_model import make_config, perturbed
from tests.tiny_pretraining import MACHINE, command, write_inputs

transformers = pytest.importorskip("transformers")

RATE = "--mlm-probability=0.2"


def adapted(inputs: list[str], model: Path, output: Path, *more: str, steps: int = 1) -> list[str]:
    recipe = [f"--max-steps={steps}", "--eval-steps=20", RATE]
    return [*inputs, f"--adapt={model}", f"--output={output}", *MACHINE, *recipe, *more]


def first_loss(folder: Path) -> float:
    """The loss before the first step, over the first rows: all of them where there are few."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    return next(record["initial_loss"] for record in records if "initial_loss" in record)


def test_training_goes_on_at_the_loss_where_it_ended(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    assert pretrain.main(command(inputs, tmp_path / "first", 60, RATE)) == 0
    assert pretrain.main(adapted(inputs, tmp_path / "first", tmp_path / "second")) == 0
    ended = read_json(tmp_path / "first" / "metrics.json")["metrics"]["validation_loss"]
    assert first_loss(tmp_path / "second") == pytest.approx(ended, abs=1e-4)


def loss_of(model: torch.nn.Module, arguments: list[str]) -> float:
    """The loss that `transformers` itself finds at the same masks, a text at a time."""
    args = pretrain.build_parser().parse_args(arguments)
    losses: list[torch.Tensor] = []
    batches = PretrainingData.load(args).validation.with_mlm_probability(0.2)
    for batch in batches.evaluation_batches(32):
        packed = batch.packed
        for row in range(batch.num_rows):
            labels = torch.full_like(packed.input_ids[row], -100)
            real = batch.weights[row] > 0
            labels[batch.positions[row][real]] = batch.labels[row][real]
            for sample in range(1, int(packed.sample_ids[row].max()) + 1):
                text = packed.sample_ids[row] == sample
                with torch.inference_mode():
                    logits = model(input_ids=packed.input_ids[row][text][None]).logits[0]
                known = labels[text] >= 0
                losses.append(F.cross_entropy(logits[known], labels[text][known], reduction="none"))
    return float(torch.cat(losses).mean())


@pytest.mark.parametrize("family", ["Bert", "ModernBert"])
def test_an_encoder_from_elsewhere_starts_at_the_loss_that_transformers_finds(
    family: str, tmp_path: Path
) -> None:
    peer = foreign_model(family).eval()
    theirs = write_folder(tmp_path / "theirs", peer)
    tokenizer = theirs / "tokenizer.json"
    dataset = write_dataset(tmp_path / "dataset", tokenizer)
    inputs = [f"--dataset={dataset}", f"--tokenizer={tokenizer}", f"--run-dir={tmp_path / '.runs'}"]
    arguments = adapted(inputs, theirs, tmp_path / "ours")
    assert pretrain.main(arguments) == 0
    expected = loss_of(peer, arguments)
    assert first_loss(tmp_path / "ours") == pytest.approx(expected, rel=1e-4)
    flags = ["--pretrained", str(theirs), "--output", str(tmp_path / "imported")]
    assert import_encoder.main(flags) == 0
    arguments = adapted(inputs, tmp_path / "imported", tmp_path / "after")
    assert pretrain.main(arguments) == 0
    assert first_loss(tmp_path / "after") == pytest.approx(expected, rel=1e-4)


STEMS, ENDS = ["hydro", "chlor", "phosph", "carb"], ["ate", "ide", "ic", "ous"]


def base_folder(folder: Path, padding: int = 0) -> Path:
    """A model with a head and a tokenizer of letters; its table may be longer than that."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "tokenizer" / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    config = make_config("bert", vocab_size=len(vocabulary) + padding, hidden_size=16)
    save_model(folder, perturbed(MaskedLM(config)), folder / "tokenizer")
    shutil.rmtree(folder / "tokenizer")
    return folder


def extended_inputs(folder: Path, model: Path, number: int = 12) -> list[str]:
    """Write documents, the extended tokenizer and a data set; returns the flags that name them."""
    rng = random.Random(0)
    texts = [" ".join(rng.choice(STEMS) + rng.choice(ENDS) for _ in range(9)) for _ in range(60)]
    write_documents(folder / "documents" / "train.parquet", texts[:50])
    write_documents(folder / "documents" / "validation.parquet", texts[50:], first_id=50)
    documents = ["--documents", str(folder / "documents")]
    flags = [*documents, "--model", str(model), "--output", str(folder / "tokenizer")]
    assert extend_tokenizer.main([*flags, "--extend-vocabulary", str(number)]) == 0
    tokenizer = folder / "tokenizer" / "tokenizer.json"
    flags = [*documents, "--tokenizer", str(tokenizer), "--output", str(folder / "dataset")]
    assert split_tokens.main([*flags, "--max-length", "16", "--threads", "1"]) == 0
    paths = {"dataset": folder / "dataset", "tokenizer": tokenizer, "run-dir": folder / ".runs"}
    return [f"--{name}={path}" for name, path in paths.items()]


def objective(arguments: list[str]) -> MaskedLanguageModeling:
    args = pretrain.build_parser().parse_args(arguments)
    found = MaskedLanguageModeling(PretrainingData.load(args), args)
    found.initialize_embeddings()
    return found


def test_the_tokenizer_tells_what_it_gained(tmp_path: Path) -> None:
    model = base_folder(tmp_path / "base")
    extended_inputs(tmp_path, model)
    found = read_json(tmp_path / "tokenizer" / "metrics.json")["metrics"]
    assert (found["vocab_size"], found["new_pieces"]) == (69, 12)
    assert found["tokens_per_word"]["after"] < 0.4 * found["tokens_per_word"]["before"]
    assert len(found["most_used"]) == 12
    before = load_tokenizer(model / "tokenizer.json").get_vocab()
    after = load_tokenizer(tmp_path / "tokenizer" / "tokenizer.json").get_vocab()
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("padding", [0, 3, 20])
@pytest.mark.parametrize("start", ["mean", "cooccurrence", "random"])
def test_old_pieces_keep_their_vectors_and_new_ones_get_some(
    start: str, padding: int, tmp_path: Path
) -> None:
    base = base_folder(tmp_path / "base", padding)
    inputs = extended_inputs(tmp_path, base)
    old = load_masked_lm(base)
    arguments = adapted(inputs, base, tmp_path / "model", f"--new-embedding-init={start}")
    model = objective(arguments).model
    vectors, biases = model.encoder.token_embedding.weight, model.decoder_bias
    assert len(vectors) == len(biases) == max(57 + padding, 69)
    for new, known in (
        (vectors, old.encoder.token_embedding.weight), (biases, old.decoder_bias)
    ):  # fmt: skip
        torch.testing.assert_close(new[:57], known[:57], rtol=0, atol=0)
    spread = vectors[57:69].std()
    assert 0.01 < spread < 2 * old.encoder.token_embedding.weight.std()
    if start == "mean":
        parts = read_json(tmp_path / "tokenizer" / "extension.json")["parts"]
        expected = torch.stack([vectors[ids].mean(0) for ids in parts])
        torch.testing.assert_close(vectors[57:69], expected)


def test_an_adapted_folder_is_read_by_transformers_and_can_be_adapted_again(
    tmp_path: Path,
) -> None:
    base = base_folder(tmp_path / "base")
    inputs = extended_inputs(tmp_path, base)
    assert pretrain.main(adapted(inputs, base, tmp_path / "model", steps=20)) == 0
    metrics = read_json(tmp_path / "model" / "metrics.json")["metrics"]
    assert metrics["validation_loss"] < first_loss(tmp_path / "model")
    again = adapted(inputs, tmp_path / "model", tmp_path / "again")
    assert pretrain.main(again) == 0
    assert first_loss(tmp_path / "again") == pytest.approx(metrics["validation_loss"], abs=1e-4)
    flags = ["--model", str(tmp_path / "model"), "--output", str(tmp_path / "exported")]
    assert export_hf.main(flags) == 0
    peer = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "exported")
    assert peer.config.vocab_size == 69
    assert loss_of(peer.eval(), again) == pytest.approx(metrics["validation_loss"], rel=1e-4)


def test_the_map_finds_the_vectors_of_pieces_that_stand_where_old_ones_did() -> None:
    # Tokens of each half stand near one another; the last of each half counts as new.
    generator = np.random.default_rng(0)
    halves = [np.arange(5, 25), np.arange(25, 45)]
    ids = np.concatenate([generator.choice(halves[turn % 2], 16) for turn in range(400)])
    order = np.concatenate([halves[0][:19], halves[1][:19], halves[0][19:], halves[1][19:]])
    renamed = np.arange(45)
    renamed[order] = np.arange(5, 45)
    rows = make_rows(400, 16, 45, 0)
    rows = dataclasses.replace(
        rows, input_ids=renamed[ids].astype(np.uint16), row_offsets=np.arange(401) * 16,
        sample_offsets=np.arange(401) * 16,
    )  # fmt: skip
    model = MaskedLM(make_config(vocab_size=45, hidden_size=16))
    centre = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    vectors = model.encoder.token_embedding.weight.data
    vectors[5:24], vectors[24:43] = centre[0], centre[1]
    vectors[5:43] += 0.1 * torch.randn(38, 16, generator=torch.Generator().manual_seed(1))
    parts = [(5, 24), (5, 24)]
    start_new_pieces(model, parts, rows, frozenset(range(5)), "cooccurrence", 0)
    for number, (own, other) in ((43, centre), (44, centre.flip(0))):
        near, far = (torch.cosine_similarity(vectors[number], each, 0) for each in (own, other))
        assert near > far + 0.5


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--hidden-size=32"], "brings its own shape; leave the flags of the architecture out"),
        (["--init-from=elsewhere"], "not allowed with argument"),
    ],
)
def test_what_does_not_go_with_adapt(more, message, tmp_path, capsys) -> None:
    inputs = write_inputs(tmp_path)
    model = write_model(tmp_path / "model")
    with contextlib.suppress(SystemExit):
        assert pretrain.main(adapted(inputs, model, tmp_path / "out", *more)) == 1
    assert message in capsys.readouterr().err


def test_a_tokenizer_that_extends_another_one_is_refused(tmp_path, capsys) -> None:
    base = base_folder(tmp_path / "base")
    other = write_model(tmp_path / "other")
    inputs = extended_inputs(tmp_path, base)
    assert pretrain.main(adapted(inputs, other, tmp_path / "model")) == 1
    assert "has another tokenizer than" in (said := capsys.readouterr().err)
    assert "extend_tokenizer.py" in said


def test_rows_that_are_longer_than_the_encoder_reads_are_refused(tmp_path, capsys) -> None:
    base = base_folder(tmp_path / "base")
    inputs = extended_inputs(tmp_path, base)
    flags = ["--documents", tmp_path / "documents", "--tokenizer", tmp_path / "tokenizer" /
             "tokenizer.json", "--output", tmp_path / "long", "--max-length", "512"]  # fmt: skip
    assert split_tokens.main([*map(str, flags), "--threads", "1"]) == 0
    inputs[0] = f"--dataset={tmp_path / 'long'}"
    assert pretrain.main(adapted(inputs, base, tmp_path / "model")) == 1
    assert "max_length 512; build the data set with a lower one" in capsys.readouterr().err


def test_an_encoder_without_a_head_gets_one_and_says_so(tmp_path, capsys) -> None:
    model = write_model(tmp_path / "bare", kind=Encoder)
    inputs = write_inputs(tmp_path)
    arguments = adapted(inputs, model, tmp_path / "model")
    bias = objective(arguments).model.decoder_bias
    assert bias.std() > 0.1
    assert pretrain.main(arguments) == 0
    assert "drawn anew: cls.predictions" in capsys.readouterr().err


def test_the_held_out_loss_knows_what_was_learned(tmp_path) -> None:
    base = base_folder(tmp_path / "base")
    inputs = extended_inputs(tmp_path, base)
    assert pretrain.main(adapted(inputs, base, tmp_path / "model", steps=60)) == 0
    found = {}
    for name, model in (("before", base), ("after", tmp_path / "model")):
        flags = ["--model", model, "--documents", tmp_path / "documents"]
        output = tmp_path / f"{name}.json"
        assert evaluate_masked_lm.main([*map(str, flags), "--output", str(output)]) == 0
        found[name] = read_json(output)["metrics"]
    assert found["after"]["masked_bits_per_byte"] < found["before"]["masked_bits_per_byte"]
    assert found["after"]["text_bytes"] == found["before"]["text_bytes"]
    assert found["after"]["tokens"] < 0.4 * found["before"]["tokens"]


def test_a_model_without_a_head_has_no_held_out_loss(tmp_path, capsys) -> None:
    model = write_model(tmp_path / "bare", kind=Encoder)
    write_documents(tmp_path / "validation.parquet", ["w1 w2"])
    flags = ["--model", model, "--documents", tmp_path, "--output", tmp_path / "out.json"]
    assert evaluate_masked_lm.main([*map(str, flags)]) == 0
    assert "has no masked-language head" in capsys.readouterr().err
    assert read_json(tmp_path / "out.json")["metrics"] == {}
