import pytest
import torch

from cloze.encoder.device import resolve_compute
from cloze.errors import ClozeError


@pytest.fixture(autouse=True)
def keep_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_auto_is_the_same_every_time_and_never_a_stopwatch():
    first = resolve_compute("auto", "auto", "auto", 1, flop=1e12)
    assert first == resolve_compute("auto", "auto", "auto", 1, flop=1e12)
    assert not first.compile


def test_long_runs_are_compiled_where_there_is_a_compiler(monkeypatch):
    monkeypatch.setattr("cloze.encoder.device.shutil.which", lambda name: "/usr/bin/" + name)
    assert resolve_compute("cpu", "auto", "auto", 1, flop=1e17).compile
    assert not resolve_compute("cpu", "auto", "off", 1, flop=1e17).compile
    monkeypatch.setattr("cloze.encoder.device.shutil.which", lambda name: None)
    assert not resolve_compute("cpu", "auto", "auto", 1, flop=1e17).compile


def test_what_is_asked_for_is_what_one_gets():
    compute = resolve_compute("cpu", "fp32", "on", 1, flop=0)
    assert (compute.device, compute.precision, compute.compile) == ("cpu", "fp32", True)
    with compute.autocast():
        assert torch.ones(2, 2).mm(torch.ones(2, 2)).dtype == torch.float32
    with resolve_compute("cpu", "bf16", "off", 1, flop=0).autocast():
        assert torch.ones(2, 2).mm(torch.ones(2, 2)).dtype == torch.bfloat16


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ClozeError, match="--device cuda: PyTorch sees no such device"):
        resolve_compute("cuda", "auto", "auto", 1, flop=0)
