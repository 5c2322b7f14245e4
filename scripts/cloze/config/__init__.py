"""What `config.yaml` says, checked and resolved to runs; no step reads it."""
