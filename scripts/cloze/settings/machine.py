"""Where and how fast a script computes: no part of any recipe."""

from dataclasses import dataclass

from cloze.machine import available_cores
from cloze.settings.fields import setting

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
COMPILE_MODES = ("auto", "on", "off")


@dataclass(frozen=True, kw_only=True)
class ThreadSettings:
    """What whatever uses several cores may be told."""

    threads: int = setting(
        available_cores, "CPU threads to use, at most the cores there are", minimum=1
    )


@dataclass(frozen=True, kw_only=True)
class ComputeSettings(ThreadSettings):
    """What whatever computes with a model may be told."""

    device: str = setting("auto", "where to compute", choices=DEVICES)
    precision: str = setting("auto", "of the matrix products", choices=PRECISIONS)


@dataclass(frozen=True, kw_only=True)
class CompiledSettings(ComputeSettings):
    """What whatever takes many steps may be told too."""

    compile: str = setting("auto", "torch.compile", choices=COMPILE_MODES)


@dataclass(frozen=True, kw_only=True)
class MachineSettings(CompiledSettings):
    """What a trainer may be told."""

    checkpoint_seconds: float = setting(
        120.0, "time between checkpoints: what a kill can cost", minimum=0
    )
    gradient_accumulation_steps: int | None = setting(
        None,
        "parts in which a process computes its rows; default: as few as fit into a GPU",
        minimum=1,
    )
    gradient_checkpointing: bool = setting(
        False, "keep only the inputs of layers and compute the rest again: slower, less memory"
    )
