"""How labelled files become a task."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from cloze.settings.fields import setting
from cloze.settings.tables import DialectSettings

# What a task teaches, to module and class: how such tasks are read and judged, and how they are
# trained. A module is imported only where its kind is used, so that its code is part of the key of
# these stages alone.
TASK_KINDS = {
    "sentence_similarity": "cloze.tasks.sentence_similarity:SentenceSimilarity",
    "classification": "cloze.tasks.labels:Classes",
    "regression": "cloze.tasks.labels:Scores",
    "token_classification": "cloze.tasks.token_labels:TokenLabels",
    "multi_label_classification": "cloze.tasks.label_sets:LabelSets",
    "question_answering": "cloze.tasks.question_answering:Questions",
}
FINETUNING_OBJECTIVES = {
    "sentence_similarity": "cloze.objectives.sentence_similarity:SentenceSimilarity",
    "classification": "cloze.objectives.classification:Classification",
    "regression": "cloze.objectives.regression:Regression",
    "token_classification": "cloze.objectives.token_classification:TokenClassification",
    "multi_label_classification": (
        "cloze.objectives.multi_label_classification:MultiLabelClassification"
    ),
    "question_answering": "cloze.objectives.question_answering:QuestionAnswering",
}
# Kinds whose files have no usual names for their columns.
_NEEDED_COLUMNS = dict.fromkeys(("classification", "regression"), ("text_column", "label_column"))
TASK_FORMATS = ("csv", "tsv", "jsonl", "parquet", "conll", "conllu", "squad")
# Those whose answers are compared as SQuAD and MLQA do; `other` has no articles.
ANSWER_LANGUAGES = ("en", "ar", "de", "es", "hi", "vi", "zh", "other")
SCHEMES = ("bio", "iob1", "bioes", "plain")
UNLABELLED = ("refuse", "drop")
SIMILARITY_LOSSES = ("multiple_negatives_ranking", "cosent", "simcse")
# What the tasks of each kind can be judged by, the default first where it is always the same.
METRICS_OF = {
    "sentence_similarity": (
        *("spearman", "pearson", "pearson_and_spearman"),
        *("ndcg_at_10", "recall_at_10", "recall_at_100", "mrr_at_10"),
    ),
    "classification": ("accuracy", "f1", "macro_f1", "matthews", "accuracy_and_f1"),
    "regression": ("pearson_and_spearman", "pearson", "spearman"),
    "token_classification": ("entity_f1", "token_accuracy"),
    "multi_label_classification": ("micro_f1", "macro_f1"),
    "question_answering": ("answer_f1", "exact_match"),
}
# Those of which there are two classes, the second of which is the one that counts.
METRICS_OF_TWO_CLASSES = ("f1", "accuracy_and_f1")
# Keys that only one kind of task reads.
_OF_ONE_KIND = {
    "similarity_loss": "sentence_similarity",
    "negative_column": "sentence_similarity",
    "leave_out_unanswered_queries": "sentence_similarity",
    "scheme": "token_classification",
    "label_columns": "multi_label_classification",
}
_DELIMITED = (None, "csv", "tsv")
METRICS = (
    *("ndcg_at_10", "recall_at_10", "recall_at_100", "mrr_at_10"),
    *("accuracy", "f1", "macro_f1", "matthews", "accuracy_and_f1"),
    *("pearson", "spearman", "pearson_and_spearman"),
    *("entity_f1", "token_accuracy", "micro_f1"),
    *("answer_f1", "exact_match"),
)


def module_of(entry: str) -> str:
    """Return the module of an entry of these tables."""
    return entry.partition(":")[0]


def missing_columns(task: "TaskSettings | Namespace") -> list[str]:
    """Return the keys of columns that a task must name and does not."""
    objective = task.objective or default_objective(task.regression)
    if objective == "multi_label_classification":
        needed = ("text_column",) if task.label_columns else ("text_column", "label_column")
        return [key for key in needed if getattr(task, key) is None]
    return [key for key in _NEEDED_COLUMNS.get(objective, ()) if getattr(task, key) is None]


def conflict(task: "TaskSettings | Namespace") -> tuple[str, str] | None:
    """Return the first key that does not go together with others, and why; None if all do."""
    objective = task.objective or default_objective(task.regression)
    if task.regression and objective != "regression":
        return "regression", (
            f"scores are the objective regression, and objective is {objective}; give only one of "
            "the two"
        )
    for key, kind in _OF_ONE_KIND.items():
        if getattr(task, key) and objective != kind:
            return key, f"is read for the objective {kind} alone, and this is {objective}"
    if task.label_columns and task.label_column:
        return "label_columns", "stands beside label_column; give only one of the two"
    columns = (task.text_column, task.text_pair_column, task.label_column, task.group_column)
    names = [name for name in columns if name is not None and not name.isdecimal()]
    if not task.header and task.format in _DELIMITED and names:
        return "header", (
            f"without a header columns are numbers from 0, and one is called {names[0]!r}; name it "
            "by its number"
        )
    if not (task.header and task.delimiter is None) and task.format not in _DELIMITED:
        return "format", f"{task.format} has neither header nor delimiter; leave those keys out"
    return None


def is_qrels(path: Path) -> bool:
    """Whether a file is the judgements of a collection in BEIR's layout: `qrels/SPLIT.tsv`."""
    return path.parent.name == "qrels" and path.suffix == ".tsv"


