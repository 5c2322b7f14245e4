# What all rules share: the checked configuration, the names it allows and the keys of stages.

import contextlib
import functools
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from cloze.settings.code_key import code_key
from cloze.settings.config import Config, with_reports_of
from cloze.settings.files import check_plannable
from cloze.settings.recipes import forget_recipes, recipes, write_recipes
from cloze.settings.tasks import (
    FINETUNING_OBJECTIVES,
    TASK_KINDS,
    collection_files,
    default_objective,
    is_qrels,
    module_of,
)
from cloze.errors import ClozeError
from cloze.files import write_text

# Without an activated environment the shell would find another `python` than Snakemake's.
os.environ |= {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
}


def stop(sentence):
    """Stop Snakemake with one sentence and nothing else."""
    sys.exit(f"error: {sentence}")


@contextlib.contextmanager
def or_stop():
    """Stop Snakemake with the one sentence of a `ClozeError` that is raised in the block."""
    try:
        yield
    except ClozeError as error:
        stop(error)


with or_stop():
    CONFIG = Config(with_reports_of(workflow.config_settings.overwrite_config, config))
# Report or average to its place below results/, up to _report, in the folder of its recipe.
PLACES = {name: place.removeprefix("results/") for name, place in CONFIG.report_places.items()}
NAMES_AT = {place: name for name, place in PLACES.items()}


TOKENIZERS = [*CONFIG.names("tokenizers"), *CONFIG.adapted_tokenizers]


def one_of(names):
    """Return a regular expression for exactly these names."""
    return "|".join(map(re.escape, names)) or "(?!)"


# What stands behind the name of an encoder in the path of one that has gone through later phases.
PHASE = rf"(/phase-({one_of(str(number) for number in CONFIG.later_phases)}))?"


def model_folders():
    """Return a regular expression for the model folders, as they are called below results/."""
    corpus, dataset, architecture = (
        f"({one_of(CONFIG.names(table))})" for table in ("corpora", "datasets", "architectures")
    )
    tokenizer = f"({one_of(TOKENIZERS)})"
    imported = f"({one_of(CONFIG.files.imported)})"
    own = f"({one_of(CONFIG.trained_encoders)})"
    return (
        rf"{corpus}/{tokenizer}/({dataset}/{own}{PHASE}(/at-\d+)?|scratch/{architecture})"
        rf"|imported/{imported}"
    )


wildcard_constraints:
    model=model_folders(),
    corpus=one_of(CONFIG.names("corpora")),
    evaluated=one_of(CONFIG.names("corpora")),
    tokenizer=one_of(TOKENIZERS),
    dataset=one_of(CONFIG.names("datasets")),
    architecture=one_of(CONFIG.names("architectures")),
    encoder=one_of(CONFIG.names("encoders")),
    phase=PHASE,
    task=one_of(CONFIG.names("tasks")),
    report=one_of(CONFIG.reports),
    average=one_of(CONFIG.averages),
    seed=r"\d+",
    split=one_of(
        {split for task in CONFIG.settings.tasks.values() for split in task.evaluation_splits}
    ),
    percent=r"\d+",


def write_resolved_config():
    """Write the completed configuration beside the results; no rule reads it."""
    write_text(Path("results/config.yaml"), CONFIG.as_yaml())


def require_present_times():
    """Before jobs run: stop if a file that one reads is newer than now; see `check_plannable`."""
    read = {str(file) for job in workflow.dag.needrun_jobs() for file in job.input}
    with or_stop():
        check_plannable(sorted(read))


def forget_outdated_recipes():
    """Before jobs run: remove the recipe of each folder that is about to be made anew."""
    planned = {str(file) for job in workflow.dag.needrun_jobs() for file in job.output}
    forget_recipes(planned & recipes(CONFIG).keys())


def write_made_recipes():
    """After jobs ran: write the recipe of each folder that is what the configuration says now.

    No job writes it, so that it is no part of any key; no rule reads it.
    """
    dag = workflow.dag
    made = [job for job in dag.jobs if dag.finished(job) or not dag.needrun(job)]
    files = {str(file) for job in made for file in job.output}
    write_recipes({file: recipe for file, recipe in recipes(CONFIG).items() if file in files})


@functools.cache
def code(script, *modules):
    """Return a digest for each module that a script imports: the code part of a rule's key.

    `modules` are those that it imports by their names.
    """
    return code_key(Path(workflow.basedir) / "scripts" / script, modules)


def code_with_kind(script, *, trains=False):
    """Return a function that gives a script's code with that of the kind of a task.

    `trains`: with the objective that fine-tunes it, too.
    """

    def code_of_task(wildcards):
        task = CONFIG.settings.tasks[wildcards.task]
        objective = task.objective or default_objective(task.regression)
        tables = (TASK_KINDS, FINETUNING_OBJECTIVES) if trains else (TASK_KINDS,)
        return code(script, *(module_of(table[objective]) for table in tables))

    return code_of_task


@functools.cache
def parts_of(corpus):
    """Return the parts of a corpus by name, none where one job extracts it."""
    with or_stop():
        return CONFIG.parts(corpus)
