import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cloze.errors import ClozeError
from cloze.model import device
from cloze.model.device import Compute, resolve_compute

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def keep_threads_and_precision():
    matmul = torch.backends.mkldnn.matmul
    before, precision = torch.get_num_threads(), matmul.fp32_precision
    yield
    torch.set_num_threads(before)
    matmul.fp32_precision = precision


def test_auto_is_the_same_every_time_and_never_a_stopwatch():
    first = resolve_compute("auto", "auto", "auto", 1, flop=1e12)
    assert first == resolve_compute("auto", "auto", "auto", 1, flop=1e12)
    assert not first.compile


@pytest.fixture
def compiles(monkeypatch):
    """Compile without a compiler, or fail as one would that is not there."""

    def set_up(problem=None):
        device._compile_problem.cache_clear()

        def compile_it(function, **options):
            if problem is not None:
                raise RuntimeError(problem)
            return function

        monkeypatch.setattr(torch, "compile", compile_it)

    yield set_up
    device._compile_problem.cache_clear()


def test_long_runs_are_compiled_where_that_works(compiles, caplog):
    compiles()
    assert resolve_compute("cpu", "auto", "auto", 1, flop=1e17).compile
    assert not resolve_compute("cpu", "auto", "off", 1, flop=1e17).compile
    assert not caplog.text


def test_what_cannot_be_compiled_runs_without_and_says_so(compiles, caplog, monkeypatch):
    monkeypatch.setattr(device.log, "propagate", True)
    compiles("C++ compile error\n\nCommand:\ng++ x.cpp\nfatal error: Python.h: No such file\n")
    assert not resolve_compute("cpu", "auto", "auto", 1, flop=1e17).compile
    assert "cannot compile (fatal error: Python.h: No such file), so the run goes on" in caplog.text
    with pytest.raises(ClozeError, match=r"--compile on: this machine cannot compile \(fatal er"):
        resolve_compute("cpu", "auto", "on", 1, flop=0)


def test_a_compiler_that_fails_is_found_by_trying(tmp_path):
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho 'fatal error: Python.h: No such file' >&2\nexit 1\n")
    broken.chmod(0o755)
    code = (
        "from cloze.model.device import resolve_compute\n"
        "print(resolve_compute('cpu', 'fp32', 'auto', 1, flop=1e17).compile)\n"
    )
    environment = {**os.environ, "CXX": str(broken), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=SCRIPTS, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert found.stdout == "False\n"


@pytest.mark.parametrize(
    ("precision", "flop", "compiled"),
    [("bf16", 1e13, False), ("bf16", 2e14, True), ("fp32", 2e14, False), ("fp32", 2e15, True)],
)
def test_in_fp32_only_far_longer_runs_are_compiled(precision, flop, compiled, compiles):
    compiles()
    assert resolve_compute("cpu", precision, "auto", 1, flop=flop).compile == compiled


def test_what_is_asked_for_is_what_one_gets(compiles):
    compiles()
    compute = resolve_compute("cpu", "fp32", "on", 1, flop=0)
    assert (compute.device, compute.precision, compute.compile) == ("cpu", "fp32", True)
    with compute.autocast():
        assert torch.ones(2, 2).mm(torch.ones(2, 2)).dtype == torch.float32
    with resolve_compute("cpu", "bf16", "off", 1, flop=0).autocast():
        assert torch.ones(2, 2).mm(torch.ones(2, 2)).dtype == torch.bfloat16


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16"), (False, "fp16")])
def test_cards_without_bf16_compute_in_fp16(has_bf16, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert resolve_compute("auto", "auto", "off", 1, flop=0).precision == precision


def test_fp16_is_for_cuda_cards():
    with pytest.raises(ClozeError, match="--precision fp16: is for CUDA cards, not cpu; use auto"):
        resolve_compute("cpu", "fp16", "off", 1, flop=0)


def test_fp16_computes_in_it_and_scales_its_loss():
    compute = Compute("cpu", "fp16", False, 1)
    with compute.autocast():
        assert torch.ones(2, 2).mm(torch.ones(2, 2)).dtype == torch.float16
    assert compute.grad_scaler().scale(torch.ones(())) > 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_precisions_leave_the_loss_as_it_is(precision):
    scaler = Compute("cpu", precision, False, 1).grad_scaler()
    assert not scaler.is_enabled()
    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler.scale(weight.sum()).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert weight.item() == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ClozeError, match="--device cuda: PyTorch sees no such device"):
        resolve_compute("cuda", "auto", "auto", 1, flop=0)


@pytest.mark.parametrize("honest", [True, False])
def test_fp32_stays_fp32_whatever_multiplies(honest, monkeypatch):
    matmul = torch.backends.mkldnn.matmul
    matmul.fp32_precision = "ieee"
    if not honest:
        monkeypatch.setattr("cloze.model.device._LARGEST_FP32_ERROR", 0.0)
    resolve_compute("cpu", "fp32", "off", 1, flop=0)
    if not honest:
        assert matmul.fp32_precision == "ieee"
    first, second = torch.randn(2, 512, 512, generator=torch.Generator().manual_seed(1)).unbind()
    error = (first @ second).double() - first.double() @ second.double()
    assert error.abs().max() < 1e-3


def in_bf16(first, second):
    return (first.bfloat16() @ second.bfloat16()).float()


@pytest.mark.parametrize(
    "is_imprecise",
    [
        lambda first, second: first.dim() == 3,
        lambda first, second: first.shape[-2] < 4,
        lambda first, second: second.shape[-1] > 2048,
        lambda first, second: first.shape[-1] > 512,
        lambda first, second: not second.is_contiguous(),
    ],
    ids=["several matrices", "few rows", "many columns", "many terms", "transposed"],
)
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="is about oneDNN on x86")
def test_one_kind_of_product_that_is_not_fp32_takes_the_permission_back(is_imprecise, monkeypatch):
    matmul, product = torch.backends.mkldnn.matmul, torch.Tensor.__matmul__
    imprecise = []

    def multiply(first, second):
        """Where there is AMX, oneDNN takes a permission for bf16 at its word."""
        if first.dtype == torch.float32 and matmul.fp32_precision == "bf16":
            if any(kind(first, second) for kind in imprecise):
                return in_bf16(first, second)
            return product(first.double(), second.double()).float()
        return product(first, second)

    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.Tensor, "__matmul__", multiply)
    resolve_compute("cpu", "fp32", "off", 1, flop=0)
    assert matmul.fp32_precision == "bf16"
    imprecise.append(is_imprecise)
    resolve_compute("cpu", "fp32", "off", 1, flop=0)
    assert matmul.fp32_precision == "ieee"


def test_fp32_can_be_left_to_what_knows_no_other(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    resolve_compute("cpu", "fp32", "off", 1, flop=0)
    resolve_compute("cpu", "fp32", "off", 1, flop=0, fastest_fp32=False)
    assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"


_PAGES_WRITTEN_AGAIN = """
import resource, sys
import torch
from cloze.model.device import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
# Small blocks that stay lie between large ones for a while before the holes are found again.
for _ in range(20):
    torch.ones(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc")
def test_freed_memory_is_used_again_without_asking_the_system():
    faults = {
        how: int(
            subprocess.run(
                [sys.executable, "-c", _PAGES_WRITTEN_AGAIN, how],
                cwd=SCRIPTS,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for how in ("kept", "returned")
    }
    assert faults["kept"] * 4 < faults["returned"]
