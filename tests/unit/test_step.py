"""One optimizer step: gradients of a batch in parts, the optimizers of a recipe."""

from dataclasses import replace

import pytest
import torch

from cloze.errors import ClozeError
from cloze.model.encoder import EncoderConfig
from cloze.model.heads import MaskedLM, SequenceClassifier
from cloze.objectives.mlm import MaskedLanguageModeling
from cloze.train.budget import Span
from cloze.train.plan import TrainingRecipe
from cloze.train.processes import World
from cloze.train.step import Optimizers, TrainingStep, adamw, make_optimizers, muon
from tests.tiny_pretraining import CPU, PLAN, RECIPE, make_objective

LAYERS = ["--hidden-size=32", "--num-hidden-layers=2", "--intermediate-size=64"]
PAIRS = "--next-sentence"
AT_THE_PEAK = Span(0.5, 0.5)


def make_step(
    *flags: str, recipe: TrainingRecipe = RECIPE, micro_batch_size: int | None = None,
    compile_it: bool = False,
) -> TrainingStep:  # fmt: skip
    plan = replace(
        PLAN,
        recipe=recipe,
        micro_batch_size=micro_batch_size,
        compute=replace(CPU, compile=compile_it),
    )
    return TrainingStep(make_objective(*LAYERS, *flags), plan, World())


def model_of(step: TrainingStep) -> torch.nn.Module:
    return step._objective.model


def train(step: TrainingStep, num_steps: int) -> list[float]:
    return [step(number, AT_THE_PEAK)[0].item() for number in range(num_steps)]


def test_the_loss_of_a_batch_is_the_mean_over_its_predictions():
    objective = make_objective(*LAYERS)
    batch = objective.batch(0, 8, 0.0, None)
    logits = objective.model(batch.packed, batch.positions)
    kept = batch.weights > 0
    expected = torch.nn.functional.cross_entropy(logits[kept], batch.labels[kept])
    torch.testing.assert_close(objective.loss(objective.model, batch), expected)


def test_the_loss_of_pairs_is_added_to_that_of_tokens():
    objective = make_objective(*LAYERS, PAIRS)
    batch = objective.batch(0, 8, 0.0, None)
    assert batch.pairs is not None
    tokens, pairs = objective.model(batch.packed, batch.positions, batch.pairs.first_positions)
    kept = batch.weights > 0
    expected = torch.nn.functional.cross_entropy(tokens[kept], batch.labels[kept])
    expected = expected + torch.nn.functional.cross_entropy(
        pairs.flatten(0, 1), batch.pairs.labels.flatten()
    )
    torch.testing.assert_close(objective.loss(objective.model, batch), expected)


@pytest.mark.parametrize("flags", [[], [PAIRS]], ids=["tokens", "pairs"])
def test_the_parts_of_processes_add_up_to_the_loss_of_the_whole(flags):
    objective = make_objective(*LAYERS, *flags)
    model = objective.model.eval()
    whole = objective.loss(model, objective.batch(3, 8, 0.0, None))
    shares = [objective.loss(model, objective.batch(3, 8, 0.0, part)) for part in ((0, 2), (2, 8))]
    torch.testing.assert_close(shares[0] + shares[1], whole)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_parts_of_a_batch_make_the_steps_of_the_whole(optimizer):
    recipe = replace(RECIPE, optimizer=optimizer)
    steps = [make_step(recipe=recipe, micro_batch_size=size) for size in (None, 2)]
    losses = [train(step, 20) for step in steps]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    parameters = (model_of(step).parameters() for step in steps)
    for one, other in zip(*parameters, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_parts_of_a_batch_of_pairs_make_the_steps_of_the_whole():
    steps = [make_step(PAIRS, micro_batch_size=size) for size in (None, 2)]
    losses = [train(step, 20) for step in steps]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_batch_overfits(optimizer, monkeypatch):
    step = make_step(recipe=replace(RECIPE, optimizer=optimizer))
    batch = step._objective.batch(0, 8, 0.0, None)
    monkeypatch.setattr(MaskedLanguageModeling, "batch", lambda *args: batch)
    losses = train(step, 120)
    assert losses[0] == pytest.approx(4.16, abs=0.3)
    assert losses[-1] < 0.05


def test_each_share_of_the_run_has_its_own_masking_rate():
    objective = make_objective()
    objective.mask_at([0.4, 0.1])
    widths = [objective.batch(0, 8, p, None).positions.shape[1] for p in (0.0, 0.49, 0.5, 1.0)]
    assert widths == [round(0.4 * 16)] * 2 + [round(0.1 * 16)] * 2
    objective.mask_at([0.3, 0.2, 0.1])
    assert [objective.stage(step / 9) for step in range(10)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]


def test_dropout_differs_between_steps_and_parts_and_repeats_when_repeated():
    step = make_step("--dropout=0.3", micro_batch_size=4)
    # At a factor of 0 no weight moves.
    still = replace(RECIPE, lr_scheduler_type="linear")
    step._recipe = still
    first = [step(number, Span(1.0, 1.0))[0].item() for number in (0, 1, 0)]
    assert first[0] == first[2]
    assert first[0] != first[1]


def test_a_trial_of_memory_changes_no_weight():
    step = make_step()
    before = [parameter.detach().clone() for parameter in model_of(step).parameters()]
    step.attempt(step._objective.fullest_batch(4))
    after = list(model_of(step).parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(parameter.grad is None for parameter in after)


def test_a_lack_of_memory_is_told_with_the_step_and_the_value_to_set(monkeypatch):
    step = make_step()

    def lack(batch: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(step, "_loss", lack)
    with pytest.raises(ClozeError, match=r"out of memory at step 8 with 8 of the 8 rows.*steps 2,"):
        step(7, AT_THE_PEAK)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], [PAIRS]], ids=["tokens", "pairs"])
