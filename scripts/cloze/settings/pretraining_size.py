"""What a pretraining needs, as far as its configuration tells: what it asks a cluster for."""

from dataclasses import dataclass
from typing import Self

from cloze.settings.config import Config

_UNKNOWN_VOCAB_SIZE, _UNKNOWN_BATCH_SIZE = 32_768, 256
# Of BERT base: what an encoder to adapt is taken for, whose folder may not be here yet.
_UNKNOWN_SHAPE = {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072}
# Of a process without a model: PyTorch, what it compiles, the workflow around it.
_BASE_MB = 1500
# Weights, gradients, two moments of AdamW, all in fp32, and a copy while a checkpoint is written.
_BYTES_A_PARAMETER = 20
# Of a layer's activations for each token and unit (Korthikanti et al. 2022, §4.1), in fp32.
_BYTES_A_UNIT = 68
# Of an old core. Where a job ends too early, the next goes on at its checkpoint.
_FLOP_A_SECOND = 1e10


@dataclass(frozen=True)
class PretrainingSize:
    """An encoder's parameters and layers, the tokens of its batch and of its whole training.

    `tokens`: None where the clock ends it, after `budget` seconds.
    """

    parameters: int
    units: int
    batch_tokens: int
    tokens: int | None
    budget: float | None

    @classmethod
    def of(cls, config: Config, tokenizer: str, dataset: str, encoder: str, phase: int = 1) -> Self:
        """Return the size of an encoder's training in a phase; `dataset` is that of the first."""
        section = config.section("encoders", encoder)
        if config.adaptation(encoder) is None:
            shape = config.section("architectures", section["architecture"])
            vocab_size = config.section("tokenizers", tokenizer).get("vocab_size")
        else:
            shape, vocab_size = _UNKNOWN_SHAPE, None
        recipe = section if phase == 1 else section["phases"][phase - 2]
        data = config.section("datasets", config.phase_dataset(encoder, phase, dataset))
        width, layers = shape["hidden_size"], shape["num_hidden_layers"]
        vocab = vocab_size or _UNKNOWN_VOCAB_SIZE
        # Of an MLP with a gate; one without has two matrices.
        layer = 4 * width**2 + 3 * width * shape["intermediate_size"]
        rows = recipe.get("train_batch_size") or _UNKNOWN_BATCH_SIZE
        batch_tokens = rows * (data.get("row_length") or data["max_length"])
        steps = recipe.get("max_steps")
        return cls(
            parameters=vocab * (shape.get("embedding_size") or width) + layers * layer,
            units=layers * width,
            batch_tokens=batch_tokens,
            tokens=steps * batch_tokens if steps else recipe.get("max_tokens"),
            budget=recipe.get("budget"),
        )

    def memory_mb(self, processes: int) -> int:
        """Return the MB of so many processes that share a batch, the data set apart."""
        state = processes * self.parameters * _BYTES_A_PARAMETER
        activations = self.batch_tokens * self.units * _BYTES_A_UNIT
        return processes * _BASE_MB + (state + activations) // 10**6

    def seconds(self, cores: int) -> float:
        """Return how long the training takes at most on so many cores."""
        if self.tokens is None:
            return self.budget or 0.0
        return 6 * self.parameters * self.tokens / (cores * _FLOP_A_SECOND)
