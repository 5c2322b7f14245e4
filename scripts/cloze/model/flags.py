"""The flags that fix an encoder's shape, and the configuration they stand for."""

import argparse

from cloze.cli import positive_float, positive_int
from cloze.model.encoder import LAYOUTS, POSITION_EMBEDDING_TYPES, EncoderConfig


def add_architecture_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each key of an `architectures` entry."""
    group = parser.add_argument_group("architecture")
    group.add_argument("--layout", choices=LAYOUTS, default="bert", help="kind of encoder")
    group.add_argument("--hidden-size", type=positive_int, default=256, help="vector size")
    group.add_argument("--num-hidden-layers", type=positive_int, default=4, help="layers")
    group.add_argument("--num-attention-heads", type=positive_int, default=4, help="heads")
    group.add_argument("--intermediate-size", type=positive_int, default=1024, help="of the MLP")
    group.add_argument(
        "--max-position-embeddings", type=positive_int, default=512, help="longest sample"
    )
    group.add_argument(
        "--position-embedding-type",
        choices=POSITION_EMBEDDING_TYPES,
        default="absolute",
        help="positions (bert); transformers 5 cannot read relative_key",
    )
    group.add_argument(
        "--layer-norm-eps", type=positive_float, default=1e-12, help="added to the variance"
    )
    group.add_argument(
        "--rope-theta", type=positive_float, default=10_000.0, help="rotary base (modernbert)"
    )


def encoder_config(
    args: argparse.Namespace, vocab_size: int, pad_token_id: int, dropout: float
) -> EncoderConfig:
    """Return the configuration that the flags of `add_architecture_flags` describe."""
    return EncoderConfig(
        vocab_size=vocab_size,
        layout=args.layout,
        hidden_size=args.hidden_size,
        num_hidden_layers=args.num_hidden_layers,
        num_attention_heads=args.num_attention_heads,
        intermediate_size=args.intermediate_size,
        max_position_embeddings=args.max_position_embeddings,
        position_embedding_type=args.position_embedding_type,
        layer_norm_eps=args.layer_norm_eps,
        rope_theta=args.rope_theta,
        pad_token_id=pad_token_id,
    ).with_dropout(dropout)
