import random

from cloze.train.watch import LossWatch


def first_spike(losses: list[float], watch: LossWatch | None = None) -> tuple[int, str] | None:
    watch = watch or LossWatch()
    for first in range(0, len(losses), 10):
        if (found := watch.spike(first, losses[first : first + 10])) is not None:
            return found
    return None


def noisy(level: float, count: int, noise: float = 0.15, seed: int = 0) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(level, noise) for _ in range(count)]


def test_a_loss_that_blows_up_and_stays_is_a_spike():
    found = first_spike(noisy(3.0, 300) + noisy(7.5, 30))
    assert found is not None
    assert found[0] == 300
    assert "rose from" in found[1]


def test_one_odd_batch_is_none():
    losses = noisy(3.0, 300) + [11.0] * 3 + noisy(3.0, 100)
    assert first_spike(losses) is None


def test_noise_of_small_batches_is_none():
    for seed in range(20):
        assert first_spike(noisy(3.0, 3000, noise=0.8, seed=seed)) is None


def test_a_falling_loss_is_none():
    losses = [10.0 - 6 * min(1.0, step / 400) for step in range(1000)]
    assert first_spike([a + b for a, b in zip(losses, noisy(0, 1000), strict=True)]) is None


def test_a_start_with_too_high_a_rate_that_recovers_is_none():
    assert first_spike(noisy(9.0, 20) + noisy(14.0, 60) + noisy(7.0, 300)) is None


def test_a_plateau_above_the_best_loss_is_none():
    assert first_spike(noisy(3.0, 300) + noisy(3.7, 300)) is None
