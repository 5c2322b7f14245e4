"""The Muon optimizer against torch's own and against linear algebra."""

import torch

from cloze.train.step import Muon, orthogonalize

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
