"""What the pretraining benchmarks train on, and how; `scripts/pretrain.py` before a gate.

Ours is the script itself, called with flags, held before each step of its loop.
"""

import contextlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import torch
from contest import FinishedError, Gate

sys.path.insert(0, str(measure.SCRIPTS))

from cloze.model.encoder import EncoderConfig
from cloze.tokens.manifest import read_manifest

# A schedule for a run of usual length, so that `auto` decides as it would there.
USUAL_STEPS = 100_000
SAME_BATCH = "same batch"
"""Mode of a gate's block in which every step trains on one batch: what is left without a loader."""
ADAM_BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class Shape:
    """An encoder; feed-forward size and heads follow from the hidden size as in BERT."""

    layout: str
    hidden_size: int
    num_hidden_layers: int
    max_length: int

    @property
    def num_attention_heads(self) -> int:
        """Heads of 64 features."""
        return max(1, self.hidden_size // 64)

    @property
    def intermediate_size(self) -> int:
        """Four times the hidden size."""
        return 4 * self.hidden_size


@dataclass(frozen=True)
class Setting:
    """What both train on and how; `precision` and `compile` are the peer's."""

    shape: Shape
    dataset: Path
    tokenizer: Path
    batch_size: int
    learning_rate: float
    max_steps: int
    warmup_steps: int
    seed: int
    threads: int
    device: str
    dropout: float = 0.1
    precision: str = "fp32"
    compile: bool = False
    flags: tuple[str, ...] = ()
    """More flags for `pretrain.py`."""
    output: Path | None = None
    """Where the trained model goes; None: nowhere."""

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimizer step."""
        return self.batch_size * self.shape.max_length


def encoder_config(setting: Setting) -> EncoderConfig:
    """Return the shape with the data set's vocabulary, as `pretrain.py` makes it."""
    shape = setting.shape
    return EncoderConfig(
        vocab_size=read_manifest(setting.dataset).vocab_size,
        layout=shape.layout,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        intermediate_size=shape.intermediate_size,
        max_position_embeddings=shape.max_length,
    )


def prepare_data(
    documents: list[Path], format: str, vocab_size: int, max_length: int, work: Path
) -> tuple[Path, Path]:
    """Make a tokenizer of exactly `vocab_size` entries and rows of `max_length` tokens.

    Returns tokenizer.json and the data set's folder. What `work` already holds is kept.
    """
    tokenizer, dataset = work / "tokenizer" / "tokenizer.json", work / "dataset"
    if not (dataset / "manifest.json").is_file():
        folder = work / "documents"
        measure.run(
            measure.python(
                "extract_documents.py",
                "--input",
                *documents,
                *("--format", format, "--output", folder),
            )
        )
        measure.run(
            measure.python(
                "train_tokenizer.py",
                *("--documents", folder / "train.parquet", "--output", tokenizer.parent),
                *("--vocab-size", str(vocab_size), "--lowercase"),
                *("--pad-vocab-to-multiple-of", str(vocab_size)),
            )
        )
        measure.run(
            measure.python(
                "split_tokens.py",
                *("--documents", folder, "--tokenizer", tokenizer, "--output", dataset),
                *("--max-length", str(max_length)),
            )
        )
    return tokenizer, dataset


def train_ours(gate: Gate, setting: Setting) -> dict[str, Any]:
    """Run `pretrain.py` until the gate or its last step ends it; returns how it computed."""
    import pretrain
    from cloze.files import read_json
    from cloze.objectives.rows import RowBatches
    from cloze.train.step import TrainingStep

    step, training_batch = TrainingStep.__call__, RowBatches.training_batch
    kept: dict[str, Any] = {}

    def gated_step(self: TrainingStep, *args: Any) -> Any:
        gate.pass_through()
        return step(self, *args)

    def same_batch(self: RowBatches, *args: Any) -> Any:
        if gate.mode != SAME_BATCH:
            return training_batch(self, *args)
        if "batch" not in kept:
            kept["batch"] = training_batch(self, *args)
        return kept["batch"]

    TrainingStep.__call__ = gated_step  # type: ignore[method-assign, assignment]
    RowBatches.training_batch = same_batch  # type: ignore[method-assign, assignment]
    with tempfile.TemporaryDirectory() as temporary:
        runs = Path(temporary, "runs")
        output = setting.output or Path(temporary, "model")
        args = pretrain.build_parser().parse_args(our_flags(setting, output, runs))
        with contextlib.suppress(FinishedError):
            pretrain.run(args)
        compute = read_json(next(runs.glob("*/run.json")))["compute"]
    facts: dict[str, Any] = {"compute": compute}
    if compute["device"] == "cuda":
        facts["peak_gpu_mb"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    return facts


def our_flags(setting: Setting, output: Path, runs: Path) -> list[str]:
    """Return the command line of `pretrain.py` for a setting."""
    shape = setting.shape
    never = str(10 * setting.max_steps)
    return [
        *("--dataset", str(setting.dataset), "--tokenizer", str(setting.tokenizer)),
        *("--output", str(output), "--run-dir", str(runs)),
        *("--layout", shape.layout, "--hidden-size", str(shape.hidden_size)),
        *("--num-hidden-layers", str(shape.num_hidden_layers)),
        *("--num-attention-heads", str(shape.num_attention_heads)),
        *("--intermediate-size", str(shape.intermediate_size)),
        *("--max-position-embeddings", str(shape.max_length)),
        *("--max-steps", str(setting.max_steps), "--warmup-steps", str(setting.warmup_steps)),
        *("--train-batch-size", str(setting.batch_size), "--mlm-probability", "0.15"),
        *(
            "--optimizer",
            "adamw",
            "--learning-rate",
            str(setting.learning_rate),
            "--lr-scheduler-type",
            "linear",
        ),
        *("--adam-beta1", str(ADAM_BETAS[0]), "--adam-beta2", str(ADAM_BETAS[1])),
        *("--adam-epsilon", str(ADAM_EPSILON), "--weight-decay", "0", "--max-grad-norm", "1"),
        *("--eval-steps", never, "--checkpoint-seconds", "1e9", "--seed", str(setting.seed)),
        *("--device", setting.device, "--threads", str(setting.threads)),
        *setting.flags,
    ]
