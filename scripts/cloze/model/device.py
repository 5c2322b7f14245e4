"""What `auto` means on this machine: device, precision, compilation, threads."""

import contextlib
import ctypes
import functools
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.model.waiting import yield_when_busy

# Compiling costs 15 to 35 s of CPU time. On a CPU it then saves about a third of each step in bf16,
# which pays from a few minutes of training. In fp32 it saved under 1 % where it was measured (2
# layers of 128, AVX2), which pays from hours. The choice must not depend on a stopwatch: the same
# run on the same machine has to resolve the same way.
_COMPILE_FROM_FLOP = {"cpu": 5e13, "cuda": 1e16, "mps": float("inf")}
_COMPILE_FP32_ON_CPU_FROM_FLOP = 1e15

# Of a product of terms of deviation 1 each, over the square root of their number, in fp32: rounding
# errors are about 2e-6, and those of bf16 inputs 5e-3.
_LARGEST_FP32_ERROR = 1e-4

# Matrices, rows, terms and columns of the kinds of product that an encoder's passes have.
_PROBED_SHAPES = (
    (1, 128, 256, 768),  # tokens by a layer's weight
    (1, 128, 1024, 256),  # … and back from the wide side of the MLP
    (1, 128, 2048, 128),  # a weight's gradient: as many terms as tokens
    (1, 16, 256, 4096),  # predicted positions by the vocabulary
    (1, 3, 256, 256),  # few samples by a head's weight
    (1, 1, 256, 256),
    (1, 256, 256, 1),
    (32, 32, 64, 32),  # queries by keys
    (32, 32, 32, 64),  # weights by values
)

# Of <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_LARGEST_INT = (1 << 31) - 1

# Primitives cached by oneDNN and by ideep, PyTorch's layer above it. A process that predicts meets
# a few dozen shapes over and over. ideep looks up what oneDNN has anyway; its least is one.
_PRIMITIVE_CACHE = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "1"}

# How gcc, clang and ld begin what they have to say.
_COMPILER_ERROR = re.compile(r"(^|[\s:])(fatal )?error: ")

_SIXTEEN_BITS = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """How a run computes; resolved once and kept for as long as the run lives."""

    device: str
    precision: str
    compile: bool
    threads: int

    @property
    def torch_device(self) -> torch.device:
        """The device as PyTorch names it."""
        return torch.device(self.device)

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute matrix products in 16 bits inside the block, if that is the precision."""
        dtype = _SIXTEEN_BITS.get(self.precision)
        with torch.autocast(self.device, dtype or torch.bfloat16, enabled=dtype is not None):
            yield

    def grad_scaler(self) -> torch.amp.GradScaler:
        """Return what keeps fp16 gradients from underflowing (Micikevicius et al. 2018, §3.2).

        In every other precision it is disabled and passes everything through: `scale`,
        `unscale_`, `step` and `update` can be called all the same.
        """
        return torch.amp.GradScaler(self.device, enabled=self.precision == "fp16")


def resolve_compute(
    device: str,
    precision: str,
    compile_mode: str,
    threads: int,
    flop: float,
    *,
    fastest_fp32: bool = True,
) -> Compute:
    """Turn `auto` into what this machine does best; `flop` is the whole run's estimate.

    Sets the number of CPU threads of this process, and on a CPU which library multiplies in
    fp32: the faster one that keeps fp32's precision in every product that is tried, or,
    without `fastest_fp32`, the one that knows no other. Where this machine cannot compile, `auto`
    goes on without and warns. Raises `ClozeError` if a device is asked for that is not there, or
    compilation where it fails, and for fp16 on anything but a CUDA card.
    """
    device = _resolve_device(device)
    torch.set_num_threads(threads)
    if device == "cpu":
        yield_when_busy(threads)
        _choose_fp32(fastest_fp32)
    if precision == "auto":
        precision = _fastest_precision(device)
    if precision == "fp16" and device != "cuda":
        raise ClozeError(f"--precision fp16: is for CUDA cards, not {device}; use auto or fp32")
    wanted = compile_mode == "on" or (
        compile_mode == "auto" and _is_worth_compiling(device, precision, flop)
    )
    problem = _compile_problem(device) if wanted else None
    if problem is not None:
        _say_uncompiled(compile_mode, problem)
    return Compute(device, precision, wanted and problem is None, threads)


def limit_primitive_cache() -> None:
    """Keep oneDNN's primitive cache small, so that meeting ever new shapes costs no memory.

    oneDNN caches the last 1,024 primitives otherwise, and PyTorch's layer above it as many
    again of its own. One may take a megabyte, and those of passing shapes lie between the
    tensors that come and go, so that the heap grows around them. For a process that predicts;
    to be called before its first product. What the environment says already stays.
    """
    for name, value in _PRIMITIVE_CACHE.items():
        os.environ.setdefault(name, value)


def keep_freed_memory() -> None:
    """Have glibc hand freed memory out again instead of returning it to the system.

    It maps every tensor of more than 32 MB anew, and the system clears each page when it is
    first written: 75 of 1,740 ms a step for the gradient of 30,522 embeddings of 768 alone.
    For a run whose tensors have the same sizes in every step: among ever new sizes the holes do
    not fit, and memory grows. Does nothing where the C library is another.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)


