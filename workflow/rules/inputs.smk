# The input files of each rule that the configuration decides, and what it needs for them.

from cloze.files import matching_files
from cloze.settings.files import check_plannable, files_below
from cloze.settings.pretraining_size import PretrainingSize
from cloze.settings.runs import imported_folder

# What of a model folder pretraining goes on from.
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json")

# What import_encoder.py reads of a folder.
FOREIGN_FILES = (
    "*.safetensors",
    "pytorch_model*.bin",
    "*.json",
    "vocab.txt",
    "merges.txt",
    "*.model",
)


def require_inputs(named):
    """Stop Snakemake with one sentence if an input is not there and no rule makes it.

    named: key of config.yaml to the paths that it names. Snakemake itself asks only for inputs of
    jobs that must run, so that an earlier output would pass for that of a path mistyped since.
    """
    with or_stop():
        CONFIG.files.require(named, made_by_a_rule)
        check_plannable(
            path for paths in named.values() for path in paths if not os.path.isdir(path)
        )


def all_below(paths):
    """Return the files that are read of files and folders, or stop Snakemake with one sentence."""
    with or_stop():
        return [file for path in paths for file in files_below(path)]


def made_by_a_rule(path):
    """Tell whether a rule makes this file."""
    return any(rule.is_producer(path) for rule in workflow.rules)


def corpus_files(wildcards):
    """Return the files that a corpus is read from; for a folder, every file below it."""
    named = CONFIG.files.keys_of_corpus(wildcards.corpus)
    require_inputs(named)
    return all_below(path for paths in named.values() for path in paths)


def extraction_inputs(wildcards):
    """Return a corpus's files and, where jobs of their own extract it, its parts.

    Parts are temporary, so the files must be inputs too: their change makes all run again.
    """
    sources = corpus_files(wildcards)
    folder = f"results/{wildcards.corpus}/documents/.parts"
    parts = [f"{folder}/{name}.arrow" for name in parts_of(wildcards.corpus)]
    return {"sources": sources, "parts": parts, "tasks": removed_tasks(wildcards)}


def removed_tasks(wildcards):
    """Return task.json, with the hash of every split, of the tasks removed from a corpus."""
    tasks = CONFIG.decontaminated_tasks(wildcards.corpus)
    return [f"results/tasks/{task}/task.json" for task in tasks]


def mixture_files(wildcards):
    """Return the documents of the corpora that a mixture is made of."""
    return [
        f"results/{name}/documents/{split}.parquet"
        for name in CONFIG.mixture(wildcards.corpus)
        for split in ("train", "validation", "test")
    ]


def extraction_memory(wildcards, input, attempt, rulename):
    """Return MB: the search for near-duplicates takes less than the text itself."""
    searches = "near_duplicate_threshold" in CONFIG.section("corpora", wildcards.corpus)
    return memory(1000, times_input=searches)(wildcards, input, attempt, rulename)


def pretraining_memory(wildcards, input, attempt, rulename):
    """Return MB a node, by the encoder's size, its batch and the processes that share it."""
    needed = pretraining_of(wildcards).memory_mb(processes(wildcards, rulename))
    return memory(needed)(wildcards, input, attempt, rulename)


def pretraining_minutes(wildcards, input, attempt, rulename, threads):
    """Return minutes on slow cores, by the encoder's size and what it is to see."""
    seconds = pretraining_of(wildcards).seconds(threads)
    return minutes(60 + int(seconds / 60))(wildcards, input, attempt, rulename)


def pretraining_of(wildcards):
    """Return what the configuration tells of a pretraining before it runs."""
    names = (wildcards.tokenizer, wildcards.dataset, wildcards.encoder)
    return PretrainingSize.of(CONFIG, *names, phase_of(wildcards))


def part_files(wildcards):
    """Return the files that a part is read from."""
    part = parts_of(wildcards.corpus)[wildcards.part]
    if part.share is None:
        return all_below(part.paths)
    folder = part.paths[0]
    members = CONFIG.section("corpora", wildcards.corpus)["members"]
    with or_stop():
        names = part.share.of(matching_files(Path(folder), members))
    return all_below(f"{folder}/{name}" for name in names)


