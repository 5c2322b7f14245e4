"""The kinds of tasks that reports know, by the objective that `task.json` names."""

from cloze.show.answers_report import AnswersReport
from cloze.show.kind_report import KindReport
from cloze.show.label_sets_report import LabelSetsReport
from cloze.show.labels_report import ClassesReport, ScoresReport
from cloze.show.tags_report import TagsReport
from cloze.show.vectors_report import VectorsReport

KIND_REPORTS: dict[str, KindReport] = {
    "sentence_similarity": VectorsReport(),
    "classification": ClassesReport(),
    "regression": ScoresReport(),
    "token_classification": TagsReport(),
    "multi_label_classification": LabelSetsReport(),
    "question_answering": AnswersReport(),
}


def kind_report(task: dict[str, object]) -> KindReport:
    """Return how the kind of a report's task is shown; kept reports may not name it."""
    named = task.get("objective")
    return KIND_REPORTS[str(named or ("regression" if task["is_regression"] else "classification"))]
