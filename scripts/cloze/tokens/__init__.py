"""From documents to token ids: tokenizers, samples, packed rows, shards."""
