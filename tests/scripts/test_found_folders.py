"""Model folders as people have them, read by every script alike; hostile ones end in a sentence."""

import json
import resource
import struct
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

import evaluate
import export_hf
import finetune
import import_encoder
import predict
from cloze.errors import ClozeError
from cloze.files import read_json, write_json
from cloze.model.encoder import Encoder
from cloze.model.heads import MaskedLM, SequenceClassifier, TokenClassifier
from cloze.model.hf import load_classifier, load_encoder, load_masked_lm, load_matching, save_model
from cloze.model.hf_config import config_from_folder
from cloze.model.hf_heads import head_of_folder, label_names
from cloze.use.predictors import tasks_of
from tests.tiny import write_tokenizer
from tests.tiny_model import draw_ids, make_config, perturbed, single_samples
from tests.tiny_task import write_task

LABELS = ["bad", "fair", "good"]


def write_model(folder, layout="bert", kind=MaskedLM, **changes):
    config = make_config(layout, **changes)
    labels = LABELS if kind in (SequenceClassifier, TokenClassifier) else None
    model = perturbed(kind(config, len(LABELS)) if labels else kind(config))
    save_model(folder, model, write_tokenizer(folder / "tokenizer").parent, labels)
    return folder


def change_config(folder, **changes):
    """Change keys of `config.json`; None takes one away."""
    config = read_json(folder / "config.json") | changes
    kept = {key: value for key, value in config.items() if value is not None}
    write_json(folder / "config.json", kept)


def change_weights(folder, change):
    path = folder / "model.safetensors"
    weights = change(load_file(path))
    save_file(weights, path, metadata={"format": "pt"})


def old_names(folder):
    change_weights(folder, lambda weights: {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta"): value
        for name, value in weights.items()
    })  # fmt: skip


def bare_names(folder):
    prefixes = ("bert.", "roberta.", "distilbert.", "electra.", "model.")

    def without(name):
        return next((name[len(p) :] for p in prefixes if name.startswith(p)), name)

    change_weights(folder, lambda weights: {without(n): v for n, v in weights.items()})


def wrapped_names(folder):
    change_weights(folder, lambda weights: {f"module.{n}": v for n, v in weights.items()})


