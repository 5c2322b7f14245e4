"""Every setting once, and what `config.yaml` makes of them: runs and their files."""