def device_is_present(device: str) -> bool:
    """Whether PyTorch can compute on `device` here."""
    if device == "cuda":
        return torch.cuda.is_available()
    return device == "cpu" or torch.backends.mps.is_available()


def _resolve_device(device: str) -> str:
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if device_is_present(name))
    if not device_is_present(device):
        raise ClozeError(f"--device {device}: PyTorch sees no such device here; use auto or cpu")
    return device


def _choose_fp32(fastest: bool) -> None:
    """Let oneDNN multiply in fp32, at twice the speed of MKL on CPUs that are not Intel's.

    PyTorch hands fp32 products to oneDNN where bf16 is allowed inside them, in the whole
    process. On x86 without AMX oneDNN computes in fp32 all the same; products of each kind
    are checked, and where one is not precise the permission is taken back.
    """
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    matmul.fp32_precision = "ieee"
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    if fastest and is_x86 and not torch.cpu._is_amx_tile_supported():
        matmul.fp32_precision = "bf16"
        if max(map(_fp32_error, _PROBED_SHAPES)) > _LARGEST_FP32_ERROR:
            matmul.fp32_precision = "ieee"


def _fp32_error(shape: tuple[int, int, int, int]) -> float:
    """Return the largest error of a product of this shape, whichever operand lies transposed."""
    matrices, rows, terms, columns = shape
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(matrices, rows, terms, generator=generator).squeeze(0)
    second = torch.randn(matrices, terms, columns, generator=generator).squeeze(0)
    expected = first.double() @ second.double()
    products = (first @ second, first @ _transposed(second), _transposed(first) @ second)
    return max(float((found - expected).abs().max()) for found in products) / terms**0.5


def _transposed(matrix: torch.Tensor) -> torch.Tensor:
    """Return the same matrix, columns one after the other in memory."""
    return matrix.mT.contiguous().mT


def _fastest_precision(device: str) -> str:
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device == "cpu" and torch.cpu._is_avx512_bf16_supported() else "fp32"


def _is_worth_compiling(device: str, precision: str, flop: float) -> bool:
    is_cpu_fp32 = (device, precision) == ("cpu", "fp32")
    enough = _COMPILE_FP32_ON_CPU_FROM_FLOP if is_cpu_fp32 else _COMPILE_FROM_FLOP[device]
    return flop >= enough


@functools.cache
def _compile_problem(device: str) -> str | None:
    """Return why nothing can be compiled for a device here, None if it can; found by trying.

    Code is generated in C++ or by Triton, which needs a compiler, its headers and Python's.
    """
    # A size of its own, or code that was compiled earlier would be found in the cache.
    size = int.from_bytes(os.urandom(3)) + 2
    try:
        torch.compile(_trial, dynamic=False)(torch.ones(size, device=device))
    # Each part of the compiler raises errors of its own kind.
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        telling = [line for line in lines if _COMPILER_ERROR.search(line)]
        return next(iter([*telling, *lines]), type(error).__name__)
    return None


def _trial(values: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.gelu(values).square().sum()


def _say_uncompiled(compile_mode: str, problem: str) -> None:
    advice = "install a C++ compiler and Python's headers (g++ and python3-dev on Debian)"
    if compile_mode == "on":
        raise ClozeError(
            f"--compile on: this machine cannot compile ({problem}); {advice}, or leave it to auto"
        )
    log.warning(
        "warning: this machine cannot compile (%s), so the run goes on without, slower; %s",
        problem,
        advice,
    )