def sharded(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = {name: f"model-{number % 2}.safetensors" for number, name in enumerate(sorted(weights))}
    for file in set(files.values()):
        save_file({n: v for n, v in weights.items() if files[n] == file}, folder / file)
    write_json(folder / "model.safetensors.index.json", {"weight_map": files})


def no_model_type(folder):
    change_config(folder, model_type=None)


def neither_type_nor_architecture(folder):
    change_config(folder, model_type=None, architectures=None)


CHANGES = [old_names, bare_names, wrapped_names, sharded, no_model_type,
           neither_type_nor_architecture]  # fmt: skip


@pytest.mark.parametrize("layout", ["bert", "roberta", "distilbert", "electra", "modernbert"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_masked_language_model_is_read_as_it_was(layout, change, tmp_path):
    folder = write_model(tmp_path / "model", layout)
    expected = load_masked_lm(folder)
    change(folder)
    found = load_masked_lm(folder)
    assert found.config == expected.config
    batch, positions = single_samples(draw_ids(2, 9)), torch.arange(9).expand(2, 9)
    assert torch.equal(found.eval()(batch, positions), expected.eval()(batch, positions))
    assert tasks_of(folder) == ["fill-mask", "embed"]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_script_reads_the_same_folder(change, tmp_path, capsys):
    folder = write_model(tmp_path / "model")
    fill = ["fill-mask", "--model", str(folder), "--threads=1", "w1 [MASK] w3"]
    assert predict.main(fill) == 0
    expected = capsys.readouterr().out
    change(folder)
    assert predict.main(fill) == 0
    assert capsys.readouterr().out == expected
    assert export_hf.main(["--model", str(folder), "--output", str(tmp_path / "hf")]) == 0
    assert read_json(tmp_path / "hf" / "parity.json")["class"] == "BertForMaskedLM"
    imported = str(tmp_path / "imported")
    assert import_encoder.main(["--pretrained", str(folder), "--output", imported]) == 0
    task = write_task(tmp_path / "task", train_rows=8, validation_rows=4)
    arguments = ["--model", str(folder), "--task", str(task), "--output", str(tmp_path / "c")]
    assert finetune.main([*arguments, "--max-steps=1", "--max-length=16", "--threads=1"]) == 0
    model = MaskedLM(make_config())
    assert load_matching(model, folder).drawn == []


@pytest.mark.parametrize("layout", ["bert", "roberta", "distilbert", "electra"])
def test_labels_that_are_not_named_are_numbered(layout, tmp_path, capsys):
    folder = write_model(tmp_path / "model", layout, SequenceClassifier)
    logits = load_classifier(folder)[0].eval()(single_samples(draw_ids(2, 9)))
    change_config(folder, id2label=None, label2id=None)
    model, names = load_classifier(folder)
    assert names == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert torch.equal(model.eval()(single_samples(draw_ids(2, 9))), logits)
    assert export_hf.main(["--model", str(folder), "--output", str(tmp_path / "hf")]) == 0
    assert read_json(tmp_path / "hf" / "config.json")["id2label"]["2"] == "LABEL_2"
    change_config(folder, label2id={"b": 1, "a": 0, "c": 2})
    assert label_names(folder) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("layout", "kind", "head"),
    [
        ("bert", SequenceClassifier, "ForSequenceClassification"),
        ("roberta", SequenceClassifier, "ForSequenceClassification"),
        ("distilbert", TokenClassifier, "ForTokenClassification"),
        ("electra", Encoder, "Model"),
    ],
)
def test_heads_are_told_by_their_weights(layout, kind, head, tmp_path):
    folder = write_model(tmp_path / "model", layout, kind)
    change_config(folder, architectures=None)
    assert head_of_folder(folder) == head


def test_a_bare_encoder_beside_the_configuration_of_a_whole_model_is_one(tmp_path):
    folder = write_model(tmp_path / "model")
    change_weights(folder, lambda weights: {
        name.removeprefix("bert."): value for name, value in weights.items() if "cls." not in name
    })  # fmt: skip
    assert tasks_of(folder) == ["embed"]
    assert export_hf.main(["--model", str(folder), "--output", str(tmp_path / "hf")]) == 0
    assert read_json(tmp_path / "hf" / "parity.json")["class"] == "BertModel"


def test_one_of_several_labels_is_given_by_its_own_probability(tmp_path, capsys):
    folder = write_model(tmp_path / "model", "roberta", SequenceClassifier)
    change_config(folder, problem_type="multi_label_classification")
    assert predict.main(["classify", "--json", "--model", str(folder), "--threads=1", "w1"]) == 0
    found = json.loads(capsys.readouterr().out)
    batch = single_samples(torch.tensor([[2, 6, 3]]))
    expected = load_classifier(folder)[0].eval()(batch).sigmoid()[0].tolist()
    assert list(found["probabilities"].values()) == pytest.approx(expected, abs=1e-5)


def untie(folder):
    name = "cls.predictions.decoder.weight"
    words = load_file(folder / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    change_weights(folder, lambda weights: {**weights, name: words + 1})


def test_a_decoder_that_is_not_the_embeddings_is_never_taken_for_them(tmp_path, capsys):
    folder = write_model(tmp_path / "model")
    untie(folder)
    assert predict.main(["fill-mask", "--model", str(folder), "w1 [MASK]"]) == 1
    assert "the decoder of its masked-language head is not the token emb" in capsys.readouterr().err
    model = MaskedLM(make_config())
    parts = load_matching(model, folder)
    assert parts.loaded == []
    assert "cls.predictions.bias" in parts.drawn


def deep(folder):
    (folder / "config.json").write_text("[" * 100_000 + "]" * 100_000)


def long_header(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 40) + data[8:])


def short_header(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 3) + data[8:])


def another_layer(folder):
    change_weights(folder, lambda weights: weights | {
        name.replace("layer.2.", "layer.3."): value.clone()
        for name, value in weights.items() if "layer.2." in name
    })  # fmt: skip


def adapter(folder):
    name = "bert.encoder.layer.0.attention.self.query.lora_A.weight"
    change_weights(folder, lambda weights: weights | {name: torch.ones(2, 32)})


def outside(folder):
    sharded(folder)
    index = folder / "model.safetensors.index.json"
    files = read_json(index)["weight_map"]
    write_json(index, {"weight_map": dict.fromkeys(files, "../tokenizer/tokenizer.json")})


def missing_shard(folder):
    sharded(folder)
    (folder / "model-1.safetensors").unlink()


def with_config(**changes):
    return lambda folder: change_config(folder, **changes)


HOSTILE = {
    "layers": (with_config(num_hidden_layers=1_000_000), "num_hidden_layers 1000000, but the"),
    "more layers": (with_config(num_hidden_layers=10**30), "no whole number from 1 to"),
    "fewer layers": (with_config(num_hidden_layers=1), "num_hidden_layers 1, but the weights"),
    "vocabulary": (with_config(vocab_size=10_000_000), "asks for 10000000 token embeddings of 32"),
    "width": (with_config(hidden_size=4_000_000), "asks for 64 token embeddings of 4000000"),
    "mlp": (with_config(intermediate_size=9_000_000), r"config.json asks for \(9000000, 32\)"),
    "positions": (with_config(max_position_embeddings=9_000_000), r"asks for \(9000000, 32\)"),
    "no heads": (with_config(num_attention_heads=0), "num_attention_heads 0 is no whole number"),
    "true": (with_config(num_attention_heads=True), "num_attention_heads True is no whole number"),
    "text": (with_config(hidden_size="32"), "hidden_size '32' is no whole number"),
    "half": (with_config(hidden_size=32.5), "hidden_size 32.5 is no whole number"),
    "eps": (with_config(layer_norm_eps="small"), "layer_norm_eps 'small' is no number"),
    "type": (with_config(model_type=["bert"]), r"model_type \['bert'\] is not one Cloze reads"),
    "deberta": (
        with_config(model_type="deberta-v2"),
        "'deberta-v2' is not one Cloze reads; it reads bert, modernbert, roberta, xlm-roberta,",
    ),
    "code": (with_config(auto_map={"AutoModel": "m.M"}), "code of the folder's own, which Cloze"),
    "quantised": (with_config(quantization_config={"bits": 4}), "the weights are quantised"),
    "pruned": (with_config(pruned_heads={"0": [1]}), "pruned_heads .* is not one Cloze computes"),
    "list": (lambda f: write_json(f / "config.json", []), "holds no object of keys and values"),
    "depth": (deep, "not valid JSON"),
    "long header": (long_header, "cannot be read as safetensors"),
    "short header": (short_header, "cannot be read as safetensors"),
    "one more layer": (another_layer, "num_hidden_layers 3, but the weights beside it have 4"),
    "adapter": (adapter, "lora_A.weight' has no place in an encoder as config.json describes it"),
    "index outside": (outside, r"names '\.\./tokenizer/tokenizer\.json', which does not lie"),
    "missing shard": (missing_shard, r"names 'model-1\.safetensors', which does not lie beside it"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_folders_end_in_a_sentence_at_once(case, tmp_path):
    folder = write_model(tmp_path / "model")
    change, message = HOSTILE[case]
    change(folder)
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ClozeError, match=message):
        load_encoder(folder)
    assert time.perf_counter() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": ["bad", "good"]}, "id2label .* is no table of 0, 1"),
        ({"id2label": {"0": "bad", "2": "good"}}, "id2label .* is no table of 0, 1"),
        ({"id2label": {"0": ["bad"]}}, "id2label .* is no table of 0, 1"),
        ({"id2label": []}, r"id2label \[\] is no table"),
        ({"id2label": {"0": "bad", "1": "good"}}, r"classifier.weight has shape \(3, 32\)"),
        ({"problem_type": "ranking"}, "problem_type 'ranking' is unknown"),
        ({"problem_type": "regression"}, "regression with 3 labels is not one Cloze computes"),
        (
            {"problem_type": "multi_label_classification", "label_threshold": "high"},
            "label_threshold 'high' is no number",
        ),
        ({"classifier_pooling": "max"}, "classifier_pooling 'max' is unknown"),
    ],
)
def test_heads_that_make_no_sense_are_named(changes, message, tmp_path):
    folder = write_model(tmp_path / "model", kind=SequenceClassifier)
    change_config(folder, **changes)
    with pytest.raises(ClozeError, match=message):
        load_classifier(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_types": ["full_attention"]}, "is no list of full_attention and sliding_attention"),
        ({"layer_types": "full_attention"}, "is no list of full_attention"),
        ({"rope_parameters": [1]}, "rope_parameters .* holds no object"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "rope_type 'yarn'"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling .* is not one Cloze computes"),
        ({"decoder_bias": False}, "decoder_bias False is not one Cloze computes; it knows True"),
        ({"hidden_activation": "silu"}, "hidden_activation 'silu' is not one Cloze computes"),
        ({"norm_bias": "yes"}, "norm_bias 'yes' is neither true nor false"),
        ({"norm_bias": True}, r"has no weight 'model\.embeddings\.norm\.bias'"),
        ({"local_attention": 0}, "local_attention 0 is no whole number"),
    ],
)
def test_keys_of_modernbert_that_change_numbers_are_computed_or_refused(changes, message, tmp_path):
    folder = write_model(tmp_path / "model", "modernbert")
    change_config(folder, **changes)
    with pytest.raises(ClozeError, match=message):
        load_encoder(folder)


