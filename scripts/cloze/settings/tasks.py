"""How labelled files become a task."""

from dataclasses import dataclass

from cloze.settings.fields import REQUIRED, setting

# What a task teaches, to module and class. A module is imported only where its objective is
# trained or evaluated, so that its code is part of the key of these stages alone.
FINETUNING_OBJECTIVES = {
    "classification": "cloze.objectives.classification:Classification",
    "regression": "cloze.objectives.regression:Regression",
}
TASK_FORMATS = ("csv", "tsv", "jsonl", "parquet")
METRICS = (
    *("accuracy", "f1", "macro_f1", "matthews", "accuracy_and_f1"),
    *("pearson", "spearman", "pearson_and_spearman"),
)


def objective_module(name: str) -> str:
    """Return the module of an objective."""
    return FINETUNING_OBJECTIVES[name].partition(":")[0]


def default_objective(regression: bool) -> str:
    """Return what is learnt of texts with scores or with classes where a task does not say."""
    return "regression" if regression else "classification"


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What is read of a task's files, and what the task is judged by."""

    format: str | None = setting(
        None, "format of the files; unset: by suffix", choices=TASK_FORMATS
    )
    text_column: str = setting(REQUIRED, "column with the text")
    text_pair_column: str | None = setting(
        None, "column with the second text; unset: texts stand alone"
    )
    label_column: str = setting(REQUIRED, "column with the label")
    group_column: str | None = setting(
        None, "column that says which rows belong together; a hold-out never divides them"
    )
    header: bool = setting(
        True, "whether CSV and TSV have a header row; without one, columns are numbers from 0"
    )
    labels: list[str] | None = setting(
        None,
        "the task's labels in order; numbers in the files index them; unset: those of the training "
        "file",
    )
    regression: bool = setting(False, "the label is a score to predict, not a class")
    objective: str | None = setting(
        None,
        "what is learnt of the texts; unset: classification, or regression of scores",
        choices=tuple(FINETUNING_OBJECTIVES),
    )
    metric: str | None = setting(
        None,
        "what the task is judged by; unset: accuracy, of scores pearson_and_spearman",
        choices=METRICS,
    )
    origin: str = setting("", "where the data comes from, for the report")
    hold_out_fraction: float | None = setting(
        None,
        "validate on this part of the training file's sentences, not on the validation file",
        minimum=0,
        maximum=1,
    )
    hold_out_seed: int = setting(0, "draws the held-out sentences", minimum=0)
