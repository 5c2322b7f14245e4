"""The configuration that an encoder's settings stand for."""

import argparse

from cloze.model.encoder import EncoderConfig
from cloze.settings.encoders import ArchitectureSettings
from cloze.settings.fields import keys_of


def encoder_config(
    settings: ArchitectureSettings | argparse.Namespace,
    vocab_size: int,
    pad_token_id: int,
    dropout: float,
) -> EncoderConfig:
    """Return the configuration that the settings of an architecture describe."""
    shape = {key.name: getattr(settings, key.name) for key in keys_of(ArchitectureSettings)}
    config = EncoderConfig(vocab_size=vocab_size, pad_token_id=pad_token_id, **shape)
    return config.with_dropout(dropout)
