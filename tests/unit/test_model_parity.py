"""Equality with `transformers` on the same weights: outputs and every gradient, in float32."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from cloze.model.encoder import Encoder
from cloze.model.heads import MaskedLM, MaskedLMWithNextSentence, SequenceClassifier
from cloze.model.hf import load_matching, save_model
from cloze.model.weights import export_state, rename_to_hf
from tests.tiny import write_tokenizer
from tests.tiny_model import draw_ids, gradients, make_config, perturbed, single_samples

transformers = pytest.importorskip("transformers")

FAMILIES = {
    "bert": "Bert",
    "modernbert": "ModernBert",
    "roberta": "Roberta",
    "distilbert": "DistilBert",
    "electra": "Electra",
}


def peer_of(model, tmp_path, architecture, labels=None):
    """The model of `transformers` that loads what `save_model` wrote, nothing missing."""
    save_model(tmp_path / "model", model, write_tokenizer(tmp_path).parent, labels)
    peer, loading = getattr(transformers, architecture).from_pretrained(
        tmp_path / "model", output_loading_info=True, attn_implementation="eager"
    )
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    return peer.eval()


def check_gradients(model, loss, peer, peer_loss):
    """Assert that the gradients of every parameter of both models agree."""
    ours = rename_to_hf(gradients(model, loss), model.config.layout)
    theirs = gradients(peer, peer_loss)
    assert ours.keys() == theirs.keys()
    largest = max(gradient.abs().max() for gradient in theirs.values())
    for name, gradient in theirs.items():
        # A bias of all keys shifts every score of a query alike, so its gradient is 0 but
        # for rounding, and a share of it says nothing.
        scale = largest if name.endswith(("self.key.bias", "k_lin.bias")) else gradient.abs().max()
        assert (ours[name] - gradient).abs().max() <= 1e-5 * scale, name


@pytest.mark.parametrize("layout", FAMILIES)
def test_masked_lm(layout, tmp_path):
    model = perturbed(MaskedLM(make_config(layout)))
    peer = peer_of(model, tmp_path, f"{FAMILIES[layout]}ForMaskedLM")
    ids, labels = draw_ids(2, 17), draw_ids(2, 17, seed=3).flatten()
    ours = model(single_samples(ids), torch.arange(17).expand(2, 17))
    theirs = peer(input_ids=ids).logits
    assert theirs.abs().mean() > 0.1
    assert (ours - theirs).abs().max() < 1e-4
    losses = [F.cross_entropy(logits.flatten(0, 1), labels) for logits in (ours, theirs)]
    check_gradients(model, losses[0], peer, losses[1])


def test_masked_lm_with_next_sentence(tmp_path):
    model = perturbed(MaskedLMWithNextSentence(make_config()))
    peer = peer_of(model, tmp_path, "BertForPreTraining")
    ids = draw_ids(3, 14)
    types = (torch.arange(14) >= 8).long().expand_as(ids)
    labels, sentence_labels = draw_ids(3, 14, seed=3), torch.tensor([0, 1, 1])
    logits, sentence_logits = model(
        single_samples(ids, types), torch.arange(14).expand_as(ids), torch.zeros(3, 1).long()
    )
    theirs = peer(
        input_ids=ids, token_type_ids=types, labels=labels, next_sentence_label=sentence_labels
    )
    assert (logits - theirs.prediction_logits).abs().max() < 1e-4
    assert (sentence_logits[:, 0] - theirs.seq_relationship_logits).abs().max() < 1e-4
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
    loss = loss + F.cross_entropy(sentence_logits[:, 0], sentence_labels)
    check_gradients(model, loss, peer, theirs.loss)


@pytest.mark.parametrize(
    ("layout", "pooling"), [("bert", "cls"), ("modernbert", "cls"), ("modernbert", "mean")]
)
def test_classification(layout, pooling, tmp_path):
    labels = ["bad", "fair", "good"]
    model = perturbed(SequenceClassifier(make_config(layout), num_labels=3, pooling=pooling))
    peer = peer_of(model, tmp_path, f"{FAMILIES[layout]}ForSequenceClassification", labels)
    assert peer.config.id2label == dict(enumerate(labels))
    ids, targets = draw_ids(4, 9), torch.tensor([0, 2, 1, 1])
    ours, theirs = model(single_samples(ids)), peer(input_ids=ids, labels=targets)
    assert (ours - theirs.logits).abs().max() < 1e-4
    check_gradients(model, F.cross_entropy(ours, targets), peer, theirs.loss)


@pytest.mark.parametrize("layout", FAMILIES)
def test_regression(layout, tmp_path):
    model = perturbed(SequenceClassifier(make_config(layout), num_labels=1))
    peer = peer_of(model, tmp_path, f"{FAMILIES[layout]}ForSequenceClassification", ["score"])
    assert peer.config.problem_type == "regression"
    ids, targets = draw_ids(4, 9), torch.tensor([0.5, 2.0, -1.0, 3.5])
    ours, theirs = model(single_samples(ids)), peer(input_ids=ids, labels=targets)
    assert ours.shape == (4, 1)
    assert (ours - theirs.logits).abs().max() < 1e-4
    check_gradients(model, F.mse_loss(ours.squeeze(-1), targets), peer, theirs.loss)


def test_relative_positions_are_refused_by_what_would_ignore_them(tmp_path):
    model = MaskedLM(make_config(position_embedding_type="relative_key"))
    save_model(tmp_path / "model", model, write_tokenizer(tmp_path).parent)
    with pytest.raises(ValueError, match="bert_relative_key"):
        transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "model")


LABELS = ["bad", "fair", "good"]
HEADS = {
    "bert": ("ForMaskedLM", "ForPreTraining", "ForSequenceClassification"),
    "modernbert": ("ForMaskedLM", "ForSequenceClassification"),
}


def build(layout, architecture):
    config = make_config(layout)
    if architecture == "ForSequenceClassification":
        return SequenceClassifier(config, len(LABELS))
    kinds = {"ForMaskedLM": MaskedLM, "ForPreTraining": MaskedLMWithNextSentence, "Model": Encoder}
    return kinds[architecture](config)


@pytest.mark.parametrize(
    ("layout", "saved", "wanted"),
    [
        (layout, saved, wanted)
        for layout, heads in HEADS.items()
        for saved in (*heads, "Model")
        for wanted in heads
    ],
)
def test_what_is_drawn_anew_is_what_transformers_misses(layout, saved, wanted, tmp_path):
    labels = LABELS if saved == "ForSequenceClassification" else None
    source = perturbed(build(layout, saved))
    save_model(tmp_path / "model", source, write_tokenizer(tmp_path).parent, labels)
    num_labels = {"num_labels": len(LABELS)} if wanted == "ForSequenceClassification" else {}
    peer, loading = getattr(transformers, FAMILIES[layout] + wanted).from_pretrained(
        tmp_path / "model", output_loading_info=True, **num_labels
    )
    model = build(layout, wanted)
    before = {name: value.clone() for name, value in export_state(model, layout).items()}
    parts = load_matching(model, tmp_path / "model", labels=LABELS)

    # The decoder's bias is the predictions' own by another name.
    assert set(parts.drawn) == set(loading["missing_keys"]) - {"cls.predictions.decoder.bias"}
    theirs, ours = peer.state_dict(), export_state(model, layout)
    assert {*parts.loaded, *parts.drawn} <= ours.keys()
    for name, value in ours.items():
        assert torch.equal(value, before[name] if name in parts.drawn else theirs[name]), name
