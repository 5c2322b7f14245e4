"""A small configuration, and changes to it."""

from typing import Any

from cloze.settings.config import Config

HUB = "hf://datasets/owner/name@0123456789abcdef0123456789abcdef01234567"


def minimal() -> dict[str, Any]:
    return {
        "corpus": "mine",
        "tokenizer": "words",
        "dataset": "short",
        "encoder": "small",
        "reports": {"sst2": {"task": "mood"}},
        "corpora": {"mine": {"format": "text", "files": ["a.txt"]}},
        "tokenizers": {"words": {}},
        "datasets": {"short": {"method": "segment_text"}},
        "architectures": {"tiny": {}},
        "encoders": {"small": {"architecture": "tiny", "max_steps": 1000}},
        "tasks": {
            "mood": {
                "train": "train.tsv",
                "validation": "validation.tsv",
                "text_column": "sentence",
                "label_column": "label",
            }
        },
    }


def config(**changes: Any) -> Config:
    """A minimal configuration with values put at dotted paths, `__` for the dots."""
    raw = minimal()
    for path, value in changes.items():
        *parents, key = path.split("__")
        place = raw
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = value
    return Config(raw)


def flag(flags: list[str], name: str) -> str:
    return flags[flags.index(name) + 1]
