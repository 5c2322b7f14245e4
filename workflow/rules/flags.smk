# The flags of each script that the configuration decides.
#
# Most render one section of the configuration: what `args` is in a rule, and so a part of the
# stage's key. Those named `_file_flags` or `_source_flags` pass a rule's inputs on under the names
# that the script knows them by.

from cloze.files import SPLITS
from cloze.settings.runs import is_from_scratch

# Flags of report.py whose values are the folders of the report's inputs of these names.
REPORT_FOLDERS = {
    "--task": "task",
    "--dataset": "dataset",
    "--pretraining": "pretraining",
    "--phases": "phases",
    "--corpus-documents": "documents",
    "--evaluations": "evaluations",
    "--scratch-evaluations": "scratch_evaluations",
    "--unadapted-evaluations": "unadapted_evaluations",
    "--adapted-tokenizer": "adapted_tokenizer",
}


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


def extension_flags(wildcards):
    """Return the flags of extend_tokenizer.py."""
    adaptation = CONFIG.adapted_tokenizers[wildcards.tokenizer]
    return ["--model", adaptation.folder, "--extend-vocabulary", str(adaptation.new_pieces)]


def architecture_flags(wildcards):
    """Return the flags of init_encoder.py."""
    return CONFIG.flags("architectures", wildcards.architecture)


def pretraining_flags(wildcards):
    """Return the flags of pretrain.py: the shape's, then the recipe's.

    Those of a later phase are of the encoder to go on with, then the recipe's.
    """
    phase = phase_of(wildcards)
    before = ["--init-from", phase_before(wildcards)] if phase > 1 else []
    return before + CONFIG.pretraining_flags(wildcards.encoder, phase, wildcards.dataset)


def monitoring_flags(wildcards, threads):
    """Return --eval-steps and --keep-at: no part of the key, as they change no weight."""
    return CONFIG.monitoring_flags(wildcards.encoder, phase_of(wildcards))


def task_flags(wildcards):
    """Return the flags of prepare_task.py."""
    return CONFIG.flags("tasks", wildcards.task)


def task_file_flags(wildcards, input):
    """Return --train FILE… and so on, and --split NAME FILE… for splits of names of their own."""
    flags = []
    for split, files in CONFIG.files.tasks[wildcards.task].items():
        flags += [f"--{split}", *files] if split in SPLITS else ["--split", split, *files]
    return flags


def finetuning_flags(wildcards):
    """Return the flags of finetune.py, by whether the model is pretrained."""
    from_scratch = is_from_scratch(wildcards.model)
    flags = CONFIG.finetuning_flags(wildcards.task, from_scratch=from_scratch)
    return ["--from-scratch", *flags] if from_scratch else flags


def evaluation_flags(wildcards):
    """Return the flags of evaluate.py, by whether the model is pretrained."""
    from_scratch = is_from_scratch(wildcards.model)
    return CONFIG.evaluation_flags(wildcards.task, from_scratch=from_scratch)


def corpus_page_flags(wildcards):
    """Return --recipe: the names that the page about a corpus bears."""
    names = ("corpus", "tokenizer", "dataset")
    return ["--recipe", *(f"{name}={getattr(wildcards, name)}" for name in names)]


def import_flags(wildcards):
    """Return the flags of import_encoder.py."""
    return CONFIG.import_flags(wildcards.encoder)


def report_flags(wildcards):
    """Return --name and --recipe: the names that make up the report's run."""
    name = NAMES_AT[wildcards.place]
    run, about = CONFIG.reports[name]
    picks = ("corpus", "tokenizer", "dataset", "encoder", "architecture")
    if run.is_imported:
        picks = ("encoder",)
    elif run.adaptation is not None:
        picks = picks[:-1]
    recipe = [f"{pick}={getattr(run, pick)}" for pick in picks]
    return ["--name", name, "--recipe", *recipe, f"task={about.task}"]


def report_source_flags(wildcards, input):
    """Return the folders of the report's inputs as flags."""
    run, about = CONFIG.reports[NAMES_AT[wildcards.place]]
    folders = {flag: unique_folders(input[name]) for flag, name in REPORT_FOLDERS.items()}
    flags = [text for flag, found in folders.items() if found for text in (flag, *found)]
    for name in ("baselines", "contamination"):
        flags += [f"--{name}", *input[name]] if input[name] else []
    if about.ceiling is not None:
        flags += ["--ceiling", about.ceiling, *unique_folders(input.ceiling)]
    if run.adaptation is not None:
        for corpus, before, after in zip(run.adaptation.corpora, input.before, input.after):
            flags += ["--masked-lm", corpus, before, after]
    for percent in kept_checkpoints(run):
        folder = f"{run.encoder_folder}/at-{percent}/"
        files = [file for file in input.checkpoints if file.startswith(folder)]
        flags += ["--checkpoint", str(percent), *unique_folders(files)]
    return flags


def average_flags(wildcards):
    """Return --name, and --task FILE... for each task of an average."""
    average = CONFIG.averages[NAMES_AT[wildcards.place]]
    flags = ["--name", average.name]
    for task in average.tasks:
        flags += ["--task", *(f"{average.run.report_place(report)}_report.json" for report in task)]
    return flags


def unique_folders(files):
    """Return the folders of these files, each once, in order."""
    return list(dict.fromkeys(str(Path(file).parent) for file in files))
