"""Training with threads that spin longer or shorter while they wait, on idle and busy cores.

`pretrain.py` trains a small encoder on the repository's sample with two threads, in turn as
OpenMP waits by itself (`active`), as Cloze has it wait (`default`), with other spin counts and
asleep (`passive`), beside `--busy` processes that only count. Ends with one JSON line: tokens a
second by the number of busy processes, and each's share of what `active` reaches alone.

Try: python benchmarks/waiting_threads.py
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import measure
import pretraining_contenders as contenders

SAMPLE = measure.ROOT / "resources" / "sample" / "corpus.txt"
ENVIRONMENTS = {
    "active": {"GOMP_SPINCOUNT": "300000"},
    "default": {},
    **{f"spin-{count}": {"GOMP_SPINCOUNT": str(count)} for count in (1_000, 3_000, 10_000, 30_000)},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
}


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--busy", nargs="+", type=int, default=[0, 1, 2], help="processes beside it"
    )
    parser.add_argument("--only", nargs="+", choices=ENVIRONMENTS, default=list(ENVIRONMENTS))
    parser.add_argument("--threads", default="2")
    parser.add_argument("--max-steps", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=3)
    return parser


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep one core busy inside the block."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def tokens_per_second(args: argparse.Namespace, work: Path, environment: dict[str, str]) -> float:
    """Train once; returns what the run itself says at its end."""
    tokenizer, dataset = contenders.prepare_data([SAMPLE], "paragraphs", 2048, 128, work)
    folder = measure.clean_folder(work / "run")
    command = measure.python(
        "pretrain.py",
        *("--dataset", dataset, "--tokenizer", tokenizer),
        *("--output", folder / "encoder", "--run-dir", folder / "runs"),
        *("--hidden-size", "128", "--num-hidden-layers", "2", "--num-attention-heads", "2"),
        *("--intermediate-size", "384", "--max-position-embeddings", "128"),
        *("--train-batch-size", "16", "--max-steps", str(args.max_steps)),
        *("--eval-steps", str(args.max_steps), "--threads", args.threads),
    )
    measure.run(command, measure.ROOT, **environment)
    lines = (folder / "encoder" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["tokens_per_second"] for line in lines if "grad_norm" in line][-1]


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    found: dict[int, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for busy in args.busy:
            found[busy] = {name: [] for name in args.only}
            for _ in range(args.repeats):
                for name in args.only:
                    with ExitStack() as others:
                        for _ in range(busy):
                            others.enter_context(busy_process())
                        speed = tokens_per_second(args, Path(temporary), ENVIRONMENTS[name])
                    found[busy][name].append(speed)
                    print(f"{busy} busy, {name}: {speed:.0f}", file=sys.stderr, flush=True)
    medians = {
        busy: {name: round(statistics.median(speeds), 1) for name, speeds in by_name.items()}
        for busy, by_name in found.items()
    }
    alone = medians[args.busy[0]][args.only[0]]
    shares = {
        busy: {name: round(speed / alone, 3) for name, speed in speeds.items()}
        for busy, speeds in medians.items()
    }
    measure.report({"share_of_the_first": shares, "tokens_per_second": medians})


if __name__ == "__main__":
    main()
