"""Every layout against `transformers` on the same random weights, one row of the table in `docs`.

Rows are packed here and padded there, so that packed texts are shown to be what they are alone.
"""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from cloze.errors import ClozeError
from cloze.files import read_json, write_json
from cloze.model.encoder import PackedBatch
from cloze.model.hf import (
    import_model,
    load_classifier,
    load_encoder,
    load_masked_lm,
    load_question_answerer,
    load_token_classifier,
    save_model,
)
from cloze.model.hf_config import config_from_folder
from cloze.model.weights import rename_to_hf
from tests.tiny import write_tokenizer
from tests.tiny_model import draw_ids, gradients, perturbed

transformers = pytest.importorskip("transformers")

LENGTHS = ((9, 30), (17,), (5, 12, 3))
LONGEST = 30
SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}
_DISTILBERT = {
    "dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 48, "vocab_size": 64,
    "max_position_embeddings": 40, "pad_token_id": 0,
}  # fmt: skip
_MODERNBERT = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"))
# The name in the table, the class in `transformers`, and what its configuration adds.
FAMILIES = {
    "BERT": ("Bert", {}),
    "BERT, one token type": ("Bert", {"type_vocab_size": 1}),
    "RoBERTa": ("Roberta", {"type_vocab_size": 1, "pad_token_id": 1}),
    "XLM-R": ("XLMRoberta", {"type_vocab_size": 1, "pad_token_id": 1}),
    "CamemBERT": ("Camembert", {"type_vocab_size": 1, "pad_token_id": 1}),
    "DistilBERT": ("DistilBert", _DISTILBERT),
    "ELECTRA": ("Electra", {"embedding_size": 16}),
    "ELECTRA, vectors as wide as the encoder": ("Electra", {"embedding_size": 32}),
    "ModernBERT, all layers global": ("ModernBert", {"global_attn_every_n_layers": 1}),
    "ModernBERT, local and global layers": (
        "ModernBert", {"global_attn_every_n_layers": 3, "local_attention": 8},
    ),
    "ModernBERT, any order of layers": (
        "ModernBert",
        {
            "layer_types": ["sliding_attention", "full_attention", "full_attention",
                            "sliding_attention"],
            "local_attention": 7,
        },
    ),
    "ModernBERT, with biases": (
        "ModernBert",
        {
            "global_attn_every_n_layers": 2, "local_attention": 6, "norm_bias": True,
            "attention_bias": True, "mlp_bias": True, "classifier_bias": True,
            "classifier_pooling": "mean",
        },
    ),
}  # fmt: skip
HEADS = {
    "ForMaskedLM": load_masked_lm,
    "ForSequenceClassification": lambda folder: load_classifier(folder)[0],
    "ForTokenClassification": lambda folder: load_token_classifier(folder)[0],
    "ForQuestionAnswering": load_question_answerer,
    "Model": load_encoder,
}
LABELS = ["bad", "fair", "good"]
# The other name of a weight that two modules share.
SHARED = {"lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight"}


def peer_model(family, head):
    """A model of `transformers` with random weights, none of them zero by chance."""
    name, settings = FAMILIES[family]
    shape = SHAPE if name != "DistilBert" else {}
    extra = _MODERNBERT if name == "ModernBert" else {}
    labels = {"num_labels": 2} if head == "ForQuestionAnswering" else {"num_labels": len(LABELS)}
    config = getattr(transformers, f"{name}Config")(**{**shape, **extra, **labels, **settings})
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    return perturbed(getattr(transformers, name + head)(config)).eval()


def texts(pad):
    """The same texts padded, with a mask, and packed, with where each token of a text went."""
    count = sum(map(len, LENGTHS))
    ids = torch.full((count, LONGEST), pad)
    mask = torch.zeros(count, LONGEST, dtype=torch.long)
    rows, columns = torch.zeros(count, LONGEST).long(), torch.zeros(count, LONGEST).long()
    width = max(sum(row) for row in LENGTHS) + 1
    packed = [torch.full((len(LENGTHS), width), fill) for fill in (pad, 0, 0)]
    drawn, number = draw_ids(count, LONGEST), 0
    for row, lengths in enumerate(LENGTHS):
        start = 0
        for sample, length in enumerate(lengths, start=1):
            ids[number, :length], mask[number, :length] = drawn[number, :length], 1
            place = slice(start, start + length)
            packed[0][row, place] = drawn[number, :length]
            packed[1][row, place] = torch.arange(length)
            packed[2][row, place] = sample
            rows[number], columns[number, :length] = row, torch.arange(start, start + length)
            number, start = number + 1, start + length
    return ids, mask, PackedBatch(*packed), (rows, columns)


