import pytest
import torch

from cloze.model.encoder import EncoderConfig
from cloze.model.heads import MaskedLM
from cloze.train.muon import Muon, orthogonalize
from cloze.train.optimization import Optimizers, adamw, muon

SHAPES = [(16, 16), (16, 16), (48, 16), (16, 64), (64, 16)]


def make_parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def take_steps(optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter]) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


def test_it_moves_weights_as_torch_does():
    ours, theirs = make_parameters(), make_parameters()
    begin = make_parameters()
    take_steps(Muon(ours, lr=0.02, weight_decay=0.1), ours)
    take_steps(
        torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"), theirs
    )
    for mine, other, start in zip(ours, theirs, begin, strict=True):
        # Both iterate in bfloat16 and round in another order.
        assert (mine - other).norm() < 0.02 * (other - start).norm()


def test_a_fused_projection_is_updated_as_its_parts():
    fused = [make_parameters()[2]]
    parts = [torch.nn.Parameter(part.clone()) for part in fused[0].detach().chunk(3)]
    whole = Muon([{"params": fused, "matrices": 3}], lr=0.02, weight_decay=0.1)
    apart = Muon(parts, lr=0.02, weight_decay=0.1)
    gradient = torch.randn(48, 16, generator=torch.Generator().manual_seed(1))
    fused[0].grad = gradient
    for part, piece in zip(parts, gradient.chunk(3), strict=True):
        part.grad = piece
    whole.step()
    apart.step()
    assert torch.equal(fused[0], torch.cat([part.detach() for part in parts]))


def test_singular_values_come_near_one_and_vectors_stay():
    matrices = torch.randn(3, 16, 40, generator=torch.Generator().manual_seed(0))
    result = orthogonalize(matrices, torch.float32)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.5
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    products = left.mT @ result @ right.mT
    assert products[:, ~torch.eye(16, dtype=torch.bool)].abs().max() < 1e-3


@pytest.mark.parametrize("layout", ["bert", "modernbert"])
def test_it_takes_the_linear_maps_of_layers_and_adamw_the_rest(layout):
    config = EncoderConfig(vocab_size=20, layout=layout, hidden_size=16, num_hidden_layers=2)
    model = MaskedLM(config)
    hidden = muon(model.encoder.layers, learning_rate=0.1, weight_decay=0.0, dtype=torch.float32)
    taken = [p for group in hidden.param_groups for p in group["params"]]
    names = {name for name, p in model.named_parameters() if any(p is other for other in taken)}
    parts = ("attention.qkv", "attention.output", "up", "down")
    assert names == {f"encoder.layers.{i}.{part}.weight" for i in range(2) for part in parts}
    rest = adamw(model, learning_rate=0.1, weight_decay=0.0, besides=taken)
    others = [p for group in rest.param_groups for p in group["params"]]
    assert len(taken) + len(others) == len(list(model.parameters()))


def test_its_state_comes_back_from_a_checkpoint():
    def make() -> tuple[MaskedLM, Optimizers]:
        torch.manual_seed(0)
        model = MaskedLM(EncoderConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1))
        layers = model.encoder.layers
        hidden = muon(layers, learning_rate=0.1, weight_decay=0.0, dtype=torch.float32)
        taken = [p for group in hidden.param_groups for p in group["params"]]
        rest = adamw(model, learning_rate=0.1, weight_decay=0.0, besides=taken)
        return model, Optimizers(model, hidden, rest)

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
