"""What `auto` means on this machine: device, precision, compilation, threads."""

import contextlib
import ctypes
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from cloze.errors import ClozeError

# Compiling costs 15 to 35 s of CPU time. On a CPU it then saves about a third of each step in bf16,
# which pays from a few minutes of training. In fp32 it saved under 1 % where it was measured (2
# layers of 128, AVX2), which pays from hours. The choice must not depend on a stopwatch: the same
# run on the same machine has to resolve the same way.
_COMPILE_FROM_FLOP = {"cpu": 5e13, "cuda": 1e16, "mps": float("inf")}
_COMPILE_FP32_ON_CPU_FROM_FLOP = 1e15

# Of a product of 256 terms of deviation 1 each, in fp32: rounding errors are about 1e-5, and those
# of bf16 inputs 1e-1.
_LARGEST_FP32_ERROR = 1e-3

# Of <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_LARGEST_INT = (1 << 31) - 1

# Plans kept by oneDNN and by ideep, PyTorch's layer above it. A process that predicts meets a few
# dozen shapes over and over. ideep looks up what oneDNN has anyway; one is the least that it takes.
_FEW_PLANS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "1"}

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
    device: str, precision: str, compile_mode: str, threads: int, flop: float
) -> Compute:
    """Turn `auto` into what this machine does best; `flop` is the whole run's estimate.

    Sets the number of CPU threads of this process, and on a CPU which library multiplies in
    fp32. Raises `ClozeError` if a device is asked for that is not there, and for fp16 on
    anything but a CUDA card.
    """
    device = _resolve_device(device)
    torch.set_num_threads(threads)
    if device == "cpu":
        _speed_up_fp32()
    if precision == "auto":
        precision = _fastest_precision(device)
    if precision == "fp16" and device != "cuda":
        raise ClozeError(f"--precision fp16: is for CUDA cards, not {device}; use auto or fp32")
    compiled = compile_mode == "on" or (
        compile_mode == "auto" and _is_worth_compiling(device, precision, flop)
    )
    return Compute(device, precision, compiled, threads)


def keep_few_plans() -> None:
    """Have oneDNN keep the plans of few products, so that meeting ever new shapes costs no memory.

    oneDNN keeps the last 1,024 otherwise, and PyTorch's layer above it as many again of its
    own. One may take a megabyte, and those of passing shapes lie between the tensors that
    come and go, so that the heap grows around them. For a process that predicts; to be called
    before its first product. What the environment says already stays.
    """
    for name, value in _FEW_PLANS.items():
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


def _speed_up_fp32() -> None:
    """Let oneDNN multiply in fp32, at twice the speed of MKL on CPUs that are not Intel's.

    PyTorch hands fp32 products to oneDNN where bf16 is allowed inside them. On x86 without
    AMX oneDNN computes in fp32 all the same; one product is checked, and where it does not
    the permission is taken back.
    """
    if platform.machine() not in ("x86_64", "AMD64") or torch.cpu._is_amx_tile_supported():
        return
    first, second = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(0)).unbind()
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    matmul.fp32_precision = "bf16"
    error = (first @ second).double() - first.double() @ second.double()
    if error.abs().max() > _LARGEST_FP32_ERROR:
        matmul.fp32_precision = "ieee"


def _fastest_precision(device: str) -> str:
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device == "cpu" and torch.cpu._is_avx512_bf16_supported() else "fp32"


def _is_worth_compiling(device: str, precision: str, flop: float) -> bool:
    is_cpu_fp32 = (device, precision) == ("cpu", "fp32")
    enough = _COMPILE_FP32_ON_CPU_FROM_FLOP if is_cpu_fp32 else _COMPILE_FROM_FLOP[device]
    return flop >= enough and _has_compiler(device)


def _has_compiler(device: str) -> bool:
    """Whether the C++ compiler that generated CPU code needs is on this machine."""
    if device != "cpu":
        return True
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++"))
