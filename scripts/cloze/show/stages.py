"""What the stages before a report say of themselves, read from their folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloze.files import read_json
from cloze.tasks.evaluations import Evaluations
from cloze.tokens.manifest import read_manifest

_PRETRAINING_KEYS = (
    "num_parameters",
    "steps",
    "tokens",
    "epochs",
    "train_seconds",
    "tokens_per_second",
    "validation_loss",
    "unigram_entropy",
    "validation_accuracy",
    "bits_per_byte",
)
_ARCHITECTURE_KEYS = (
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "vocab_size",
)


def finetuning_facts(evaluations: Evaluations) -> dict[str, Any]:
    """Return the recipe of a fine-tuning, and score on its own training split, by seed."""
    first = evaluations.seeds[0].metrics.get("finetuning", {})
    return {
        "recipe": first.get("recipe", {}),
        "train_score": evaluations.values("finetuning", "train_score"),
        "train_accuracy": evaluations.values("finetuning", "train_accuracy"),
        "train_seconds": evaluations.values("finetuning", "train_seconds"),
        "truncated_texts": first.get("truncated_texts"),
        "num_parameters": first.get("num_parameters"),
    }


def pretraining_facts(folder: Path | None) -> dict[str, Any] | None:
    """Return what `pretrain.py`, or `import_encoder.py`, wrote of a model folder."""
    if folder is None:
        return None
    metrics = read_json(folder / "metrics.json")["metrics"]
    config = read_json(folder / "config.json")
    return {
        **{key: metrics[key] for key in _PRETRAINING_KEYS if key in metrics},
        "architecture": {key: config[key] for key in _ARCHITECTURE_KEYS if key in config},
    }


def dataset_facts(folder: Path | None) -> dict[str, Any] | None:
    """Return method, lengths and token counts of a data set."""
    if folder is None:
        return None
    manifest = read_manifest(folder)
    return {
        "method": manifest.method,
        "max_length": manifest.max_length,
        "vocab_size": manifest.vocab_size,
        "splits": {
            name: {"tokens": split.tokens, "samples": split.samples, "rows": split.rows}
            for name, split in manifest.splits.items()
        },
    }


def corpus_facts(folder: Path | None) -> dict[str, Any] | None:
    """Return what `extract_documents.py` counted."""
    return None if folder is None else dict(read_json(folder / "metrics.json")["metrics"])


def provenance(folders: Mapping[str, Path | None]) -> list[dict[str, Any]]:
    """Return of each stage, in order, what its `metrics.json` says it was made from.

    Keys: `stage`, `args`, `inputs` (name to sha256), `code` (module to digest), `environment`,
    `seconds`; those a folder does not tell of are left out.
    """
    keys = ("args", "inputs", "code", "environment", "seconds")
    found = []
    for stage, folder in folders.items():
        path = None if folder is None else folder / "metrics.json"
        if path is not None and path.is_file():
            content = read_json(path)
            found.append({"stage": stage, **{key: content[key] for key in keys if key in content}})
    return found
