"""Encoders from elsewhere: equal outputs, round trips to the bit, and nothing unpickled."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import import_encoder
from cloze.files import read_json, write_json
from cloze.model.encoder import Encoder
from cloze.model.heads import MaskedLM
from cloze.model.hf import load_encoder, load_masked_lm, save_model
from cloze.model.weights import read_weights
from cloze.tokens.tokenizer import load_tokenizer
from tests.tiny import SPECIAL, write_tokenizer
from tests.tiny_model import draw_ids, make_config, perturbed, single_samples

transformers = pytest.importorskip("transformers")

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
SETTINGS = {
    "Bert": {},
    "ModernBert": {
        "pad_token_id": 0, "bos_token_id": None, "eos_token_id": None, "cls_token_id": None,
        "sep_token_id": None, "global_attn_every_n_layers": 1,
    },
}  # fmt: skip


def foreign_model(family="Bert", head="ForMaskedLM", **settings):
    """A randomly initialised model of `transformers`, no weight zero by chance."""
    config = getattr(transformers, f"{family}Config")(**SHAPE, **SETTINGS[family], **settings)
    torch.manual_seed(0)
    return perturbed(getattr(transformers, f"{family}{head}")(config))


def write_folder(folder, model):
    """What `save_pretrained` writes, and a tokenizer."""
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def run(folder, output, *flags):
    return import_encoder.main(["--pretrained", str(folder), "--output", str(output), *flags])


def logits_of(folder, ids):
    model = load_masked_lm(folder).eval()
    with torch.inference_mode():
        return model(single_samples(ids), torch.arange(ids.shape[1]).expand_as(ids))


@pytest.mark.parametrize("family", SETTINGS)
def test_logits_equal_those_of_a_randomly_initialised_model(family, tmp_path):
    peer = foreign_model(family)
    assert run(write_folder(tmp_path / "theirs", peer), tmp_path / "ours") == 0
    ids = draw_ids(3, 17)
    with torch.inference_mode():
        expected = peer(input_ids=ids).logits
    assert expected.abs().mean() > 0.1
    assert (logits_of(tmp_path / "ours", ids) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("family", SETTINGS)
def test_a_bare_encoder_gives_equal_hidden_states(family, tmp_path):
    peer = foreign_model(family, "Model")
    assert run(write_folder(tmp_path / "theirs", peer), tmp_path / "ours") == 0
    ids = draw_ids(3, 17)
    with torch.inference_mode():
        ours = load_encoder(tmp_path / "ours").eval()(single_samples(ids))
        expected = peer(input_ids=ids).last_hidden_state
    assert (ours - expected).abs().max() < 1e-5 * expected.abs().max()
    metrics = read_json(tmp_path / "ours" / "metrics.json")["metrics"]
    assert metrics["masked_lm_head"] is False


def test_both_heads_of_berts_pretraining_are_kept(tmp_path):
    folder = write_folder(tmp_path / "theirs", foreign_model("Bert", "ForPreTraining"))
    assert run(folder, tmp_path / "ours") == 0
    before, after = load_file(folder / "model.safetensors"), read_weights(tmp_path / "ours", "bert")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert read_json(tmp_path / "ours" / "config.json")["architectures"] == ["BertForPreTraining"]


@pytest.mark.parametrize("layout", ["bert", "modernbert"])
@pytest.mark.parametrize("head", [MaskedLM, Encoder])
def test_ours_to_transformers_and_back_is_the_same_to_the_bit(layout, head, tmp_path):
    ours = tmp_path / "ours"
    save_model(ours, perturbed(head(make_config(layout))), write_tokenizer(tmp_path).parent)
    auto = transformers.AutoModelForMaskedLM if head is MaskedLM else transformers.AutoModel
    write_folder(tmp_path / "theirs", auto.from_pretrained(ours))
    assert run(tmp_path / "theirs", tmp_path / "back") == 0
    before, after = (load_file(path / "model.safetensors") for path in (ours, tmp_path / "back"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    changed = {
        key for key, value in read_json(ours / "config.json").items()
        if read_json(tmp_path / "back" / "config.json").get(key) != value
    }  # fmt: skip
    assert changed == set()


def test_the_first_names_of_bert_are_understood(tmp_path):
    folder = write_folder(tmp_path / "theirs", foreign_model())
    weights = load_file(folder / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta"): value
        for name, value in weights.items()
    }
    assert old.keys() != weights.keys()
    old["bert.embeddings.position_ids"] = torch.arange(40)
    run(folder, tmp_path / "expected")
    save_file(old, folder / "model.safetensors")
    assert run(folder, tmp_path / "ours") == 0
    ids = draw_ids(2, 9)
    assert torch.equal(logits_of(tmp_path / "ours", ids), logits_of(tmp_path / "expected", ids))


def test_weights_in_several_files_are_read(tmp_path):
    folder = write_folder(tmp_path / "theirs", foreign_model())
    run(folder, tmp_path / "whole")
    foreign_model().save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink()
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert run(folder, tmp_path / "ours") == 0
    ids = draw_ids(2, 9)
    assert torch.equal(logits_of(tmp_path / "ours", ids), logits_of(tmp_path / "whole", ids))


def test_half_precision_becomes_single(tmp_path):
    folder = write_folder(tmp_path / "theirs", foreign_model().half())
    assert run(folder, tmp_path / "ours") == 0
    weights = load_file(tmp_path / "ours" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}


def test_an_untied_decoder_is_left_out(tmp_path):
    peer = foreign_model(tie_word_embeddings=False)
    with torch.no_grad():
        peer.cls.predictions.decoder.weight += 1
    assert run(write_folder(tmp_path / "theirs", peer), tmp_path / "ours") == 0
    metrics = read_json(tmp_path / "ours" / "metrics.json")["metrics"]
    assert metrics["masked_lm_head"] is False
    assert "cls.predictions.decoder.weight" in metrics["weights_left_out"]


def pickled(folder, content):
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")


def test_a_pickle_is_read_only_when_asked_for(tmp_path, capsys):
    folder = write_folder(tmp_path / "theirs", foreign_model())
    weights = load_file(folder / "model.safetensors")
    run(folder, tmp_path / "expected")
    pickled(folder, weights)
    assert run(folder, tmp_path / "ours") == 1
    assert "a pickle, which could run code" in capsys.readouterr().err
    assert run(folder, tmp_path / "ours", "--unpickle") == 0
    ids = draw_ids(2, 9)
    assert torch.equal(logits_of(tmp_path / "ours", ids), logits_of(tmp_path / "expected", ids))


class RunsCode:
    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return (open, (str(self.victim), "w"))


def test_a_pickle_that_runs_code_is_refused_even_then(tmp_path, capsys):
    folder = write_folder(tmp_path / "theirs", foreign_model())
    pickled(folder, {"weight": RunsCode(tmp_path / "victim")})
    assert run(folder, tmp_path / "ours", "--unpickle") == 1
    assert "holds more than tensors" in capsys.readouterr().err
    assert not (tmp_path / "victim").exists()


def test_a_vocabulary_alone_gets_the_pipeline_of_bert(tmp_path):
    folder = write_folder(tmp_path / "theirs", foreign_model())
    (folder / "tokenizer.json").unlink()
    words = ["élan", "elan", "##s", *(f"w{number}" for number in range(56))]
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *words]) + "\n", encoding="utf-8")
    theirs = transformers.BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True)
    assert run(folder, tmp_path / "ours") == 0
    ours = load_tokenizer(tmp_path / "ours" / "tokenizer.json")
    assert ours.encode("Élans w7").ids == theirs("Élans w7")["input_ids"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: shutil.rmtree(f), "no such folder"),
        (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x"), "cannot be read as safetensors"),
        (lambda f: (f / "tokenizer.json").unlink(), "neither tokenizer.json nor vocab.txt"),
        (lambda f: write_tokenizer(f, 90), "the tokenizer has 95 entries, the encoder 64"),
        (lambda f: write_json(f / "config.json", {"model_type": "gpt2"}), "model_type 'gpt2'"),
    ],
)
def test_folders_that_cannot_be_read_are_named(change, message, tmp_path, capsys):
    folder = write_folder(tmp_path / "theirs", foreign_model())
    change(folder)
    assert run(folder, tmp_path / "ours") == 1
    assert message in capsys.readouterr().err