def test_the_bases_of_older_configurations_are_understood(tmp_path):
    folder = write_model(tmp_path / "model", "modernbert")
    old = {"global_attn_every_n_layers": 3, "global_rope_theta": 5000.0}
    change_config(folder, **old, local_rope_theta=70.0)
    config = config_from_folder(folder)
    assert (config.rope_theta, config.local_rope_theta) == (5000.0, 70.0)
    assert config.are_global == (True, False, False)
    path = folder / "config.json"
    write_json(path, read_json(path) | {"local_rope_theta": None})
    assert config_from_folder(folder).local_rope_theta == 5000.0
    write_json(path, {"model_type": "modernbert", "vocab_size": 64, "hidden_size": 32,
                      "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
                      "pad_token_id": 0})  # fmt: skip
    config = config_from_folder(folder)
    assert (config.rope_theta, config.local_rope_theta) == (160_000.0, 10_000.0)
    assert config.max_length == 8192


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bert-base-uncased", "pretrained: hf://OWNER/bert-base-uncased@COMMIT"),
        ("google-bert/bert-base-uncased", "hf://google-bert/bert-base-uncased@COMMIT"),
        ("hf://google-bert/bert-base-uncased@main", "hf://google-bert/bert-base-uncased@COMMIT"),
        ("hf://a/b@" + 40 * "0", f"hf://a/b@{40 * '0'}"),
        ("/no/such/folder", "/no/such/folder: no such folder; name one with a config.json"),
    ],
)
def test_a_name_on_the_hub_is_told_how_to_write_it(name, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    task = str(write_task(tmp_path / "task", train_rows=8, validation_rows=4))
    for script, arguments in (
        (predict, ["fill-mask", "--model", name, "w1 [MASK]"]),
        (import_encoder, ["--pretrained", name, "--output", "out"]),
        (finetune, ["--model", name, "--task", task, "--output", "out"]),
        (export_hf, ["--model", name, "--output", "out"]),
    ):
        assert script.main(arguments) == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_a_longer_text_than_robertas_positions_is_refused(tmp_path, capsys):
    folder = write_model(tmp_path / "model", "roberta")
    arguments = ["embed", "--model", str(folder), "w1 " * 60]
    assert predict.main(arguments) == 0
    assert "cut to 39 tokens" in capsys.readouterr().err
    assert predict.main([*arguments, "--max-length", "40"]) == 1
    assert "the encoder has 39 positions" in capsys.readouterr().err


def test_numbered_labels_are_to_be_named_before_they_are_measured(tmp_path, capsys):
    config = make_config()
    model = perturbed(SequenceClassifier(config, 2))
    tokenizer = write_tokenizer(tmp_path / "tokenizer").parent
    save_model(tmp_path / "model", model, tokenizer, ["bad", "good"])
    change_config(tmp_path / "model", id2label=None, label2id=None)
    task = write_task(tmp_path / "task", train_rows=8, validation_rows=4)
    arguments = ["--model", str(tmp_path / "model"), "--task", str(task), "--max-length=16"]
    assert evaluate.main([*arguments, "--output", str(tmp_path / "e")]) == 1
    assert "does not name the model's labels; add id2label with" in capsys.readouterr().err
