"""Choose fine-tuning hyper-parameters, for a pretrained encoder and for none alike.

Every combination of the learning rates and epochs is trained on a task folder whose
validation split is a hold-out of the training file (`prepare_task.py --hold-out-fraction`);
the published validation file is never read. Prints a line a run as it ends, then one JSON
line with the best of each: the setting whose mean over the seeds is highest.

Try: python benchmarks/finetuning_grid.py --model MODEL --task HOLD_OUT_TASK --output /tmp/grid
"""

import argparse
import concurrent.futures
import itertools
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "scripts"


@dataclass(frozen=True)
class Setting:
    """One point of the grid."""

    from_scratch: bool
    learning_rate: str
    num_train_epochs: int

    @property
    def name(self) -> str:
        """Name of the setting's folder."""
        start = "scratch" if self.from_scratch else "pretrained"
        return f"{start}-{self.learning_rate}-{self.num_train_epochs}"


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="pretrained model folder")
    parser.add_argument("--task", type=Path, required=True, help="task folder with a hold-out")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--learning-rates", nargs="+", default=["1e-4", "3e-4", "1e-3"])
    parser.add_argument("--epochs", nargs="+", type=int, default=[2])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, one thread each")
    parser.add_argument(
        "--only", choices=("pretrained", "scratch"), help="leave the other half of the grid out"
    )
    return parser


def accuracy(args: argparse.Namespace, setting: Setting, seed: int) -> float:
    """Fine-tune and evaluate once; returns the accuracy on the hold-out."""
    folder = args.output / setting.name / f"seed-{seed}"
    train = ["finetune.py", "--model", args.model, "--task", args.task, "--output", folder]
    train += ["--learning-rate", setting.learning_rate, "--seed", seed]
    train += ["--num-train-epochs", setting.num_train_epochs, "--max-length", args.max_length]
    train += ["--from-scratch"] if setting.from_scratch else []
    measure = ["evaluate.py", "--model", folder, "--task", args.task, "--output", folder / "held"]
    measure += ["--max-length", args.max_length]
    for script, *flags in (train, measure):
        command = [sys.executable, SCRIPTS / script, *flags, "--threads", 1]
        subprocess.run([str(part) for part in command], check=True)
    trained, held = (
        json.loads((place / "metrics.json").read_text())["metrics"]
        for place in (folder, folder / "held")
    )
    print(
        f"{setting.name} seed {seed}: training {trained['train_accuracy']:.4f}, "
        f"hold-out {held['accuracy']:.4f}, {trained['train_seconds']:.0f} s",
        flush=True,
    )
    return float(held["accuracy"])


def main() -> None:
    """Run the grid."""
    args = build_parser().parse_args()
    starts = [False, True] if args.only is None else [args.only == "scratch"]
    settings = list(
        itertools.starmap(Setting, itertools.product(starts, args.learning_rates, args.epochs))
    )
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        futures = {
            setting: [pool.submit(accuracy, args, setting, seed) for seed in args.seeds]
            for setting in settings
        }
        means = {
            setting: statistics.mean(future.result() for future in runs)
            for setting, runs in futures.items()
        }
    best = {}
    for start in starts:
        chosen = max((s for s in settings if s.from_scratch == start), key=means.__getitem__)
        best["scratch" if start else "pretrained"] = {
            "learning_rate": chosen.learning_rate,
            "num_train_epochs": chosen.num_train_epochs,
            "hold_out_accuracy": round(means[chosen], 4),
        }
    print(json.dumps(best))


if __name__ == "__main__":
    main()