def tokenizer_source(wildcards):
    """Return the text that a tokenizer is trained on, or the vocabulary that it takes over."""
    vocab = CONFIG.files.vocabs.get(wildcards.tokenizer)
    if vocab is not None:
        require_inputs({f"tokenizers.{wildcards.tokenizer}.vocab": [vocab]})
        return {"vocab": vocab}
    return {"documents": f"results/{wildcards.corpus}/documents/train.parquet"}


def task_files(wildcards):
    """Return the files that a task is read from, with the collections that qrels judge."""
    named = CONFIG.files.keys_of_task(wildcards.task)
    require_inputs(named)
    files = all_below(path for paths in named.values() for path in paths)
    judged = [
        part for file in files if is_qrels(Path(file)) for part in collection_files(Path(file))
    ]
    return [*files, *dict.fromkeys(map(str, judged))]


def split_of_shard(wildcards):
    """Return the documents that a shard is made from."""
    split = wildcards.shard.split("-")[0]
    return f"results/{wildcards.corpus}/documents/{split}.parquet"


def dataset_files(wildcards):
    """Return every file of a data set that a trainer reads."""
    folder = f"results/{wildcards.corpus}/{wildcards.tokenizer}/{wildcards.dataset}"
    return [f"{folder}/{name}" for name in CONFIG.dataset_files(wildcards.dataset)]


def phase_of(wildcards):
    """Return which phase of its pretraining an encoder is in, from 1."""
    return int(wildcards.phase.rpartition("-")[2] or 1)


def phase_dataset_files(wildcards):
    """Return every file of the data set that a phase of pretraining reads."""
    with or_stop():
        name = CONFIG.phase_dataset(wildcards.encoder, phase_of(wildcards), wildcards.dataset)
    folder = f"results/{wildcards.corpus}/{wildcards.tokenizer}/{name}"
    return [f"{folder}/{file}" for file in CONFIG.dataset_files(name)]


def phase_before(wildcards):
    """Return the model folder that the phase before the one of the wildcards left."""
    number = phase_of(wildcards) - 1
    corpus, tokenizer, dataset = wildcards.corpus, wildcards.tokenizer, wildcards.dataset
    folder = f"results/{corpus}/{tokenizer}/{dataset}/{wildcards.encoder}"
    return f"{folder}/phase-{number}" if number > 1 else folder


def initial_encoder(wildcards):
    """Return the files of the encoder whose weights pretraining starts from, if any."""
    if phase_of(wildcards) > 1:
        return [f"{phase_before(wildcards)}/{name}" for name in MODEL_FILES]
    if (adaptation := CONFIG.adaptation(wildcards.encoder)) is not None:
        extension = f"results/{wildcards.corpus}/{wildcards.tokenizer}/extension.json"
        return [extension, *(f"{adaptation.folder}/{name}" for name in MODEL_FILES)]
    folder = CONFIG.section("encoders", wildcards.encoder).get("init_from")
    if not folder:
        return []
    files = [f"{folder}/{name}" for name in MODEL_FILES]
    require_inputs({f"encoders.{wildcards.encoder}.init_from": files})
    return files


def imported_files(wildcards):
    """Return the files that an encoder from elsewhere is read from."""
    folder = CONFIG.files.imported[wildcards.encoder]
    if fetched := CONFIG.files.fetched_of(wildcards.encoder):
        return fetched
    key = "pretrained" if CONFIG.adaptation(wildcards.encoder) is None else "adapt"
    require_inputs({f"encoders.{wildcards.encoder}.{key}": [f"{folder}/config.json"]})
    if made_by_a_rule(f"{folder}/config.json"):
        return [f"{folder}/{name}" for name in MODEL_FILES]
    found = {file for pattern in FOREIGN_FILES for file in Path(folder).glob(pattern)}
    return all_below(sorted({f"{folder}/config.json", *map(str, found)}))