def collection_files(qrels: Path) -> list[Path]:
    """Return the documents and queries that qrels judge, those that there are, perhaps packed."""
    names = ("corpus.jsonl", "queries.jsonl")
    return [path for name in names for path in sorted(qrels.parent.parent.glob(f"{name}*"))]


def default_objective(regression: bool) -> str:
    """Return what is learnt of texts with scores or with classes where a task does not say."""
    return "regression" if regression else "classification"


@dataclass(frozen=True, kw_only=True)
class TaskSettings(DialectSettings):
    """What is read of a task's files, and what the task is judged by."""

    format: str | None = setting(
        None, "format of the files; unset: by suffix", choices=TASK_FORMATS
    )
    text_column: str | None = setting(
        None,
        "column with the text; of tagged words a column of CoNLL, counted from 0, or of lists; "
        "unset: the first, form, or tokens; of questions unset: question",
    )
    text_pair_column: str | None = setting(
        None, "column with the second text; unset: texts stand alone; of questions unset: context"
    )
    negative_column: str | None = setting(
        None, "of sentence_similarity: column with a text that is not to be close to the first"
    )
    label_column: str | None = setting(
        None,
        "column with the label; of tagged words unset: the last of CoNLL, upos, or tags; of "
        "questions unset: answers",
    )
    label_columns: list[str] | None = setting(
        None, "of several labels at once: a column of 0 and 1 for each label, which it names"
    )
    label_separator: str = setting(
        ",", "of several labels at once: what stands between labels in a column of text"
    )
    scheme: str | None = setting(
        None,
        "how tags mark entities: bio, iob1, bioes, or plain ones such as parts of speech; unset: "
        "as the training file's tags show",
        choices=SCHEMES,
    )
    language: str = setting(
        "en",
        "of answers to questions: whose articles, punctuation and words count when two are "
        "compared",
        choices=ANSWER_LANGUAGES,
    )
    group_column: str | None = setting(
        None,
        "column that says which rows belong together; a hold-out never divides them; of questions "
        "unset: title",
    )
    labels: list[str] | None = setting(
        None,
        "the task's labels in order; numbers in the files index them; unset: those of the training "
        "file",
    )
    unlabelled: str = setting(
        "refuse",
        "what becomes of rows without a label, of classes also -1 and - unless labels has them: "
        "an error, or they are left out and counted",
        choices=UNLABELLED,
    )
    max_bad_rows: int = setting(
        0,
        "leave out up to so many rows that cannot be read or have an unknown label; "
        "bad-rows.jsonl keeps where they stood and why",
        minimum=0,
    )
    regression: bool = setting(False, "the label is a score to predict, not a class")
    objective: str | None = setting(
        None,
        "what is learnt of the texts; unset: classification, or regression of scores",
        choices=tuple(FINETUNING_OBJECTIVES),
    )
    similarity_loss: str | None = setting(
        None,
        "of sentence_similarity: what is learnt of the training file; unset: cosent of scores, "
        "multiple_negatives_ranking of pairs and qrels, simcse of texts alone",
        choices=SIMILARITY_LOSSES,
    )
    leave_out_unanswered_queries: bool = setting(
        False,
        "of sentence_similarity: leave queries without a relevant document out and count them, "
        "instead of refusing the qrels",
    )
    metric: str | None = setting(
        None,
        "what the task is judged by; unset: accuracy, of scores pearson_and_spearman, of entities "
        "entity_f1, of plain tags token_accuracy, of several labels micro_f1, of answers answer_f1",
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
