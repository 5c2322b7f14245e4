"""Work of two threads that spin longer or shorter while they wait, on idle and busy cores.

A small encoder of the repository's sample is trained, fine-tuned, evaluated or used to predict
with two threads, in turn as OpenMP waits by itself (`active`), as Cloze has it wait (`default`),
with other spin counts and asleep (`passive`), beside `--busy` processes that only count. Ends
with one JSON line: speeds by the number of busy processes (tokens a second as the training
measures them, texts a second of evaluation and prediction without their start), and each's share
of what `active` reaches alone.

Try: python benchmarks/waiting_threads.py
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import measure
import same_weights
from same_speed import FEW_TEXTS, MANY_TEXTS, tokens_per_second

WORK = ("pretraining", "finetuning", "evaluation", "prediction")
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
    parser.add_argument("--work", choices=WORK, default="pretraining")
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


class Work:
    """The commands that are measured; each speed is of one run of them."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self._args, self._folder = args, folder
        self._inputs = same_weights.make_inputs(measure.ROOT, folder)
        self._threads = ("--threads", args.threads)
        if args.work in ("evaluation", "prediction"):
            self.finetuning({})
            self._classifier = (folder / "model").rename(folder / "classifier")
            self._texts = {count: self._many_texts(count) for count in (FEW_TEXTS, MANY_TEXTS)}

    def pretraining(self, environment: dict[str, str]) -> float:
        """Train an encoder; returns tokens a second."""
        steps = str(self._args.max_steps)
        return self._train(
            "pretrain.py",
            environment,
            *("--dataset", self._inputs.datasets["masked-lm"]),
            *("--tokenizer", self._inputs.tokenizer, "--run-dir", self._folder / "model" / "runs"),
            *("--hidden-size", "128", "--num-hidden-layers", "2", "--num-attention-heads", "2"),
            *("--intermediate-size", "384", "--max-position-embeddings", "128"),
            *("--train-batch-size", "16", "--max-steps", steps, "--eval-steps", steps),
        )

    def finetuning(self, environment: dict[str, str]) -> float:
        """Fine-tune an encoder; returns tokens a second."""
        return self._train(
            "finetune.py",
            environment,
            *("--model", self._inputs.encoder, "--task", self._inputs.tasks["classes"]),
            *("--num-train-epochs", "1", "--max-length", "64"),
        )

    def evaluation(self, environment: dict[str, str]) -> float:
        """Evaluate a classifier; returns rows a second."""
        return self._without_start(environment, "evaluate.py", self._evaluation_flags)

    def prediction(self, environment: dict[str, str]) -> float:
        """Classify texts; returns texts a second."""
        return self._without_start(environment, "predict.py", self._prediction_flags)

    def _train(self, script: str, environment: dict[str, str], *flags: str | Path) -> float:
        folder = measure.clean_folder(self._folder / "model")
        command = measure.python(script, *flags, "--output", folder, *self._threads)
        measure.run(command, measure.ROOT, **environment)
        return tokens_per_second(folder)

    def _without_start(
        self, environment: dict[str, str], script: str, flags: Callable[[int], measure.Command]
    ) -> float:
        seconds = {}
        for count in self._texts:
            command = measure.python(script, *flags(count), *self._threads)
            seconds[count] = measure.run(command, measure.ROOT, **environment).wall_s
        return (MANY_TEXTS - FEW_TEXTS) / (seconds[MANY_TEXTS] - seconds[FEW_TEXTS])

    def _evaluation_flags(self, count: int) -> measure.Command:
        output = measure.clean_folder(self._folder / "evaluation")
        task = self._folder / f"task-{count}"
        return ["--model", self._classifier, "--task", task, "--output", output]

    def _prediction_flags(self, count: int) -> measure.Command:
        output = self._folder / "predictions.tsv"
        return ["classify", "--model", self._classifier, "--input", self._texts[count],
                "--output", output]  # fmt: skip

    def _many_texts(self, count: int) -> Path:
        """Write so many different texts as a file, and as a task whose validation they are."""
        texts = [
            f"{number} the film was {'good' if number % 3 else 'a long way from good'}"
            for number in range(count)
        ]
        path, rows = self._folder / f"{count}.txt", self._folder / f"{count}.tsv"
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
        labelled = (f"{text}\t{number % 2}\n" for number, text in enumerate(texts))
        rows.write_text("sentence\tlabel\n" + "".join(labelled), encoding="utf-8")
        few = self._folder / "classes-train.tsv"
        command = measure.python(
            "prepare_task.py",
            *("--train", few, "--validation", rows, "--text-column", "sentence"),
            *("--label-column", "label", "--output", self._folder / f"task-{count}"),
        )
        measure.run(command, measure.ROOT)
        return path


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    found: dict[int, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        speed_of = getattr(Work(args, Path(temporary)), args.work)
        for busy in args.busy:
            found[busy] = {name: [] for name in args.only}
            for _ in range(args.repeats):
                for name in args.only:
                    with ExitStack() as others:
                        for _ in range(busy):
                            others.enter_context(busy_process())
                        speed = speed_of(ENVIRONMENTS[name])
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
    measure.report({"share_of_the_first": shares, "speeds": medians})


if __name__ == "__main__":
    main()
