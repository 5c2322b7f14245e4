# The functions that the rules share: the checked configuration, keys, paths and threads.

import functools
import os
import re
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from cloze.cli import available_cores
from cloze.codekey import code_key
from cloze.config import Config
from cloze.corpus.folders import corpus_names
from cloze.errors import ClozeError
from cloze.files import write_text

# Without an activated environment the shell would find another `python` than Snakemake's.
os.environ |= {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
}


def checked_config():
    """Return the configuration, or stop Snakemake with its one-sentence complaint."""
    try:
        return Config(config)
    except ClozeError as error:
        sys.exit(f"error: {error}")


CONFIG = checked_config()
CORES = available_cores()
# Two jobs on one card would fight for its memory, so a GPU job claims the machine's one slot.
GPUS = 1 if shutil.which("nvidia-smi") else 0


def one_of(names):
    """Return a regular expression for exactly these names."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    corpus=one_of(CONFIG.names("corpora")),
    tokenizer=one_of(CONFIG.names("tokenizers")),
    dataset=one_of(CONFIG.names("datasets")),
    architecture=one_of(CONFIG.names("architectures")),
    encoder=one_of(CONFIG.names("encoders")),
    task=one_of(CONFIG.names("tasks")),
    report=one_of(CONFIG.reports),
    seed=r"\d+",


def write_resolved_config():
    """Write the completed configuration beside the results; no rule reads it."""
    write_text(Path("results/config.yaml"), CONFIG.as_yaml())


def code(script):
    """Return a digest for each module that a script imports: the code part of a rule's key."""
    return code_key(Path(workflow.basedir) / "scripts" / script)


def core_ratio():
    """Return (cores given, cores there are) where --cores promises more than the machine has.

    Two jobs that keep one core each busy then claim half of --cores each, so that
    `--cores 8` keeps a machine with two cores busy twice, not eight times. (1, 1) otherwise,
    and where other machines run the jobs.
    """
    try:
        given = workflow.cores
    except WorkflowError:
        return 1, 1
    return (given, CORES) if workflow.local_exec and given > CORES else (1, 1)


GIVEN, REAL = core_ratio()
if GIVEN > REAL:
    # Snakemake sets these variables to `threads`, which counts the promised cores.
    shell.prefix(
        f"set -euo pipefail; export OMP_NUM_THREADS=$((OMP_NUM_THREADS * {REAL} / {GIVEN})); "
        "export OPENBLAS_NUM_THREADS=$OMP_NUM_THREADS MKL_NUM_THREADS=$OMP_NUM_THREADS; "
    )


