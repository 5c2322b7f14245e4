"""The kinds of task that an encoder is fine-tuned on: a line each."""

# Name in `tasks.NAME.objective` to module and class; a module is imported only where its kind is
# trained or evaluated, so that its code is part of the key of these stages alone.
FINETUNING_OBJECTIVES = {
    "classification": "cloze.objectives.classification:Classification",
    "regression": "cloze.objectives.regression:Regression",
}


def objective_module(name: str) -> str:
    """Return the module of a kind of task."""
    return FINETUNING_OBJECTIVES[name].partition(":")[0]