def our_outputs(model, head, batch, places):
    """Outputs of every token of each padded text, or of each text."""
    if head == "ForSequenceClassification":
        return model(batch)
    if head == "ForMaskedLM":
        shape = batch.input_ids.shape
        found = model(batch, torch.arange(shape[1]).expand(shape))
    else:
        found = model(batch)
    return found[places]


def their_outputs(peer, head, ids, mask):
    found = peer(input_ids=ids, attention_mask=mask)
    if head == "ForQuestionAnswering":
        return torch.stack((found.start_logits, found.end_logits), dim=-1)
    return found.last_hidden_state if head == "Model" else found.logits


def compare(model, peer, head):
    """Assert that outputs and the gradient of every weight are those of the other library."""
    pad = peer.config.pad_token_id
    ids, mask, batch, places = texts(pad)
    ours, theirs = our_outputs(model, head, batch, places), their_outputs(peer, head, ids, mask)
    if theirs.dim() == 3:
        ours, theirs = ours[mask.bool()], theirs[mask.bool()]
    assert theirs.abs().mean() > 0.05
    assert (ours - theirs).abs().max() < 1e-4
    upstream = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(5))
    ours_by_name = gradients(model, (ours * upstream).mean())
    if head == "Model":
        ours_by_name = {f"encoder.{name}": value for name, value in ours_by_name.items()}
    found = rename_to_hf(ours_by_name, model.config.layout)
    prefix = f"{peer.base_model_prefix}." if head == "Model" else ""
    wanted = {
        SHARED.get(name, f"{prefix}{name}"): gradient
        for name, gradient in gradients(peer, (theirs * upstream).mean()).items()
    }
    assert wanted.keys() == found.keys()
    for name, gradient in wanted.items():
        assert (found[name] - gradient).abs().max() < 1e-4, name


def write_folder(folder, peer):
    peer.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_of_transformers_computes_the_same_here(family, head, tmp_path):
    peer = peer_model(family, head)
    model = HEADS[head](write_folder(tmp_path / "theirs", peer)).eval()
    compare(model, peer, head)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_of_ours_computes_the_same_there(family, head, tmp_path):
    peer = peer_model(family, head)
    model = HEADS[head](write_folder(tmp_path / "theirs", peer)).eval()
    is_labelled = head in ("ForSequenceClassification", "ForTokenClassification")
    save_model(tmp_path / "ours", model, tmp_path / "theirs", LABELS if is_labelled else None)
    assert config_from_folder(tmp_path / "ours") == model.config
    back, loading = type(peer).from_pretrained(
        tmp_path / "ours", output_loading_info=True, attn_implementation="eager"
    )
    assert not {name for name in loading["missing_keys"] if "pooler" not in name}
    assert not loading["unexpected_keys"]
    assert not loading["mismatched_keys"]
    assert type(back.config) is type(peer.config)
    compare(model, back.eval(), head)
    kept = dict(peer.named_parameters())
    for name, weight in back.named_parameters():
        assert "pooler" in name or torch.equal(weight, kept[name]), name
    reloaded = getattr(transformers, f"Auto{head if head != 'Model' else 'Model'}"
                       .replace("AutoFor", "AutoModelFor"))  # fmt: skip
    assert type(reloaded.from_pretrained(tmp_path / "ours")) is type(peer)


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        ("BERT", ("hidden_dropout_prob", "attention_probs_dropout_prob")),
        ("RoBERTa", ("hidden_dropout_prob", "attention_probs_dropout_prob")),
        ("DistilBERT", ("dropout", "attention_dropout")),
        ("ELECTRA", ("hidden_dropout_prob", "attention_probs_dropout_prob")),
        ("ModernBERT, all layers global", ("mlp_dropout", "attention_dropout")),
    ],
)
def test_dropout_is_what_the_folder_says_or_what_the_library_takes(family, keys, tmp_path):
    peer = peer_model(family, "Model")
    usual = [getattr(peer.config, key) for key in keys]
    folder = write_folder(tmp_path / "theirs", peer)
    raw = read_json(folder / "config.json")
    for written, wanted in (
        (dict(zip(keys, (0.25, 0.5), strict=True)), [0.25, 0.5]),
        ({}, usual),
    ):
        write_json(
            folder / "config.json",
            {**{key: value for key, value in raw.items() if key not in keys}, **written},
        )
        save_model(tmp_path / "ours", load_encoder(folder), folder)
        back = transformers.AutoConfig.from_pretrained(tmp_path / "ours")
        assert [getattr(back, key) for key in keys] == wanted
    write_json(folder / "config.json", {**raw, keys[0]: 1.5})
    with pytest.raises(ClozeError, match=f"{keys[0]} 1.5 is no number from 0 to 1"):
        load_encoder(folder)