def extended_model(wildcards):
    """Return the files of the encoder from elsewhere whose tokenizer is extended."""
    folder = CONFIG.adapted_tokenizers[wildcards.tokenizer].folder
    return [f"{folder}/{name}" for name in ("tokenizer.json", "tokenizer_config.json")]


def model_files(wildcards):
    """Return what fine-tuning starts from: without pretraining there are no weights."""
    weights = () if is_from_scratch(wildcards.model) else ("model.safetensors",)
    names = ("config.json", "tokenizer.json", *weights)
    return [f"results/{wildcards.model}/{name}" for name in names]


def kept_checkpoints(run):
    """Return the percentages of a run's pretraining that its reports show too."""
    return [] if run.is_imported else CONFIG.kept_at(run.encoder)


def report_sources(wildcards):
    """Return what a report is made from: evaluations of every seed and each stage's metrics.

    Every kind has a name; what an encoder from elsewhere, or one that is adapted, has not is empty.
    """
    run, about = CONFIG.reports[NAMES_AT[wildcards.place]]
    shares = [f"{run.encoder_folder}/at-{percent}" for percent in kept_checkpoints(run)]
    headline = about.splits[:1]
    encoder = ("metrics.json", "config.json")
    sources = {
        "task": [f"results/tasks/{about.task}/{name}" for name in ("task.json", "metrics.json")],
        "baselines": [f"results/tasks/{about.task}/baselines.json"],
        "evaluations": evaluations(run, about, run.encoder_folder),
        "checkpoints": [
            file for share in shares for file in evaluations(run, about, share, headline)
        ],
        "ceiling": [],
        **dict.fromkeys(
            ("documents", "contamination", "dataset", "scratch_evaluations", "phases"), []
        ),
        **dict.fromkeys(("unadapted_evaluations", "adapted_tokenizer", "before", "after"), []),
    }
    if about.ceiling is not None:
        sources["ceiling"] = evaluations(run, about, imported_folder(about.ceiling))
    if not run.is_imported:
        encoder = (*encoder, "metrics.jsonl", "masked_examples.html", "diagnosis.json")
        sources |= {
            "documents": [f"{run.documents_folder}/metrics.json"],
            "contamination": [f"{run.documents_folder}/contamination/{about.task}.json"],
            "dataset": [
                f"{run.dataset_folders[-1]}/{name}" for name in ("manifest.json", "metrics.json")
            ],
            "phases": [
                f"{folder}/{name}"
                for folder in run.phase_folders[:-1]
                for name in ("metrics.json", "config.json", "diagnosis.json")
            ],
        }
    if run.architecture is not None:
        sources["scratch_evaluations"] = evaluations(run, about, run.scratch_folder)
    if run.adaptation is not None:
        sources |= adaptation_sources(run, about)
    return sources | {"pretraining": [f"{run.encoder_folder}/{name}" for name in encoder]}


def adaptation_sources(run, about):
    """Return what tells of an encoder before it was adapted, and of its tokenizer."""
    before = run.adaptation.folder
    sources = {
        "unadapted_evaluations": evaluations(run, about, before),
        "adapted_tokenizer": [f"{run.tokenizer_folder}/metrics.json"],
    }
    for name, model in (("before", before), ("after", run.encoder_folder)):
        corpora = run.adaptation.corpora
        sources[name] = [f"{model}/masked_lm/{corpus}.json" for corpus in corpora]
    return sources


def evaluations(run, about, model, splits=None):
    """Return the files of every seed's evaluation of a model on the splits of a report."""
    return [
        f"{model}/{about.task}/seed-{seed}/{split}/{name}"
        for split in splits or about.splits
        for seed in run.seeds
        for name in ("metrics.json", "predictions.parquet")
    ]


def average_reports(wildcards):
    """Return the reports that an average is made of."""
    average = CONFIG.averages[NAMES_AT[wildcards.place]]
    places = (average.run.report_place(report) for task in average.tasks for report in task)
    return [f"{place}_report.json" for place in places]


def report_file(end):
    """Return a function that gives a file of a report, or of an average, in its recipe's folder."""

    def file(wildcards):
        (name,) = wildcards
        return f"results/{PLACES[name]}{end}"

    return file
