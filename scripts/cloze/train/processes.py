"""The processes that train together: who they are and what they agree on.

`torchrun` starts them and says so in the environment (`RANK`, `WORLD_SIZE`, `LOCAL_RANK`,
`LOCAL_WORLD_SIZE`). Without it there is one process, and nothing here costs anything.
"""

import contextlib
import datetime
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cloze.cli import log
from cloze.errors import ClozeError

# The others wait while the first process evaluates or compiles.
_PATIENCE = datetime.timedelta(hours=2)


@dataclass(frozen=True)
class World:
    """`size` processes, this one number `rank`; `local_size` of them on this machine."""

    rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes, evaluates and decides."""
        return self.rank == 0

    def part(self, batch_size: int) -> tuple[int, int] | None:
        """Return this process's examples (start, stop) of a global batch; None for all of them.

        Raises `ClozeError` unless the batch can be shared out evenly.
        """
        if self.size == 1:
            return None
        if batch_size % self.size:
            raise ClozeError(
                f"train_batch_size: {batch_size} rows cannot be shared by {self.size} processes; "
                "start a number of them that divides it"
            )
        own = batch_size // self.size
        return self.rank * own, (self.rank + 1) * own

    def agree(self, stop: bool, readings: tuple[float, ...]) -> tuple[bool, tuple[float, ...]]:
        """Return whether any process wants to stop, and the main process's readings."""
        if self.size == 1:
            return stop, readings
        values = torch.zeros(1 + len(readings), dtype=torch.float64)
        values[0] = float(stop)
        if self.is_main:
            values[1:] = torch.tensor(readings, dtype=torch.float64)
        dist.all_reduce(values)
        return bool(values[0] > 0), tuple(values[1:].tolist())

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of a tensor over the processes."""
        return self.total(values) / self.size if self.size > 1 else values

    def broadcast(self, model: nn.Module) -> None:
        """Give every process the main process's weights."""
        if self.size > 1:
            for value in model.state_dict().values():
                dist.broadcast(value, 0)

    def least(self, value: int) -> int:
        """Return the least of the processes' values."""
        if self.size == 1:
            return value
        shared = torch.tensor([value])
        dist.all_reduce(shared, dist.ReduceOp.MIN)
        return int(shared)

    def share(self, value: Any) -> Any:
        """Return what the main process holds: any JSON value."""
        if self.size == 1:
            return value
        text = json.dumps(value).encode() if self.is_main else b""
        length = torch.tensor([len(text)])
        dist.broadcast(length, 0)
        content = torch.zeros(int(length), dtype=torch.uint8)
        if self.is_main:
            content = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        dist.broadcast(content, 0)
        return json.loads(bytes(content.tolist()))


@contextlib.contextmanager
def open_world(device: str) -> Iterator[World]:
    """Join the processes that `torchrun` started, if it did, for the length of the block.

    `device` as in `--device`. Gradients travel by NCCL between GPUs and by gloo between
    CPUs; what is agreed on always by gloo, so that no GPU is waited for. Raises `ClozeError` if
    there are more processes than GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    on_gpus = device in ("auto", "cuda") and torch.cuda.is_available()
    if on_gpus:
        local_rank, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local_rank >= there:
            raise ClozeError(
                f"process {local_rank + 1} of this machine has no GPU, since there are {there}; "
                "start one process a GPU, as --set-resources with gpu= does"
            )
        torch.cuda.set_device(local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=_PATIENCE)
    world = World(dist.get_rank(), size, int(os.environ.get("LOCAL_WORLD_SIZE", size)))
    if not world.is_main:
        _leave_the_log_to_the_main_process()
    try:
        yield world
    finally:
        dist.destroy_process_group()


def _leave_the_log_to_the_main_process() -> None:
    log.setLevel(logging.WARNING)
    for handler in list(log.handlers):
        if isinstance(handler, logging.FileHandler):
            log.removeHandler(handler)
            handler.close()
