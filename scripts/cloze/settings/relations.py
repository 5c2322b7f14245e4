"""What holds between the keys and the entries of a configuration, which no type can say."""

from collections.abc import Iterator, Mapping
from typing import Any

from cloze.errors import ClozeError
from cloze.settings.checking import require_known
from cloze.settings.entries import (
    AdaptedEntry,
    Configuration,
    CorpusEntry,
    EncoderEntry,
    ImportedEntry,
    MixtureEntry,
    SegmentTextEntry,
    SplitFiles,
    SplitTokensEntry,
    TaskEntry,
)
from cloze.settings.fields import keys_of
from cloze.settings.finetuning import FinetuningLength
from cloze.settings.pretraining import PretrainingLength, PretrainingSettings
from cloze.settings.tables import DialectSettings
from cloze.settings.tasks import (
    METRICS_OF,
    METRICS_OF_TWO_CLASSES,
    conflict,
    default_objective,
    missing_columns,
)

_TABLES = ("jsonl", "csv", "tsv", "parquet")
_METHODS = {"segment_text": SegmentTextEntry, "split_tokens": SplitTokensEntry}
_LEAVE_OUT = "leave it out, or set it to null where another file gives it"
_METHOD_KEYS = {key.name for entry in _METHODS.values() for key in keys_of(entry)}


def check_kinds(raw: Mapping[str, Any]) -> None:
    """Raise `ClozeError` for an entry that is two things at once.

    A corpus is files or a mixture, a data set has the keys of its method, an encoder is pretrained
    here, adapted, or comes from elsewhere. Called on what the user wrote, so that the message need
    not speak of unknown keys.
    """
    for name, given in _entries(raw, "corpora"):
        if "mixture" in given and (others := given - {"mixture"}):
            raise ClozeError(
                f"config: corpora.{name}.{min(others)}: a mixture is made of other corpora's "
                "documents and has no other key; leave it out"
            )
    for name, given in _entries(raw, "datasets"):
        method = str(raw["datasets"][name].get("method"))
        known = {key.name for key in keys_of(_METHODS[method])} if method in _METHODS else given
        for key in sorted(given & _METHOD_KEYS - known):
            raise ClozeError(
                f"config: datasets.{name}.{key}: method {method} has no {key}; {_LEAVE_OUT} "
                f"({key}: null)"
            )
    for name, given in _entries(raw, "encoders"):
        if "pretrained" in given and (others := given - {"pretrained", "files", "unpickle"}):
            raise ClozeError(
                f"config: encoders.{name}: has pretrained and {', '.join(sorted(others))}, but an "
                "encoder from elsewhere brings its own shape and is not pretrained here; remove "
                "them, or write adapt in place of pretrained to train it further"
            )
        if "adapt" in given and (others := given & {"architecture", "init_from"}):
            raise ClozeError(
                f"config: encoders.{name}: has adapt and {', '.join(sorted(others))}, but what is "
                "adapted brings its own shape and weights; remove one or the other"
            )
        if {"adapt", "phases"} <= given:
            raise ClozeError(
                f"config: encoders.{name}: has adapt and phases, but an adaptation is one phase; "
                "remove phases, and to go on after it adapt the folder that it leaves in an entry "
                "of its own"
            )


