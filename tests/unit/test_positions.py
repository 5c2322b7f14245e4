"""Positions for longer texts than an encoder was trained on."""

import pytest
import torch
from transformers import AutoModelForMaskedLM

from cloze.model.config import LAYOUTS
from cloze.model.heads import MaskedLM
from cloze.model.hf import load_matching, save_model
from cloze.model.positions import Extension, stretched_base
from tests.tiny import write_tokenizer
from tests.tiny_model import draw_ids, make_config, perturbed, single_samples

TRAINED, LONGER = 20, 64
EXTENSION = Extension(TRAINED, LONGER)
LEARNED = [layout for layout, facts in LAYOUTS.items() if not facts.is_pre_norm]


def config_of(layout: str, **changes):
    pad = {"roberta": 1}.get(layout, 0)
    return make_config(layout, pad_token_id=pad, **changes)


def table(model: MaskedLM) -> torch.Tensor:
    return model.encoder.position_embedding.weight.detach()


def extended(model: MaskedLM, tmp_path, extension: Extension = EXTENSION):
    """Return the model of a folder with positions for longer texts."""
    save_model(tmp_path / "short", model, write_tokenizer(tmp_path).parent)
    longer = MaskedLM(extension.shape(model.config))
    load_matching(longer, tmp_path / "short", extension=extension)
    return longer.eval()


def test_the_slowest_pair_turns_slower_by_the_factor_and_the_fastest_as_before():
    base, size = 10_000.0, 64
    longer = stretched_base(base, 4.0, size)
    slowest = (size - 2) / size
    assert longer**-slowest == pytest.approx(base**-slowest / 4, rel=1e-4)
    # One pair alone turns by its position whatever the base.
    assert stretched_base(base, 4.0, 2) == base


@pytest.mark.parametrize("layout", LAYOUTS)
def test_texts_that_were_seen_change_nothing(layout, tmp_path):
    model = perturbed(MaskedLM(config_of(layout)))
    extension = Extension(TRAINED, TRAINED)
    assert extension.shape(model.config) == model.config
    again = extended(model, tmp_path, extension)
    assert all(map(torch.equal, again.state_dict().values(), model.state_dict().values()))


def test_a_rotary_encoder_gets_a_higher_base_for_its_global_layers(tmp_path):
    model = perturbed(MaskedLM(config_of("modernbert", global_attn_every_n_layers=2)))
    longer = extended(model, tmp_path)
    assert longer.config.max_position_embeddings == LONGER
    assert longer.config.rope_theta == stretched_base(10_000.0, LONGER / TRAINED, 8)
    assert longer.config.local_rope_theta == model.config.local_rope_theta
    assert all(map(torch.equal, longer.state_dict().values(), model.state_dict().values()))


@pytest.mark.parametrize("layout", LEARNED)
def test_learned_positions_repeat_and_those_never_seen_are_replaced(layout, tmp_path):
    model = perturbed(MaskedLM(config_of(layout)))
    longer, first = extended(model, tmp_path), model.config.first_position
    assert longer.config.max_length == LONGER
    seen = table(model)[first : first + TRAINED]
    expected = torch.cat((table(model)[:first], seen, seen, seen, seen[:4]))
    assert torch.equal(table(longer), expected)
    with torch.no_grad():
        ids, everywhere = draw_ids(2, TRAINED), torch.arange(TRAINED).expand(2, -1)
        same = [m(single_samples(ids), everywhere) for m in (longer, model)]
    assert torch.equal(*same)


def test_distances_that_were_never_seen_count_as_the_farthest_that_was(tmp_path):
    model = perturbed(MaskedLM(config_of("bert", position_embedding_type="relative_key")))
    longer = extended(model, tmp_path)
    for old, new in zip(model.encoder.layers, longer.encoder.layers, strict=True):
        before, after = (layer.attention.distance_embedding.weight for layer in (old, new))
        middle, reach = model.config.max_position_embeddings - 1, TRAINED - 1
        assert torch.equal(after[LONGER - 1], before[middle])
        assert torch.equal(after[LONGER - 1 + reach], before[middle + reach])
        assert torch.equal(after[-1], before[middle + reach])
        assert torch.equal(after[0], before[middle - reach])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_transformers_computes_the_same_of_a_longer_text(layout, tmp_path):
    longer = extended(perturbed(MaskedLM(config_of(layout))), tmp_path)
    save_model(tmp_path / "long", longer, tmp_path)
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path / "long").eval()
    ids, everywhere = draw_ids(2, LONGER), torch.arange(LONGER).expand(2, -1)
    with torch.no_grad():
        ours = longer(single_samples(ids), everywhere)
        torch.testing.assert_close(ours, theirs(input_ids=ids).logits, atol=1e-4, rtol=1e-4)


def test_an_encoder_cannot_have_seen_more_than_it_has_positions_for():
    config = config_of("modernbert")
    told = Extension(4096, LONGER).shape(config)
    assert told == Extension(config.max_length, LONGER).shape(config)
