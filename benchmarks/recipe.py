"""The default pretraining recipe against AdamW from random embeddings, tuned, by the clock.

AdamW trains with each of four learning rates and one seed; the best of them then trains with
every seed. The default recipe, with no learning rate given, trains in turn with it and has
`--share` of its steps, its schedule fitted to these. Seconds are those of the whole command, from
the start of Python to the saved encoder: counting, compilation and the validation at the end are
in them. `reached` says for each seed whether the default's final validation loss is the lower one,
`ratio` is AdamW's median seconds over the default's.

Try: python benchmarks/recipe.py --data train-00.txt.xz --format wikitext
"""

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import measure
import pretraining_contenders as contenders

SAMPLE = measure.ROOT / "resources" / "sample" / "corpus.txt"


@dataclass(frozen=True)
class Outcome:
    """One run: seconds of the command, steps, validation loss in nats at its end."""

    seconds: float
    steps: int
    validation_loss: float


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--num-hidden-layers", type=int, default=2)
    parser.add_argument("--layout", choices=("bert", "modernbert"), default="modernbert")
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--train-batch-size", type=int, default=64, help="rows a step")
    parser.add_argument("--max-steps", type=int, default=1000, help="of AdamW")
    parser.add_argument("--share", type=float, default=0.5, help="of them that the default has")
    parser.add_argument(
        "--learning-rates", nargs=4, default=["1e-3", "2e-3", "4e-3", "8e-3"], metavar="RATE"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", default="1")
    data = parser.add_argument_group("data (default: the repository's sample)")
    data.add_argument("--data", type=Path, nargs="+", default=[SAMPLE], metavar="FILE")
    data.add_argument("--format", default="paragraphs", help="as in extract_documents.py")
    data.add_argument("--work", type=Path, help="folder to keep the data set in")
    return parser


class Bench:
    """Trains with the flags that both recipes share."""

    def __init__(self, args: argparse.Namespace, work: Path) -> None:
        self._args, self._work = args, work
        self._tokenizer, self._dataset = contenders.prepare_data(
            args.data, args.format, args.vocab_size, args.max_length, work
        )

    def tuned(self, learning_rate: str, seed: int) -> Outcome:
        """Train from random embeddings at this learning rate."""
        flags = ["--learning-rate", learning_rate, "--embedding-init", "random"]
        return self._train(f"adamw-{learning_rate}-{seed}", self._args.max_steps, seed, flags)

    def default(self, seed: int) -> Outcome:
        """Train as `pretrain.py` does unless told otherwise."""
        steps = round(self._args.share * self._args.max_steps)
        return self._train(f"default-{seed}", steps, seed, [])

    def _train(self, name: str, steps: int, seed: int, flags: list[str]) -> Outcome:
        args, folder = self._args, measure.clean_folder(self._work / "runs" / name)
        cost = measure.run(
            measure.python(
                "pretrain.py",
                *("--dataset", self._dataset, "--tokenizer", self._tokenizer),
                *("--output", folder, "--run-dir", folder / ".runs"),
                *("--layout", args.layout, "--hidden-size", str(args.hidden_size)),
                *("--num-hidden-layers", str(args.num_hidden_layers)),
                *("--num-attention-heads", str(max(1, args.hidden_size // 64))),
                *("--intermediate-size", str(args.hidden_size * 3)),
                *("--max-position-embeddings", str(args.max_length), "--layer-norm-eps", "1e-5"),
                *("--train-batch-size", str(args.train_batch_size), "--max-steps", str(steps)),
                *("--eval-steps", str(steps), "--seed", str(seed), "--threads", args.threads),
                *flags,
            )
        )
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["metrics"]
        outcome = Outcome(cost.wall_s, steps, round(metrics["validation_loss"], 4))
        print(f"{name}: {outcome}", file=sys.stderr, flush=True)
        return outcome


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(args, args.work or Path(temporary))
        first, *others = args.seeds
        tried = {rate: bench.tuned(rate, first) for rate in args.learning_rates}
        best = min(tried, key=lambda rate: tried[rate].validation_loss)
        tuned, default = [tried[best]], [bench.default(first)]
        for seed in others:
            tuned.append(bench.tuned(best, seed))
            default.append(bench.default(seed))
    seconds = {
        name: statistics.median(outcome.seconds for outcome in outcomes)
        for name, outcomes in (("adamw", tuned), ("default", default))
    }
    measure.report(
        {
            "ratio": round(seconds["adamw"] / seconds["default"], 2),
            "seconds": seconds,
            "steps": {"adamw": tuned[0].steps, "default": default[0].steps},
            "reached": [
                ours.validation_loss <= theirs.validation_loss
                for ours, theirs in zip(default, tuned, strict=True)
            ],
            "validation_loss": {
                "adamw": [outcome.validation_loss for outcome in tuned],
                "default": [outcome.validation_loss for outcome in default],
            },
            "learning_rate": best,
            "validation_loss_by_learning_rate": {
                rate: outcome.validation_loss for rate, outcome in tried.items()
            },
        }
    )


if __name__ == "__main__":
    main()
