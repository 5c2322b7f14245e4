"""An encoder adapted to a domain, against the same unadapted and one trained there from scratch.

One encoder learns general text for `--base-seconds`. Then, for each seed and for `--seconds`
each: a new encoder learns the domain with a tokenizer of its own (`scratch`); the general one goes
on there with its tokenizer (`adapted`) and with one that is extended by `--pieces`, whose vectors
start as the mean of the old pieces, from co-occurrence, or at random. All are measured on held-out
text of both, in bits a byte with whole words masked, and fine-tuned with the same seed on each
task. The unadapted encoder is measured alike.

Ends with one JSON line. `bits` and `scores` hold each arm's values by seed; `differences` hold for
each pair of arms the mean over the seeds with Student's 95 % interval (below 0: fewer bits) and,
of each task, the score with a paired bootstrap over its rows. `best` is the start with the fewest
bits on the domain.

Try: python benchmarks/adaptation.py --general train-00.txt.xz --domain novels.txt.xz \\
         --format wikitext --task results/tasks/sst2
"""

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import measure

sys.path.insert(0, str(measure.SCRIPTS))

from cloze.tasks.evaluations import Evaluations, read_evaluations
from cloze.tasks.resampled_scores import difference_of
from cloze.tasks.statistics import summarise

STARTS = ("mean", "cooccurrence", "random")
ARMS = ("unadapted", "scratch", "adapted", *STARTS)
CORPORA = ("domain", "general")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--general", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--domain", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--format", default="wikitext", help="as in extract_documents.py")
    parser.add_argument(
        "--task", type=Path, nargs="*", default=[], help="folders of prepare_task.py"
    )
    parser.add_argument(
        "--finetuning", default="--learning-rate 5e-4 --max-length 128", help="flags of finetune.py"
    )
    parser.add_argument("--base-seconds", default="1200")
    parser.add_argument("--seconds", default="600")
    parser.add_argument("--pieces", default="2000")
    parser.add_argument("--vocab-size", default="8192")
    parser.add_argument("--max-length", default="128")
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--num-hidden-layers", type=int, default=4)
    parser.add_argument("--adaptation", default="", help="flags of pretrain.py for what is adapted")
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    parser.add_argument("--threads", default="1")
    parser.add_argument("--work", type=Path, help="folder to work in; what it holds is kept")
    return parser


