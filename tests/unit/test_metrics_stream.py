import importlib.util
import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

from cloze.errors import ClozeError
from cloze.train.metrics_stream import (
    MetricsStream,
    TensorBoard,
    WeightsAndBiases,
    open_dashboards,
)

TRAINING = {"step": 10, "loss": 7.5, "progress": [0.0, 0.1], "resumed": True}
VALIDATION = {"step": 10, "validation_loss": 7.0}


class RecordedWriter:
    """Stands in for `SummaryWriter`; keeps what it is told."""

    made: list["RecordedWriter"]

    def __init__(self, log_dir: str, purge_step: int) -> None:
        self.log_dir, self.purge_step = log_dir, purge_step
        self.scalars: list[tuple[str, float, int]] = []
        self.closed = False
        RecordedWriter.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def close(self) -> None:
        self.closed = True


class RecordedRun:
    """Stands in for a W&B run that has `step` steps already."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.logged: list[tuple[dict, int]] = []
        self.finished = False

    def log(self, values: dict, step: int) -> None:
        self.logged.append((values, step))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def writers(monkeypatch) -> list[RecordedWriter]:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = RecordedWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(TensorBoard, "is_installed", staticmethod(lambda: True))
    RecordedWriter.made = []
    return RecordedWriter.made


def fake_wandb(monkeypatch, run: RecordedRun | Exception) -> list[dict]:
    class Error(Exception):
        pass

    calls: list[dict] = []

    def init(**arguments):
        calls.append(arguments)
        if isinstance(run, Exception):
            raise run
        return run

    module = ModuleType("wandb")
    module.init, module.errors = init, SimpleNamespace(Error=Error)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    return calls


def test_the_file_holds_every_measurement_as_it_was_made(tmp_path):
    stream = MetricsStream(tmp_path / "metrics.jsonl")
    assert stream.read() == []
    stream.append(TRAINING)
    stream.append(VALIDATION)
    assert stream.read() == [TRAINING, VALIDATION]


def test_rewinding_forgets_later_steps_and_half_a_line(tmp_path):
    stream = MetricsStream(tmp_path / "metrics.jsonl")
    for step in (10, 20, 30):
        stream.append({"step": step, "loss": 1.0})
    with open(stream.path, "a", encoding="utf-8") as file:
        file.write('{"step": 15, "lo')
    stream.rewind(20)
    assert [record["step"] for record in stream.read()] == [10, 20]
    assert all(json.loads(line) for line in stream.path.read_text().splitlines())


def test_tensorboard_gets_plain_numbers_in_two_groups(tmp_path, writers):
    stream = MetricsStream(tmp_path / "metrics.jsonl")
    open_dashboards(stream, "a1b2", None, {})
    stream.rewind(0)
    stream.append(TRAINING)
    stream.append(VALIDATION)
    stream.close()
    (writer,) = writers
    assert writer.log_dir == str(tmp_path / "tensorboard")
    assert writer.scalars == [("training/loss", 7.5, 10), ("validation/loss", 7.0, 10)]
    assert writer.closed


def test_tensorboard_is_told_which_steps_come_again(tmp_path, writers):
    stream = MetricsStream(tmp_path / "metrics.jsonl")
    open_dashboards(stream, "a1b2", None, {})
    stream.rewind(40)
    assert [writer.purge_step for writer in writers] == [41]


def test_without_tensorboard_only_the_file_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    stream = MetricsStream(tmp_path / "metrics.jsonl")
    open_dashboards(stream, "a1b2", None, {})
    stream.rewind(0)
    stream.append(TRAINING)
    stream.close()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_real_event_files_show_each_step_once_after_a_resume(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for resumed_after, steps in ((0, (10, 20, 30)), (10, (20, 30, 40))):
        stream = MetricsStream(tmp_path / "metrics.jsonl")
        open_dashboards(stream, "a1b2", None, {})
        stream.rewind(resumed_after)
        for step in steps:
            stream.append({"step": step, "loss": 1.0})
        stream.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("training/loss")] == [10, 20, 30, 40]


def test_wandb_goes_on_under_the_same_id_and_sends_nothing_twice(tmp_path, monkeypatch):
    run = RecordedRun(step=21)
    calls = fake_wandb(monkeypatch, run)
    stream = MetricsStream(tmp_path / "metrics.jsonl")
    stream.forward_to(WeightsAndBiases("cloze", "a1b2", tmp_path, {"max_steps": 40}))
    stream.rewind(10)
    for step in (20, 30):
        stream.append({"step": step, "loss": 1.0})
    stream.close()
    assert calls == [
        {
            "project": "cloze",
            "id": "a1b2",
            "resume": "allow",
            "dir": str(tmp_path),
            "config": {"max_steps": 40},
        }
    ]
    assert run.logged == [({"training/loss": 1.0}, 30)]
    assert run.finished


def test_wandb_without_its_package_is_an_error_that_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    stream = MetricsStream(tmp_path / "metrics.jsonl")
    with pytest.raises(ClozeError, match=r"--wandb cloze: .*pip install wandb"):
        open_dashboards(stream, "a1b2", "cloze", {})


def test_a_wandb_run_that_cannot_be_opened_is_an_error_that_says_why(tmp_path, monkeypatch):
    fake_wandb(monkeypatch, OSError("no route to host"))
    with pytest.raises(ClozeError, match=r"--wandb cloze: no route to host; `wandb login` first"):
        WeightsAndBiases("cloze", "a1b2", tmp_path, {})
