"""A command `sinfo` that tells of a cluster which is not there."""

from pathlib import Path


def write_sinfo(folder: Path, text: str) -> Path:
    """Write the command to a folder, which is then to be put on the PATH; it prints the text."""
    command = folder / "sinfo"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\n", encoding="utf-8")
    command.chmod(0o755)
    return command
