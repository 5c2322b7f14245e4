"""What training costs, how much of what the machine can do that is, and its memory."""

import functools
import resource
import sys
import time
from dataclasses import dataclass

import torch

from cloze.errors import ClozeError
from cloze.model.encoder import EncoderConfig

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SIZES = {"cpu": 1536, "mps": 4096, "cuda": 8192}
_WARM_UP_PRODUCTS = 2
_MIN_PRODUCTS = 3
# The clock of a CPU, or of a card near its power limit, falls within the first second.
_SECONDS = 1.0


@dataclass(frozen=True)
class Utilisation:
    """Model FLOP/s of a run beside the measured peak of matrix products, both per second.

    `share` is model FLOP utilisation (Chowdhery et al. 2022, app. B), with the machine's
    measured peak in the place of the vendor's figure.
    """

    model_flops: float
    matmul_peak: float

    @property
    def share(self) -> float:
        """The share of the peak, 0 to about 1."""
        return self.model_flops / self.matmul_peak

    def as_dict(self) -> dict[str, float]:
        """Return the figures by the names they have in `metrics.json`, TFLOP/s and a share."""
        return {
            "model_tflops": round(self.model_flops / 1e12, 4),
            "matmul_peak_tflops": round(self.matmul_peak / 1e12, 4),
            "utilisation": round(self.share, 4),
        }


@functools.cache
def matmul_peak(device: str, precision: str) -> float:
    """Return the floating-point operations a second of large square matrix products.

    The best of the products of about a second, on random numbers (zeros are faster on some
    cards), with the threads this process has; measured once a process.
    Raises `ClozeError` for a precision that is not fp32, bf16 or fp16.
    """
    if precision not in _DTYPES:
        raise ClozeError(f"precision: {precision!r} is unknown; use one of {', '.join(_DTYPES)}")
    size = _SIZES[device]
    generator = torch.Generator(device).manual_seed(0)
    left, right = (
        torch.randn(size, size, generator=generator, device=device).to(_DTYPES[precision])
        for _ in range(2)
    )
    product = left @ right
    for _ in range(_WARM_UP_PRODUCTS):
        torch.matmul(left, right, out=product)
    _synchronize(device)
    seconds: list[float] = []
    began = time.perf_counter()
    while len(seconds) < _MIN_PRODUCTS or time.perf_counter() - began < _SECONDS:
        started = time.perf_counter()
        torch.matmul(left, right, out=product)
        _synchronize(device)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


def peak_memory_bytes(device: str) -> int:
    """Return the most memory that this process has held: of the card, or resident on a CPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def training_flop(config: EncoderConfig, tokens: int, length: int, mlm_probability: float) -> float:
    """Estimate the floating-point operations of training: 6N + 12·L·D·T a token.

    N counts the weights that multiply activations (Kaplan et al. 2020, §2.1; Chowdhery et
    al. 2022, app. B). The head, and all of the last layer but its keys and values, count at
    the predicted positions only; a local layer's length is its window.
    """
    size, is_pre_norm = config.hidden_size, config.facts.is_pre_norm
    mlp = (3 if is_pre_norm else 2) * size * config.intermediate_size
    all_but_last = config.num_hidden_layers - 1
    everywhere = all_but_last * (4 * size * size + mlp) + 2 * size * size
    predicted = 2 * size * size + mlp + size * size + config.vocab_size * size
    seen = [
        length if is_global else min(length, 2 * config.window + 1)
        for is_global in config.are_global
    ]
    attention = 12 * (sum(seen[:-1]) + mlm_probability * seen[-1]) * size
    return tokens * (6 * (everywhere + mlm_probability * predicted) + attention)
