"""What a report is made from, whether it belongs together, and what each stage says of itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloze.errors import ClozeError
from cloze.files import read_object
from cloze.metrics import read_metrics
from cloze.tasks.evaluations import Evaluations
from cloze.tasks.lineage import is_encoder
from cloze.tasks.task import Task
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
    "masked_bits_per_byte",
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
_OF_DISTILBERT = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
}


@dataclass(frozen=True)
class Sources:
    """What a report tells of one split from; None for what a model from elsewhere does not have.

    `scratch`: the same encoder without pretraining. `ceiling`: the name of a public encoder
    and its evaluations. `checkpoints`: those of the encoder as it was after so many percent of
    its pretraining. `phases`: the model folders of the phases before the last of it. `unadapted`:
    it as it was before it was adapted; `adapted_tokenizer`, what `extend_tokenizer.py` wrote, and
    `masked_lm`, corpus to what `evaluate_masked_lm.py` wrote before and after.
    """

    task: Task
    evaluations: Evaluations
    baselines: Path
    scratch: Evaluations | None = None
    ceiling: tuple[str, Evaluations] | None = None
    checkpoints: Mapping[int, Evaluations] = field(default_factory=dict)
    pretraining: Path | None = None
    phases: Sequence[Path] = ()
    dataset: Path | None = None
    documents: Path | None = None
    contamination: Path | None = None
    unadapted: Evaluations | None = None
    adapted_tokenizer: Path | None = None
    masked_lm: Mapping[str, tuple[Path, Path]] = field(default_factory=dict)
    recipe: Mapping[str, str] = field(default_factory=dict)

    @property
    def split(self) -> str:
        """The split that was evaluated."""
        return str(self.evaluations.seeds[0].metrics["split"])


def require_task(sources: Sources) -> None:
    """Raise `ClozeError` unless the evaluations are of the task and the encoder as they are now."""
    for seed in sources.evaluations.seeds:
        if seed.metrics["task"] != sources.task.name:
            raise ClozeError(
                f"{sources.task.folder}: is the task {sources.task.name}, the evaluations are of "
                f"{seed.metrics['task']}; give the task folder that was evaluated"
            )
    rows = sources.task.split(sources.split)
    if rows.texts != sources.evaluations.texts:
        raise ClozeError(
            f"{sources.task.folder}: its {sources.split} split has changed since the evaluations "
            "were made; run evaluate.py again"
        )
    encoder, first = sources.evaluations.lineage.encoder, sources.evaluations.seeds[0].folder
    if sources.pretraining is not None and not is_encoder(sources.pretraining, encoder):
        raise ClozeError(
            f"{sources.pretraining}: holds another encoder than {first} was fine-tuned from; "
            "fine-tune and evaluate these seeds again"
        )


def read_baselines(sources: Sources) -> dict[str, Any]:
    """Return what baselines.py measured on the split, by baseline.

    Raises `ClozeError` if it was on other rows.
    """
    metrics = read_metrics(sources.baselines)["metrics"]
    measured = dict(metrics.get("splits", {}).get(sources.split, {}))
    rows = sources.evaluations.num_examples
    same_rows = measured and all(
        len(found.get("predictions", found.get("statistics", ()))) == rows
        for found in measured.values()
    )
    if metrics["task"] != sources.task.name or not same_rows:
        raise ClozeError(
            f"{sources.baselines}: was made on other rows than the evaluations; "
            "run baselines.py again on this task"
        )
    return measured


def read_contamination(sources: Sources) -> dict[str, Any] | None:
    """Return what find_contamination.py counted in the pretraining text, if it was looked for.

    Raises `ClozeError` if it looked for other rows.
    """
    if sources.contamination is None:
        return None
    metrics = read_metrics(sources.contamination)["metrics"]
    found = metrics["splits"].get(sources.split, {})
    if (
        metrics["task"] != sources.task.name
        or found.get("rows") != sources.evaluations.num_examples
    ):
        raise ClozeError(
            f"{sources.contamination}: was made on other rows than the evaluations; "
            "run find_contamination.py again on this task"
        )
    return dict(found)


def finetuning_facts(evaluations: Evaluations) -> dict[str, Any]:
    """Return the recipe of a fine-tuning, and score on its own training split, by seed.

    `encoder` holds the SHA-256 of the files that it started from.
    """
    first = evaluations.seeds[0].metrics.get("finetuning", {})
    return {
        "encoder": dict(evaluations.lineage.encoder),
        "recipe": first.get("recipe", {}),
        "train_score": evaluations.values("finetuning", "train_score"),
        "train_accuracy": evaluations.values("finetuning", "train_accuracy"),
        "train_seconds": evaluations.values("finetuning", "train_seconds"),
        "truncated_texts": first.get("truncated_texts"),
        "num_parameters": first.get("num_parameters"),
    }


def pretraining_facts(folder: Path | None) -> dict[str, Any] | None:
    """Return what `pretrain.py`, or `import_encoder.py`, wrote of a model folder.

    With the name of the data set and, where `show_pretraining.py` wrote them there, `diagnosis`,
    its sentences, and what it measured by position and distance.
    """
    if folder is None:
        return None
    record = read_metrics(folder / "metrics.json")
    metrics, args = record["metrics"], record.get("args", {})
    config = read_object(folder / "config.json")
    shown = folder / "diagnosis.json"
    return {
        **{key: metrics[key] for key in _PRETRAINING_KEYS if key in metrics},
        **(read_metrics(shown)["metrics"] if shown.is_file() else {}),
        **({"dataset": Path(args["dataset"]).name} if "dataset" in args else {}),
        "architecture": {
            key: config.get(key, config.get(_OF_DISTILBERT.get(key, key)))
            for key in _ARCHITECTURE_KEYS
        },
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
    return None if folder is None else dict(read_metrics(folder / "metrics.json")["metrics"])


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
            content = read_metrics(path)
            found.append({"stage": stage, **{key: content[key] for key in keys if key in content}})
    return found
