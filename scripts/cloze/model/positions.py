"""Positions of longer texts than an encoder was trained on, as a start for training on these.

Rotary positions get a higher base, learned ones are repeated, and a distance beyond the farthest
known one counts as that. benchmarks/position_extension.py compares these with other methods.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from cloze.cli import log
from cloze.model.encoder import EncoderConfig
from cloze.model.weights import hf_names


@dataclass(frozen=True)
class Extension:
    """From texts of `trained_length` tokens, those that an encoder has seen, to texts of `length`.

    Where it has seen texts as long, nothing changes; none is longer than it has positions for.
    """

    trained_length: int
    length: int

    def shape(self, config: EncoderConfig) -> EncoderConfig:
        """Return the shape that an encoder of this one has for the longer texts."""
        trained = min(self.trained_length, config.max_length)
        if self.length <= trained:
            return config
        positions = max(config.max_position_embeddings, self.length + config.first_position)
        longer = dataclasses.replace(config, max_position_embeddings=positions)
        how = "learned ones are repeated"
        if config.facts.is_pre_norm:
            base = stretched_base(config.rope_theta, self.length / trained, config.head_size)
            longer = dataclasses.replace(longer, rope_theta=base)
            how = f"rope_theta {config.rope_theta:g} becomes {base:g}"
        log.info("positions extended from %d to %d tokens: %s", trained, self.length, how)
        return longer

    def weights(self, weights: dict[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
        """Return weights, under `transformers` names, with positions for the longer texts.

        The trained positions repeat (Beltagy et al. 2020, "Longformer", §5), which leaves each
        token the neighbours it had; those that the encoder has but never saw are replaced, too. A
        distance farther than all that were seen gets the embedding of the farthest (Shaw et al.
        2018, §3.2).
        """
        trained = min(self.trained_length, config.max_length)
        if self.length <= trained or config.facts.is_pre_norm:
            return weights
        first = config.first_position
        positions = max(config.max_position_embeddings, self.length + first)
        if config.has_relative_positions:
            distances = torch.arange(1 - positions, positions).clamp(1 - trained, trained - 1)
            rows = distances + config.max_position_embeddings - 1
            tables = [
                f"encoder.layers.{layer}.attention.distance_embedding.weight"
                for layer in range(config.num_hidden_layers)
            ]
        else:
            repeated = first + torch.arange(positions - first) % trained
            rows = torch.cat((torch.arange(first), repeated))
            tables = ["encoder.position_embedding.weight"]
        names = [name for table in tables for name in hf_names(table, config.layout)]
        return weights | {name: weights[name][rows] for name in names}


def stretched_base(base: float, factor: float, head_size: int) -> float:
    """Return the rotary base with which texts may be `factor` times as long.

    The slowest pair of features turns `factor` times slower, so as far over the longer text as it
    did over the shorter, and the fastest as before, so that neighbours are told apart as they
    were: "NTK-aware" scaling (Peng et al. 2023, "YaRN", §3.1). Two features are one pair, which
    no base changes.
    """
    return base if head_size == 2 else round(base * factor ** (head_size / (head_size - 2)))