class Bench:
    """Makes what the arms need, each thing once."""

    def __init__(self, args: argparse.Namespace, work: Path) -> None:
        self._args, self._work = args, work

    def documents(self, corpus: str) -> Path:
        """Return the folder of a corpus's documents."""
        folder = self._work / corpus / "documents"
        files = getattr(self._args, corpus)
        return self._made(
            folder, "metrics.json", "extract_documents.py",
            "--input", *files, "--format", self._args.format, "--output", folder,
        )  # fmt: skip

    def base(self) -> Path:
        """Return the encoder of general text."""
        return self._pretrained("general", self._own_tokenizer("general"), "base", [
            *self._shape(), "--budget", self._args.base_seconds, "--seed", "0",
        ])  # fmt: skip

    def model(self, arm: str, seed: str) -> Path:
        """Return the encoder of an arm."""
        if arm == "unadapted":
            return self.base()
        budget = ["--budget", self._args.seconds, "--seed", seed]
        if arm == "scratch":
            flags = [*self._shape(), *budget]
            return self._pretrained("domain", self._own_tokenizer("domain"), f"{arm}-{seed}", flags)
        pieces = "0" if arm == "adapted" else self._args.pieces
        tokenizer = self._work / "domain" / f"base+{pieces}"
        self._made(
            tokenizer, "metrics.json", "extend_tokenizer.py", "--model", self.base(),
            "--documents", self.documents("domain"), "--output", tokenizer,
            "--extend-vocabulary", pieces,
        )  # fmt: skip
        flags = ["--adapt", self.base(), *budget, *self._args.adaptation.split()]
        flags += [] if arm == "adapted" else ["--new-embedding-init", arm]
        return self._pretrained("domain", tokenizer, f"{arm}-{seed}", flags)

    def bits(self, model: Path, corpus: str) -> float:
        """Return the masked-LM loss of an encoder on held-out text, in bits a byte."""
        output = model / f"{corpus}.json"
        self._made(
            model, output.name, "evaluate_masked_lm.py", "--model", model,
            "--documents", self.documents(corpus), "--output", output, *self._threads(),
        )  # fmt: skip
        found: float = _metrics(output)["masked_bits_per_byte"]
        return found

    def evaluation(self, model: Path, task: Path, seed: str) -> Path:
        """Return the evaluation of an encoder that was fine-tuned on a task."""
        tuned = model / task.name / f"seed-{seed}"
        flags: measure.Command = ["--task", task, *self._threads()]
        self._made(
            tuned, "metrics.json", "finetune.py", "--model", model, "--output", tuned, "--run-dir",
            tuned / ".runs", "--seed", seed, *flags, *self._args.finetuning.split(),
        )  # fmt: skip
        length = self._args.finetuning.split()
        cut = length[length.index("--max-length") :][:2] if "--max-length" in length else []
        flags += ["--model", tuned, "--output", tuned / "validation", *cut]
        return self._made(tuned / "validation", "metrics.json", "evaluate.py", *flags)

    def tokens_per_word(self) -> dict[str, float]:
        """Return what the extension brought, on held-out text of the domain."""
        folder = self._work / "domain" / f"base+{self._args.pieces}"
        found: dict[str, float] = _metrics(folder / "metrics.json")["tokens_per_word"]
        return found

    def _own_tokenizer(self, corpus: str) -> Path:
        folder = self._work / corpus / "own"
        return self._made(
            folder, "metrics.json", "train_tokenizer.py",
            "--documents", self.documents(corpus) / "train.parquet", "--output", folder,
            "--vocab-size", self._args.vocab_size, "--lowercase",
        )  # fmt: skip

    def _pretrained(self, corpus: str, tokenizer: Path, name: str, flags: list[str | Path]) -> Path:
        vocabulary, dataset = tokenizer / "tokenizer.json", tokenizer / "dataset"
        self._made(
            dataset, "metrics.json", "split_tokens.py", "--documents", self.documents(corpus),
            "--tokenizer", vocabulary, "--output", dataset, "--whole-words",
            "--max-length", self._args.max_length, *self._threads(),
        )  # fmt: skip
        folder = self._work / "models" / name
        return self._made(
            folder, "metrics.json", "pretrain.py", "--dataset", dataset, "--tokenizer", vocabulary,
            "--output", folder, "--run-dir", folder / ".runs", *flags, *self._threads(),
        )  # fmt: skip

    def _shape(self) -> list[str | Path]:
        size = self._args.hidden_size
        return [
            *("--layout", "modernbert", "--hidden-size", str(size)),
            *("--num-hidden-layers", str(self._args.num_hidden_layers)),
            *("--num-attention-heads", str(max(1, size // 64))),
            *("--intermediate-size", str(3 * size), "--layer-norm-eps", "1e-5"),
            *("--max-position-embeddings", self._args.max_length),
        ]

    def _threads(self) -> list[str | Path]:
        return ["--threads", self._args.threads]

    def _made(self, folder: Path, last: str, script: str, *flags: str | Path) -> Path:
        """Run a script unless the file that it writes last is there; returns the folder."""
        if not (folder / last).is_file():
            cost = measure.run(measure.python(script, *flags))
            print(f"{folder / last}: {cost.wall_s:.0f} s", file=sys.stderr, flush=True)
        return folder


def _metrics(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    return found


def compared(
    arm: str,
    other: str,
    bits: dict[str, dict[str, list[float]]],
    evaluations: dict[str, dict[str, Evaluations]],
) -> dict[str, Any]:
    """Return how much one arm differs from another, on each corpus and each task."""
    found: dict[str, Any] = {}
    for corpus, values in bits.items():
        pairs = zip(values[arm], values[other], strict=True)
        found[corpus] = asdict(summarise([ours - theirs for ours, theirs in pairs]))
    for task, by_arm in evaluations.items():
        metric = by_arm[arm].seeds[0].metrics["metric"]
        found[task] = asdict(difference_of(by_arm[arm], by_arm[other], metric))
    return found


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(args, args.work or Path(temporary))
        models = {arm: [bench.model(arm, seed) for seed in args.seeds] for arm in ARMS}
        bits = {
            corpus: {arm: [bench.bits(model, corpus) for model in models[arm]] for arm in ARMS}
            for corpus in CORPORA
        }
        evaluations = {
            task.name: {
                arm: Evaluations(
                    [
                        read_evaluations([bench.evaluation(model, task, seed)]).seeds[0]
                        for model, seed in zip(models[arm], args.seeds, strict=True)
                    ]
                )
                for arm in ARMS
            }
            for task in args.task
        }
        tokens_per_word = bench.tokens_per_word()
    best = min(STARTS, key=lambda arm: statistics.mean(bits["domain"][arm]))
    pairs = [("adapted", "unadapted"), ("adapted", "scratch"), (best, "adapted")]
    pairs += [(arm, "random") for arm in STARTS[:2]]
    measure.report(
        {
            "best": best,
            "differences": {
                f"{arm} - {other}": compared(arm, other, bits, evaluations) for arm, other in pairs
            },
            "bits": bits,
            "scores": {
                task: {arm: list(found.values("score").values()) for arm, found in by_arm.items()}
                for task, by_arm in evaluations.items()
            },
            "tokens_per_word": tokens_per_word,
        }
    )


if __name__ == "__main__":
    main()
