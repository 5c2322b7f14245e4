"""Tell how fast this checkout trains, fine-tunes and predicts beside another revision.

Checks the other revision out beside this one and makes data with it as same_weights.py does;
then both do the same work in turn: optimizer steps of two encoders, three epochs of
fine-tuning, and the classification of many texts, whose start is taken off. Ends with one JSON
line: for each, the median ratio of this checkout's speed to the other's, and both medians
(tokens a second as the runs measure them; texts a CPU second).

Try: python benchmarks/same_speed.py main
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import measure
import same_weights

SHAPES = {
    "128x2": ["--hidden-size", "128", "--num-hidden-layers", "2", "--num-attention-heads", "2",
              "--intermediate-size", "512"],
    "256x4": ["--hidden-size", "256", "--num-hidden-layers", "4", "--num-attention-heads", "4",
              "--intermediate-size", "1024"],
}  # fmt: skip
STEPS = {"128x2": "150", "256x4": "40"}
FEW_TEXTS, MANY_TEXTS = 2_000, 42_000

Speed = Callable[[Path, Path], float]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", help="what to compare this checkout with")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--only", nargs="+", help="only these: 128x2, 256x4, finetuning, prediction"
    )
    args = parser.parse_args()
    result: dict[str, object] = {}
    with (
        tempfile.TemporaryDirectory() as temporary,
        same_weights.other_checkout(args.revision) as old,
    ):
        work = Path(temporary)
        works = works_of(same_weights.make_inputs(old, work), work)
        for name in args.only or works:
            speeds: tuple[list[float], list[float]] = ([], [])
            for _ in range(args.repeats):
                for tree, found in zip((measure.ROOT, old), speeds, strict=True):
                    found.append(works[name](tree, measure.clean_folder(work / "run")))
            ratios = [ours / theirs for ours, theirs in zip(*speeds, strict=True)]
            medians = [round(statistics.median(found), 1) for found in speeds]
            result[name] = {"ratio": round(statistics.median(ratios), 3), "medians": medians}
            print(f"{name}: {result[name]} ratios {[round(r, 3) for r in ratios]}", file=sys.stderr)
    measure.report(result)


def works_of(inputs: same_weights.Inputs, work: Path) -> dict[str, Speed]:
    """Return what is measured, by name: functions of a checkout and an empty folder."""
    texts = [f"{number} the film was {'good' if number % 3 else 'a long way from good'}"
             for number in range(MANY_TEXTS)]  # fmt: skip
    files = {}
    for count in (FEW_TEXTS, MANY_TEXTS):
        files[count] = work / f"{count}.txt"
        files[count].write_text("\n".join(texts[:count]) + "\n", encoding="utf-8")

    def steps(shape: str) -> Speed:
        def train(tree: Path, folder: Path) -> float:
            flags: measure.Command = [
                *("--dataset", inputs.datasets["masked-lm"], "--tokenizer", inputs.tokenizer),
                *("--output", folder / "model", "--run-dir", folder / "runs"),
                *("--train-batch-size", "16", "--max-position-embeddings", "128"),
                *(*SHAPES[shape], "--max-steps", STEPS[shape], "--eval-steps", STEPS[shape]),
                *("--embedding-init", "random", "--compile", "off"),
            ]
            measure.run([sys.executable, tree / "scripts" / "pretrain.py", *flags], tree)
            return tokens_per_second(folder / "model")

        return train

    def finetune(tree: Path, folder: Path) -> float:
        flags: measure.Command = [
            *("--model", inputs.encoder, "--task", inputs.tasks["classes"]),
            *("--output", folder / "model", "--num-train-epochs", "3", "--max-length", "64"),
            *("--threads", "1"),
        ]
        measure.run([sys.executable, tree / "scripts" / "finetune.py", *flags], tree)
        return tokens_per_second(folder / "model")

    classifier = work / "classifier"

    def predict(tree: Path, folder: Path) -> float:
        if not classifier.is_dir():
            flags: measure.Command = [
                *("--model", inputs.encoder, "--task", inputs.tasks["classes"]),
                *("--output", classifier, "--num-train-epochs", "1", "--max-length", "64"),
            ]
            measure.run([sys.executable, tree / "scripts" / "finetune.py", *flags], tree)
        seconds = {}
        for count, file in files.items():
            command: measure.Command = [
                *(sys.executable, tree / "scripts" / "predict.py", "classify", "--model"),
                *(classifier, "--input", file, "--output", folder / "out.tsv"),
            ]
            seconds[count] = measure.run(command, tree).cpu_s
        return (MANY_TEXTS - FEW_TEXTS) / (seconds[MANY_TEXTS] - seconds[FEW_TEXTS])

    return {name: steps(name) for name in SHAPES} | {"finetuning": finetune, "prediction": predict}


def tokens_per_second(folder: Path) -> float:
    """Return the speed that a training measured of itself."""
    record = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return float(record["metrics"]["tokens_per_second"])


if __name__ == "__main__":
    main()