def _entries(raw: Mapping[str, Any], table: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the entries of a table with their keys that have a value."""
    entries = raw.get(table)
    for name, entry in entries.items() if isinstance(entries, Mapping) else ():
        if isinstance(entry, Mapping):
            yield name, {key for key, value in entry.items() if value is not None}


def check_entries(settings: Configuration) -> None:
    """Raise `ClozeError` unless names are known, and lengths and mixtures make sense."""
    for name, corpus in settings.corpora.items():
        if isinstance(corpus, MixtureEntry):
            _check_mixture(settings, name, corpus)
            continue
        for task in corpus.decontaminate:
            require_known(task, settings.tasks, "tasks", f"corpora.{name}.decontaminate")
        _check_corpus(f"corpora.{name}", corpus)
    for name, entry in settings.tasks.items():
        _check_task(f"tasks.{name}", entry)
    for name, encoder in settings.encoders.items():
        _check_encoder(settings, f"encoders.{name}", encoder)
    for name, entry in settings.tasks.items():
        for key in ("finetuning", "finetuning_from_scratch"):
            _check_one_length(FinetuningLength, getattr(entry, key), f"tasks.{name}.{key}")


def _check_encoder(
    settings: Configuration, path: str, encoder: EncoderEntry | AdaptedEntry | ImportedEntry
) -> None:
    if isinstance(encoder, ImportedEntry):
        return
    _check_budget(encoder, path)
    if isinstance(encoder, AdaptedEntry):
        _check_adapted(settings, path, encoder)
        return
    require_known(
        encoder.architecture, settings.architectures, "architectures", f"{path}.architecture"
    )
    for number, phase in enumerate(encoder.phases):
        where = f"{path}.phases[{number}]"
        require_known(phase.dataset, settings.datasets, "datasets", f"{where}.dataset")
        _check_budget(phase, where)


def _check_adapted(settings: Configuration, path: str, encoder: AdaptedEntry) -> None:
    named = settings.encoders.get(encoder.adapt)
    if named is not None and not isinstance(named, ImportedEntry):
        raise ClozeError(
            f"config: {path}.adapt: {encoder.adapt} is made here, of a corpus, a tokenizer and a "
            "data set; name the folder that it lies in, such as "
            f"results/CORPUS/TOKENIZER/DATASET/{encoder.adapt}"
        )
    if encoder.general_corpus is not None:
        require_known(encoder.general_corpus, settings.corpora, "corpora", f"{path}.general_corpus")


def _check_corpus(path: str, corpus: CorpusEntry) -> None:
    """Raise `ClozeError` for keys that the corpus's format does not read, and for no split."""
    for key in keys_of(DialectSettings):
        if getattr(corpus, key.name) != key.default and corpus.format not in ("csv", "tsv"):
            raise ClozeError(
                f"config: {path}.{key.name}: is about csv and tsv, and the format is "
                f"{corpus.format}; {_LEAVE_OUT} ({key.name}: null)"
            )
    if corpus.title_column and corpus.format not in _TABLES:
        raise ClozeError(
            f"config: {path}.title_column: format {corpus.format} has no columns; "
            f"{_LEAVE_OUT} (title_column: null)"
        )
    if not isinstance(corpus.files, SplitFiles):
        if corpus.validation_fraction == 0:
            raise ClozeError(
                f"config: {path}.validation_fraction: is 0, but pretraining needs validation "
                "documents; raise it, or name files for validation"
            )
        if corpus.validation_fraction + corpus.test_fraction >= 1:
            raise ClozeError(
                f"config: {path}.validation_fraction: leaves with test_fraction nothing for train; "
                "lower one of the two"
            )


def _check_task(path: str, task: TaskEntry) -> None:
    """Raise `ClozeError` for keys of a task that exclude each other, or lack a column or a file."""
    if found := conflict(task):
        raise ClozeError(f"config: {path}.{found[0]}: {found[1]}")
    for key in missing_columns(task):
        raise ClozeError(f"config: {path}.{key}: missing; name the column of its files")
    if task.validation is None and task.hold_out_fraction is None:
        raise ClozeError(f"config: {path}.validation: missing; name its file, or hold_out_fraction")
    if task.hold_out_fraction in (0, 1):
        raise ClozeError(f"config: {path}.hold_out_fraction: leaves one side without rows")
    objective = task.objective or default_objective(task.regression)
    if objective == "regression" and task.labels and len(task.labels) > 1:
        raise ClozeError(
            f"config: {path}.labels: a task of scores has one, the score's name, or none; set it "
            "to null, or leave regression out"
        )
    metric, known = task.metric, METRICS_OF[objective]
    if metric is not None and metric not in known:
        raise ClozeError(
            f"config: {path}.metric: {metric} does not measure {objective}; use one of "
            f"{', '.join(known)}"
        )
    if metric in METRICS_OF_TWO_CLASSES and task.labels and len(task.labels) != 2:
        raise ClozeError(
            f"config: {path}.metric: F1 is that of the second of two labels, and labels has "
            f"{len(task.labels)}; use macro_f1"
        )


def _check_mixture(settings: Configuration, name: str, corpus: MixtureEntry) -> None:
    path = f"corpora.{name}.mixture"
    if not corpus.mixture:
        raise ClozeError(f"config: {path}: empty; name corpora with their weights")
    for part in corpus.mixture:
        require_known(part, settings.corpora, "corpora", f"{path}.{part}")
        if part == name:
            raise ClozeError(f"config: {path}.{part}: a mixture cannot hold itself")
        if isinstance(settings.corpora[part], MixtureEntry):
            raise ClozeError(f"config: {path}.{part}: is a mixture itself; name its corpora here")


def _check_budget(recipe: PretrainingSettings, path: str) -> None:
    if not _check_one_length(PretrainingLength, recipe, path):
        raise ClozeError(
            f"config: {path}: says nowhere how long to train; add one of max_steps, "
            "max_tokens and budget"
        )


def _check_one_length(cls: type, recipe: object, path: str) -> bool:
    """Return whether a recipe says how long it lasts; `ClozeError` if in several ways."""
    given = [key.name for key in keys_of(cls) if getattr(recipe, key.name) is not None]
    if len(given) > 1:
        raise ClozeError(
            f"config: {path}: has {' and '.join(given)}, but only one of them can "
            f"end a run; remove one, or set it to null where another file gives it "
            f"({given[0]}: null)"
        )
    return bool(given)


def check_pretraining(settings: Configuration, encoder_name: str, dataset_name: str) -> None:
    """Raise `ClozeError` if an encoder cannot learn from a data set, or in a phase, as it is to."""
    encoder = settings.encoders[encoder_name]
    if isinstance(encoder, ImportedEntry):
        return
    path = f"encoders.{encoder_name}"
    if isinstance(encoder, AdaptedEntry):
        _check_next_sentence(settings, encoder, dataset_name, path)
        return
    shape = settings.architectures[encoder.architecture]
    length = settings.datasets[dataset_name].max_length
    if length > shape.max_position_embeddings:
        raise ClozeError(
            f"config: {path}: datasets.{dataset_name} has samples of {length} tokens and "
            f"architectures.{encoder.architecture} max_position_embeddings "
            f"{shape.max_position_embeddings}; raise it, pick a data set of shorter samples, or "
            f"train on this one in one of {path}.phases, which extends positions"
        )
    _check_next_sentence(settings, encoder, dataset_name, path, shape.layout)
    for number, phase in enumerate(encoder.phases):
        where = f"{path}.phases[{number}]"
        _check_next_sentence(settings, phase, phase.dataset, where, shape.layout)


def _check_next_sentence(
    settings: Configuration,
    recipe: PretrainingSettings,
    dataset_name: str,
    path: str,
    layout: str | None = None,
) -> None:
    """layout: None of what is adapted, which tells its own only once it is there."""
    if not recipe.next_sentence:
        return
    if layout not in ("bert", None):
        raise ClozeError(
            f"config: {path}.next_sentence: layout {layout} has no "
            "next-sentence head; take an architecture with layout: bert, or leave the key out"
        )
    if not getattr(settings.datasets[dataset_name], "next_sentence", False):
        raise ClozeError(
            f"config: {path}.next_sentence: datasets.{dataset_name} has no pairs of "
            "texts; set next_sentence: true there too (method segment_text), or set it to false"
        )
