from dataclasses import replace

import pytest
import torch

from cloze.errors import ClozeError
from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig
from cloze.model.heads import MaskedLM, MaskedLMWithNextSentence
from cloze.objectives.masking import Masker
from cloze.objectives.mlm import pretraining_loss
from cloze.objectives.rows import RowBatches
from cloze.train.distributed import World
from cloze.train.recipe import PretrainingRecipe
from cloze.train.training_step import TrainingStep
from tests.tiny import make_rows
from tests.tiny_pairs import make_pairs

VOCAB_SIZE = 64
COMPUTE = Compute("cpu", "fp32", compile=False, threads=1)
RECIPE = PretrainingRecipe(
    train_batch_size=8, optimizer="adamw", learning_rate=0.01, muon_learning_rate=0.01,
    lr_scheduler_type="constant", warmup=0.0, cooldown_fraction=0.2, weight_decay=0.01,
    adam_beta1=0.9, adam_beta2=0.98, adam_epsilon=1e-6, max_grad_norm=1.0,
    mlm_probability=(0.2,), seed=0,
)  # fmt: skip


def make_masker() -> Masker:
    return Masker(
        vocab_size=VOCAB_SIZE,
        mask_token_id=4,
        special_token_ids=frozenset(range(5)),
        mlm_probability=0.2,
        max_length=16,
        seed=0,
    )


def make_batches(num_rows: int = 64) -> RowBatches:
    rows = make_rows(num_rows, 16, VOCAB_SIZE, seed=0)
    return RowBatches(rows, make_masker(), pad_token_id=0)


def make_config() -> EncoderConfig:
    return EncoderConfig(
        vocab_size=VOCAB_SIZE, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=16,
    )  # fmt: skip


def make_model(dropout: float = 0.0) -> MaskedLM:
    torch.manual_seed(0)
    return MaskedLM(make_config().with_dropout(dropout))


def make_step(
    model: MaskedLM, recipe: PretrainingRecipe = RECIPE, compute: Compute = COMPUTE
) -> TrainingStep:
    return TrainingStep(model, make_batches(), recipe, compute, World())


def train(step: TrainingStep, num_steps: int) -> list[float]:
    return [step(number, 0, 1.0)[0].item() for number in range(num_steps)]


def test_the_loss_of_a_batch_is_the_mean_over_its_predictions():
    model, batch = make_model(), make_batches().training_batch(0, 0, 8)
    logits = model(batch.packed, batch.positions)
    kept = batch.weights > 0
    expected = torch.nn.functional.cross_entropy(logits[kept], batch.labels[kept])
    torch.testing.assert_close(pretraining_loss(model, batch), expected)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_parts_of_a_batch_make_the_steps_of_the_whole(optimizer):
    recipe = replace(RECIPE, optimizer=optimizer)
    models = make_model(), make_model()
    steps = [make_step(model, recipe) for model in models]
    steps[1].micro_batch_size = 2
    losses = [train(step, 20) for step in steps]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def make_pair_step(compute: Compute = COMPUTE) -> TrainingStep:
    torch.manual_seed(0)
    batches = RowBatches(make_pairs(64, 16, VOCAB_SIZE, seed=0), make_masker(), 0, True)
    model = MaskedLMWithNextSentence(make_config())
    return TrainingStep(model, batches, RECIPE, compute, World())


def test_the_loss_of_pairs_is_added_to_that_of_tokens():
    torch.manual_seed(0)
    model = MaskedLMWithNextSentence(make_config())
    batches = RowBatches(make_pairs(64, 16, VOCAB_SIZE, seed=0), make_masker(), 0, True)
    batch = batches.training_batch(0, 0, 8)
    tokens, pairs = model(batch.packed, batch.positions, batch.pairs.first_positions)
    kept = batch.weights > 0
    expected = torch.nn.functional.cross_entropy(tokens[kept], batch.labels[kept])
    expected = expected + torch.nn.functional.cross_entropy(
        pairs.flatten(0, 1), batch.pairs.labels.flatten()
    )
    torch.testing.assert_close(pretraining_loss(model, batch), expected)


def test_parts_of_a_batch_of_pairs_make_the_steps_of_the_whole():
    steps = make_pair_step(), make_pair_step()
    steps[1].micro_batch_size = 2
    losses = [train(step, 20) for step in steps]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_batch_overfits(optimizer, monkeypatch):
    batches = make_batches()
    batch = batches.training_batch(0, 0, 8)
    monkeypatch.setattr(RowBatches, "training_batch", lambda *args: batch)
    losses = train(make_step(make_model(), replace(RECIPE, optimizer=optimizer)), 120)
    assert losses[0] == pytest.approx(4.16, abs=0.3)
    assert losses[-1] < 0.05


def test_each_stage_has_its_own_masking_rate():
    step = make_step(make_model(), replace(RECIPE, mlm_probability=(0.4, 0.1)))
    seen: list[int] = []
    hook = step._loss.register_forward_pre_hook(
        lambda module, args: seen.append(args[0].positions.shape[1])
    )
    step(0, 0, 1.0)
    step(1, 1, 1.0)
    hook.remove()
    assert seen == [round(0.4 * 16), round(0.1 * 16)]


def test_dropout_differs_between_steps_and_parts_and_repeats_when_repeated():
    step = make_step(make_model(dropout=0.3))
    step.micro_batch_size = 4
    first = [step(number, 0, 0.0)[0].item() for number in (0, 1, 0)]
    assert first[0] == first[2]
    assert first[0] != first[1]


def test_a_trial_of_memory_changes_no_weight():
    model = make_model()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    make_step(model).attempt(4)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_lack_of_memory_is_told_with_the_step_and_the_value_to_set(monkeypatch):
    step = make_step(make_model())

    def lack(batch: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(step, "_loss", lack)
    with pytest.raises(ClozeError, match=r"out of memory at step 8 with 8 of the 8 rows.*steps 2,"):
        step(7, 0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [False, True], ids=["tokens", "pairs"])
def test_compiled_steps_are_the_eager_ones_to_float_rounding(pairs):
    compiled = replace(COMPUTE, compile=True)
    losses = [
        train(make_pair_step(how) if pairs else make_step(make_model(), compute=how), 20)
        for how in (COMPUTE, compiled)
    ]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