def test_the_table_in_the_documentation_has_these_rows():
    text = (Path(__file__).parents[2] / "docs" / "layouts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (from|to) `transformers` \| ([^|]+) \|", text, re.MULTILINE)
    names = {(family, way) for family, way, _ in rows}
    assert names == {(family, way) for family in FAMILIES for way in ("from", "to")}
    assert {classes for *_, classes in rows} == {f"`{name}…`" for name, _ in FAMILIES.values()}


def test_the_discriminator_of_electra_is_its_encoder(tmp_path):
    peer = peer_model("ELECTRA", "ForPreTraining")
    imported = import_model(write_folder(tmp_path / "theirs", peer))
    assert imported.unused == [
        f"discriminator_predictions.{part}.{kind}"
        for part in ("dense", "dense_prediction") for kind in ("bias", "weight")
    ]  # fmt: skip
    ids, mask, batch, places = texts(0)
    with torch.inference_mode():
        ours = imported.model.eval()(batch)[places][mask.bool()]
        theirs = peer.electra(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()]
    assert (ours - theirs).abs().max() < 1e-4


def test_token_types_are_told_apart_where_the_layout_reads_them(tmp_path):
    for family in ("BERT", "ELECTRA"):
        peer = peer_model(family, "Model")
        model = load_encoder(write_folder(tmp_path / family, peer)).eval()
        ids = draw_ids(2, 10)
        types = (torch.arange(10) > 5).long().expand(2, 10)
        positions = torch.arange(10).expand(2, 10)
        batch = PackedBatch(ids, positions, torch.ones_like(ids), types)
        theirs = peer(input_ids=ids, token_type_ids=types).last_hidden_state
        assert (model(batch) - theirs).abs().max() < 1e-4
    peer = peer_model("RoBERTa", "Model")
    model = load_encoder(write_folder(tmp_path / "roberta", peer)).eval()
    assert (model(batch) - peer(input_ids=ids).last_hidden_state).abs().max() < 1e-4


def test_long_rows_of_local_layers_are_those_of_transformers(tmp_path):
    _, settings = FAMILIES["ModernBERT, local and global layers"]
    settings = {**SHAPE, **_MODERNBERT, **settings, "max_position_embeddings": 512}
    config = transformers.ModernBertConfig(**settings)
    peer = perturbed(transformers.ModernBertForMaskedLM(config)).eval()
    model = load_masked_lm(write_folder(tmp_path / "theirs", peer)).eval()
    ids = draw_ids(2, 500)
    batch = PackedBatch(ids, torch.arange(500).expand(2, 500), torch.ones_like(ids))
    everywhere = torch.arange(500).expand(2, 500)
    labels = draw_ids(1000, seed=3)
    ours, theirs = model(batch, everywhere), peer(input_ids=ids).logits
    assert (ours - theirs).abs().max() < 1e-4
    losses = [F.cross_entropy(logits.flatten(0, 1), labels) for logits in (ours, theirs)]
    found = rename_to_hf(gradients(model, losses[0]), "modernbert")
    for name, gradient in gradients(peer, losses[1]).items():
        assert (found[name] - gradient).abs().max() < 1e-4, name
