"""Tell whether this checkout trains the weights that another revision trains, to the bit.

Checks the other revision out beside this one, makes the sample data set and tasks with it, and
lets both train on these: the default encoder by masked-language modelling and a BERT by
next-sentence prediction too, 200 steps each, with embeddings from co-occurrence and random ones;
then, from the other revision's encoder, a classifier and a regression, one epoch each, as they
are by default and from scratch without dropout. Everything in fp32 and bf16, with one thread.
Prints the first 16 hexadecimal digits of the SHA-256 of each model.safetensors, and exits with
1 if a pair differs.

Try: python benchmarks/same_weights.py main
"""

import argparse
import contextlib
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from measure import ROOT, Command, run

PRECISIONS = ("fp32", "bf16")
MODERNBERT = [
    *("--layout", "modernbert", "--hidden-size", "128", "--num-hidden-layers", "2"),
    *("--num-attention-heads", "4", "--intermediate-size", "384"),
    *("--max-position-embeddings", "128", "--layer-norm-eps", "1e-5"),
]
BERT = [
    *("--hidden-size", "128", "--num-hidden-layers", "2", "--num-attention-heads", "2"),
    *("--intermediate-size", "512", "--max-position-embeddings", "128"),
]
STEPS = ["--max-steps", "200", "--warmup-steps", "100", "--eval-steps", "100"]
RECIPES = {
    "masked-lm": [*MODERNBERT, *STEPS, "--learning-rate", "4e-3", "--mlm-probability", "0.25"],
    "next-sentence": [*BERT, *STEPS, "--learning-rate", "1e-3", "--next-sentence"],
}
FINETUNING = ["--learning-rate", "1e-3", "--num-train-epochs", "1", "--max-length", "64"]
RECIPES |= {
    f"{name}-random-embeddings": [*recipe, "--embedding-init", "random"]
    for name, recipe in RECIPES.items()
}
TASKS = ("classes", "score", "classes-plain", "score-plain")
# What neither dropout nor the loading of heads can make differ.
PLAIN = ["--from-scratch", "--dropout", "0", "--classifier-dropout", "0"]


def main() -> int:
    """Compare and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("revision", help="what to compare this checkout with")
    arguments.add_argument("--only", choices=(*RECIPES, *TASKS), nargs="+")
    args = arguments.parse_args()
    differing = 0
    with tempfile.TemporaryDirectory() as temporary, other_checkout(args.revision) as old:
        work = Path(temporary)
        inputs = make_inputs(old, work)
        print(f"{'':34}{args.revision:20}this checkout")
        for precision in PRECISIONS:
            for name in args.only or (*RECIPES, *TASKS):
                digests = [
                    train(tree, name, precision, inputs, work / f"{name}-{precision}-{number}")
                    for number, tree in enumerate((old, ROOT))
                ]
                differing += digests[0] != digests[1]
                verdict = "same" if digests[0] == digests[1] else "DIFFERENT"
                print(f"{name + ' ' + precision:34}{digests[0]:20}{digests[1]:20}{verdict}")
                sys.stdout.flush()
    return 1 if differing else 0


@contextlib.contextmanager
def other_checkout(revision: str) -> Iterator[Path]:
    """Check a revision out for the length of the block."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "checkout"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "-q", "--detach", str(tree), revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


@dataclass
class Inputs:
    """What both revisions read: the tokenizer, data sets by recipe and tasks by name."""

    tokenizer: Path
    datasets: dict[str, Path] = field(default_factory=dict)
    tasks: dict[str, Path] = field(default_factory=dict)
    encoder: Path = Path()


def make_inputs(tree: Path, work: Path) -> Inputs:
    """Make the data sets, the tasks and the encoder to fine-tune with the scripts of `tree`."""
    sample = tree / "resources" / "sample"
    documents, inputs = work / "documents", Inputs(work / "tokenizer" / "tokenizer.json")
    script(tree, "extract_documents", "--format", "paragraphs", "--input", sample / "corpus.txt",
           "--output", documents)  # fmt: skip
    script(tree, "train_tokenizer", "--documents", documents / "train.parquet", "--lowercase",
           "--vocab-size", "4096", "--output", work / "tokenizer")  # fmt: skip
    for recipe in RECIPES:
        pairs = ["--next-sentence"] if recipe.startswith("next-sentence") else []
        inputs.datasets[recipe] = work / f"dataset-{recipe}"
        script(tree, "segment_text", "--documents", documents, "--tokenizer", inputs.tokenizer,
               "--max-length", "128", "--output", inputs.datasets[recipe], *pairs)  # fmt: skip
    for task in TASKS[:2]:
        files = [work / f"{task}-{split}.tsv" for split in ("train", "validation")]
        for file in files:
            reviews = sample / f"reviews-{file.stem.split('-')[1]}.tsv"
            file.write_text(labelled(reviews.read_text(encoding="utf-8"), task), encoding="utf-8")
        inputs.tasks[task] = work / f"task-{task}"
        script(tree, "prepare_task", "--train", files[0], "--validation", files[1],
               "--text-column", "sentence", "--label-column", "label",
               *(["--regression"] if task == "score" else []),
               "--output", inputs.tasks[task])  # fmt: skip
    inputs.encoder = work / "encoder"
    train(tree, "masked-lm", "fp32", inputs, inputs.encoder)
    return inputs


def labelled(reviews: str, task: str) -> str:
    """Return the table of reviews, for the regression with the share of letters e as label."""
    if task == "classes":
        return reviews
    head, *rows = reviews.splitlines()
    column = head.split("\t").index("sentence")
    texts = [row.split("\t")[column] for row in rows]
    return "sentence\tlabel\n" + "".join(
        f"{text}\t{10 * text.count('e') / max(1, len(text)):.3f}\n" for text in texts
    )


def train(tree: Path, name: str, precision: str, inputs: Inputs, output: Path) -> str:
    """Train one model with the scripts of `tree`; returns its weights' digest."""
    compute = ["--precision", precision, "--threads", "1", "--seed", "1"]
    if name in RECIPES:
        script(tree, "pretrain", "--dataset", inputs.datasets[name], "--tokenizer",
               inputs.tokenizer, "--output", output, "--run-dir", f"{output}-runs",
               "--train-batch-size", "16", "--compile", "off", *RECIPES[name],
               *compute)  # fmt: skip
    else:
        kind, _, more = name.partition("-")
        script(tree, "finetune", "--model", inputs.encoder, "--task", inputs.tasks[kind],
               "--output", output, *FINETUNING, *(PLAIN if more else []),
               *compute)  # fmt: skip
    return hashlib.sha256((output / "model.safetensors").read_bytes()).hexdigest()[:16]


def script(tree: Path, name: str, *flags: str | Path) -> None:
    """Run one of the scripts of `tree` with one thread."""
    command: Command = [sys.executable, tree / "scripts" / f"{name}.py", *flags]
    run(command, tree, OMP_NUM_THREADS="1")


if __name__ == "__main__":
    sys.exit(main())