def claim(cores):
    """Return the `threads:` of a job that keeps this many cores busy, or all there are."""
    return -(-min(cores, CORES) * GIVEN // REAL)


# Flags of the machine. Snakemake keeps params out of the key if their function takes input,
# output, threads or resources; these take threads, so that no machine makes a stage run again.


def threads_flags(wildcards, threads):
    """Return --threads in cores of this machine."""
    return ["--threads", str(max(1, threads * REAL // GIVEN))]


def compute_flags(wildcards, threads, resources):
    """Return --threads, --device and --precision."""
    chosen = ["--device", resources.device, "--precision", resources.precision]
    return [*threads_flags(wildcards, threads), *chosen]


def pretraining_compute_flags(wildcards, threads, resources):
    """Return --threads, --device, --precision, --compile and --checkpoint-seconds."""
    chosen = [
        "--compile",
        resources.compile,
        "--checkpoint-seconds",
        str(resources.checkpoint_seconds),
    ]
    return [*compute_flags(wildcards, threads, resources), *chosen]


def mirror_flags(wildcards, output):
    """Return --mirror, where the configuration names one."""
    return ["--mirror", CONFIG.mirror] if CONFIG.mirror else []


# Flags of one section of the configuration each: what `args` is in a rule.


def download_flags(wildcards):
    """Return the flags of download.py for one file."""
    download = CONFIG.files.downloads[f"resources/{wildcards.file}"]
    sha256 = ["--sha256", download.sha256] if download.sha256 else []
    return ["--source", download.source, *sha256]


def corpus_flags(wildcards):
    """Return the flags of extract_documents.py."""
    return CONFIG.flags("corpora", wildcards.corpus) + decontamination_flags(wildcards.corpus)


def decontamination_flags(corpus):
    """Return --decontaminate FOLDER... for the tasks that a corpus names, if any."""
    folders = [f"results/tasks/{task}" for task in CONFIG.decontaminated_tasks(corpus)]
    return ["--decontaminate", *folders] if folders else []


def corpus_file_flags(wildcards, input):
    """Return --input FILE..., or --train FILE... --validation FILE... for a corpus with splits.

    The files are the corpus's own or, where jobs of their own extract it, its parts.
    """
    named = CONFIG.files.corpora[wildcards.corpus]
    flags = []
    if parts := parts_of(wildcards.corpus):
        flags, named = ["--from-parts"], dict.fromkeys(named, ())
        for (name, part), file in zip(parts.items(), input.parts):
            named[part.split] = [*named[part.split], file]
    return flags + [text for key, files in named.items() if files for text in (f"--{key}", *files)]


def mixture_flags(wildcards):
    """Return --corpus NAME WEIGHT FOLDER for each corpus of a mixture."""
    mixture = CONFIG.mixture(wildcards.corpus).items()
    return [
        text
        for name, weight in mixture
        for text in ("--corpus", name, str(weight), f"results/{name}/documents")
    ]


def part_flags(wildcards):
    """Return the flags of extract_part.py."""
    return CONFIG.part_flags(wildcards.corpus) + decontamination_flags(wildcards.corpus)


def part_file_flags(wildcards, input):
    """Return --input PATH..., and --share K/N for a share of a folder."""
    part = parts_of(wildcards.corpus)[wildcards.part]
    share = ["--share", f"{part.share.index + 1}/{part.share.count}"] if part.share else []
    return ["--input", *part.paths, *share]


def tokenizer_flags(wildcards):
    """Return the flags of train_tokenizer.py."""
    return CONFIG.flags("tokenizers", wildcards.tokenizer)


def tokenizer_source_flags(wildcards, input):
    """Return --documents FILE or --vocab FILE."""
    return [text for key, file in input.items() for text in (f"--{key}", file)]


def architecture_flags(wildcards):
    """Return the flags of init_encoder.py."""
    return CONFIG.flags("architectures", wildcards.architecture)


def pretraining_flags(wildcards):
    """Return the flags of pretrain.py: the architecture's, then the recipe's."""
    architecture = CONFIG.section("encoders", wildcards.encoder)["architecture"]
    return CONFIG.flags("architectures", architecture) + CONFIG.flags("encoders", wildcards.encoder)


def task_flags(wildcards):
    """Return the flags of prepare_task.py."""
    return CONFIG.flags("tasks", wildcards.task)


def task_file_flags(wildcards, input):
    """Return --train FILE --validation FILE, and --test FILE where the task has one."""
    named = CONFIG.files.tasks[wildcards.task]
    return [text for split, file in named.items() for text in (f"--{split}", file)]


def finetuning_flags(wildcards):
    """Return the flags of finetune.py for a pretrained encoder."""
    return CONFIG.finetuning_flags(wildcards.task, from_scratch=False)


def scratch_finetuning_flags(wildcards):
    """Return the flags of finetune.py for an encoder without pretraining."""
    return CONFIG.finetuning_flags(wildcards.task, from_scratch=True)


def evaluation_flags(wildcards):
    """Return the flags of evaluate.py for a pretrained encoder."""
    return CONFIG.evaluation_flags(wildcards.task, from_scratch=False)


def scratch_evaluation_flags(wildcards):
    """Return the flags of evaluate.py for an encoder without pretraining."""
    return CONFIG.evaluation_flags(wildcards.task, from_scratch=True)


# Files that the configuration decides.


def corpus_files(wildcards):
    """Return the files that a corpus is read from; for a folder, every file below it."""
    named = CONFIG.files.corpora[wildcards.corpus]
    return [file for paths in named.values() for path in paths for file in files_below(path)]


@functools.cache
def parts_of(corpus):
    """Return the parts of a corpus by name, none where one job extracts it."""
    return CONFIG.parts(corpus)


def extraction_inputs(wildcards):
    """Return a corpus's files and, where jobs of their own extract it, its parts.

    Parts are temporary, so the files must be inputs too: their change makes all run again.
    """
    folder = f"results/{wildcards.corpus}/documents/.parts"
    parts = [f"{folder}/{name}.arrow" for name in parts_of(wildcards.corpus)]
    return {"sources": corpus_files(wildcards), "parts": parts, "tasks": task_splits(wildcards)}


def task_splits(wildcards):
    """Return a file of each task whose evaluation sentences are removed from a corpus.

    The test split, which not every task has, is made with the validation split.
    """
    tasks = CONFIG.decontaminated_tasks(wildcards.corpus)
    return [f"results/tasks/{task}/validation.parquet" for task in tasks]


def mixture_files(wildcards):
    """Return the documents of the corpora that a mixture is made of."""
    return [
        f"results/{name}/documents/{split}.parquet"
        for name in CONFIG.mixture(wildcards.corpus)
        for split in ("train", "validation", "test")
    ]


def extraction_memory(wildcards, input):
    """Return MB: the search for near-duplicates takes less than the text itself."""
    section = CONFIG.section("corpora", wildcards.corpus)
    return 1000 + (int(input.size_mb) if "near_duplicate_threshold" in section else 0)


def part_files(wildcards):
    """Return the files that a part is read from."""
    part = parts_of(wildcards.corpus)[wildcards.part]
    if part.share is None:
        return [file for path in part.paths for file in files_below(path)]
    folder = part.paths[0]
    members = CONFIG.section("corpora", wildcards.corpus)["members"]
    return [f"{folder}/{name}" for name in part.share.of(corpus_names(Path(folder), members))]


def files_below(path):
    """Return the sorted files below a folder, or the path itself if it is none.

    A folder's own time stamp says nothing of an edited file in it.
    """
    found = sorted(str(file) for file in Path(path).rglob("*") if file.is_file())
    return found or [path]


def tokenizer_source(wildcards):
    """Return the text that a tokenizer is trained on, or the vocabulary that it takes over."""
    vocab = CONFIG.files.vocabs.get(wildcards.tokenizer)
    if vocab is not None:
        return {"vocab": vocab}
    return {"documents": f"results/{wildcards.corpus}/documents/train.parquet"}


def task_files(wildcards):
    """Return the files that a task is read from."""
    return list(CONFIG.files.tasks[wildcards.task].values())


def split_of_shard(wildcards):
    """Return the documents that a shard is made from."""
    split = wildcards.shard.split("-")[0]
    return f"results/{wildcards.corpus}/documents/{split}.parquet"


def dataset_files(wildcards):
    """Return every file of a data set that a trainer reads."""
    folder = f"results/{wildcards.corpus}/{wildcards.tokenizer}/{wildcards.dataset}"
    return [f"{folder}/{name}" for name in CONFIG.dataset_files(wildcards.dataset)]


def initial_encoder(wildcards):
    """Return the files of the encoder whose weights pretraining starts from, if any."""
    folder = CONFIG.section("encoders", wildcards.encoder).get("init_from")
    names = ("config.json", "model.safetensors", "tokenizer.json")
    return [f"{folder}/{name}" for name in names] if folder else []


def corpus_page_flags(wildcards):
    """Return --recipe: the names that the page about a corpus bears."""
    names = ("corpus", "tokenizer", "dataset")
    return ["--recipe", *(f"{name}={getattr(wildcards, name)}" for name in names)]


def report_flags(wildcards):
    """Return --name and --recipe: the names that make up the report's run."""
    run, task = CONFIG.reports[wildcards.report]
    picks = ("corpus", "tokenizer", "dataset", "encoder", "architecture")
    recipe = [f"{pick}={getattr(run, pick)}" for pick in picks]
    return ["--name", wildcards.report, "--recipe", *recipe, f"task={task}"]


def report_sources(wildcards):
    """Return what a report is made from: evaluations of every seed and each stage's metrics."""
    run, task = CONFIG.reports[wildcards.report]
    files = ("metrics.json", "predictions.parquet")
    return {
        "task": [f"results/tasks/{task}/{name}" for name in ("task.json", "validation.parquet")],
        "baselines": f"results/tasks/{task}/baselines.json",
        "documents": [f"{run.documents_folder}/metrics.json"],
        "contamination": f"{run.documents_folder}/contamination/{task}.json",
        "dataset": [f"{run.dataset_folder}/{name}" for name in ("manifest.json", "metrics.json")],
        "pretraining": [f"{run.encoder_folder}/{name}" for name in ("metrics.json", "config.json")],
        "evaluations": seed_files(f"{run.encoder_folder}/{task}", run.seeds, files),
        "scratch_evaluations": seed_files(f"{run.scratch_folder}/{task}", run.seeds, files),
    }


def seed_files(folder, seeds, names):
    """Return these files of the evaluation of every seed."""
    return [f"{folder}/seed-{seed}/evaluation/{name}" for seed in seeds for name in names]


def report_source_flags(wildcards, input):
    """Return the folders of the report's inputs as flags."""
    folder = {
        key: str(Path(files[0]).parent)
        for key, files in input.items()
        if key not in ("baselines", "contamination")
    }
    return [
        *("--task", folder["task"], "--dataset", folder["dataset"]),
        *("--pretraining", folder["pretraining"], "--corpus-documents", folder["documents"]),
        *("--baselines", input.baselines, "--contamination", input.contamination),
        *("--evaluations", *unique_folders(input.evaluations)),
        *("--scratch-evaluations", *unique_folders(input.scratch_evaluations)),
    ]


def unique_folders(files):
    """Return the folders of these files, each once, in order."""
    return list(dict.fromkeys(str(Path(file).parent) for file in files))