def test_compiled_steps_are_the_eager_ones_to_float_rounding(flags):
    losses = [train(make_step(*flags, compile_it=how), 20) for how in (False, True)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)


def test_biases_and_norms_are_not_decayed():
    model = MaskedLM(EncoderConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1))
    optimizer = adamw(model, replace(RECIPE, learning_rate=0.1, weight_decay=0.5))
    bias = model.encoder.layers[0].up.bias
    with torch.no_grad():
        bias.fill_(1.0)
    before = model.encoder.layers[0].up.weight.clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.equal(bias, torch.ones_like(bias))
    assert torch.allclose(model.encoder.layers[0].up.weight, before * 0.95)


@pytest.mark.parametrize("layout", ["bert", "modernbert"])
def test_muon_takes_the_linear_maps_of_layers_and_adamw_the_rest(layout):
    config = EncoderConfig(vocab_size=20, layout=layout, hidden_size=16, num_hidden_layers=2)
    model = MaskedLM(config)
    hidden = muon(model.encoder.layers, RECIPE, torch.float32)
    taken = [p for group in hidden.param_groups for p in group["params"]]
    names = {name for name, p in model.named_parameters() if any(p is other for other in taken)}
    parts = ("attention.qkv", "attention.output", "up", "down")
    assert names == {f"encoder.layers.{i}.{part}.weight" for i in range(2) for part in parts}
    rest = adamw(model, RECIPE, besides=taken)
    others = [p for group in rest.param_groups for p in group["params"]]
    assert len(taken) + len(others) == len(list(model.parameters()))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_state_of_optimizers_comes_back_from_a_checkpoint(optimizer):
    recipe = replace(RECIPE, optimizer=optimizer)

    def make() -> tuple[MaskedLM, Optimizers]:
        torch.manual_seed(0)
        model = MaskedLM(EncoderConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1))
        return model, make_optimizers(model, recipe, "fp32")

    def step(model: MaskedLM, optimizers: Optimizers, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizers.step(0.5, torch.amp.GradScaler("cpu", enabled=False))

    model, optimizers = make()
    step(model, optimizers, 1)
    resumed, resumed_optimizers = make()
    resumed.load_state_dict(model.state_dict())
    resumed_optimizers.load_state_tensors(optimizers.state_tensors())
    for each in ((model, optimizers), (resumed, resumed_optimizers)):
        step(*each, 2)
    for one, other in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def make_classifier() -> SequenceClassifier:
    config = EncoderConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    return SequenceClassifier(config, 2)


def test_each_layer_learns_at_a_share_of_the_rate_above_it():
    model = make_classifier()
    recipe = replace(RECIPE, learning_rate=1e-3, layerwise_lr_decay=0.5)
    optimizer = adamw(model, recipe)
    names = {parameter: name for name, parameter in model.named_parameters()}
    rates = {
        names[parameter]: group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert rates.keys() == dict(model.named_parameters()).keys()
    assert rates["classifier.weight"] == rates["pooler_dense.bias"] == 1e-3
    assert rates["encoder.layers.1.up.weight"] == 0.5e-3
    assert rates["encoder.layers.0.attention.qkv.bias"] == 0.25e-3
    assert rates["encoder.token_embedding.weight"] == 0.125e-3
    assert rates["encoder.embedding_norm.weight"] == 0.125e-3


def test_without_layerwise_decay_there_are_two_groups():
    optimizer = adamw(make_classifier(), RECIPE)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_an_impossible_layerwise_decay_is_refused(share):
    with pytest.raises(ClozeError, match="--layerwise-lr-decay: must be above 0"):
        replace(RECIPE, layerwise_lr_decay=share)
