"""Our pretraining step on a CPU against Hugging Face's, same shape and tokens a step.

Ours is `scripts/pretrain.py` with `--precision auto --compile auto`. The peer is
`BertForMaskedLM` in fp32 with dropout 0.1 in the step of `transformers.Trainer`. Each has a
process; they compute in turn, in blocks of seconds. Then both train for a few steps
on the same text and `transformers` scores both models on the same masked tokens. Evaluation,
checkpoints and compilation are outside the measured blocks; compilation is `startup_s`.
Ends with one JSON line; `ratio` is tokens/s, ours over the peer's.

Needs `pip install transformers psutil`.
Try: python benchmarks/training_step.py --hidden-size 256 --num-hidden-layers 4
"""

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import contest
import hugging_face_trainer as hugging_face
import measure
import pretraining_contenders as contenders
from pretraining_contenders import Setting, Shape

SAMPLE = measure.ROOT / "resources" / "sample" / "corpus.txt"
VOCAB_SIZE = 30_522


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--num-hidden-layers", type=int, default=4)
    parser.add_argument("--layout", choices=("bert", "modernbert"), default="bert")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16, help="rows a step")
    parser.add_argument("--vocab-size", type=int, default=VOCAB_SIZE)
    parser.add_argument("--repeats", type=int, default=7, help="blocks of each")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a block")
    parser.add_argument("--loss-steps", type=int, default=200, help="0: compare no losses")
    parser.add_argument("--loss-seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--learning-rate", type=float, default=5e-4, help="peak, both")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="for pretrain.py")
    data = parser.add_argument_group("data (default: the repository's sample)")
    data.add_argument("--data", type=Path, nargs="+", default=[SAMPLE], metavar="FILE")
    data.add_argument("--format", default="paragraphs", help="as in extract_documents.py")
    data.add_argument("--work", type=Path, help="folder to keep the data set in")
    return parser


def compare_speed(ours: Setting, peer: Setting, args: argparse.Namespace) -> dict[str, Any]:
    """Measure both in turn; the first block of each, with compilation, does not count."""
    sides = {
        "ours": contest.Contender("ours", contenders.train_ours, ours),
        "peer": contest.Contender("peer", hugging_face.train, peer),
    }
    startup: dict[str, float] = {}
    blocks: dict[str, list[contest.Block]] = {name: [] for name in sides}
    for name, side in sides.items():
        started = time.perf_counter()
        side.block(args.seconds / 2)
        startup[name] = round(time.perf_counter() - started, 1)
    for repeat in range(args.repeats):
        for name, side in sides.items():
            blocks[name].append(side.block(args.seconds))
            speed = contest.tokens_per_second(blocks[name][-1:], ours.tokens_per_step)
            print(f"{repeat + 1}/{args.repeats} {name}: {speed:,.0f} tokens/s", file=sys.stderr)
    result: dict[str, Any] = {}
    for name, side in sides.items():
        speed = contest.tokens_per_second(blocks[name], ours.tokens_per_step)
        result[name] = {
            "tokens_per_second": speed,
            "step_ms": round(1e3 * ours.tokens_per_step / speed, 2),
            "steps": sum(block.steps for block in blocks[name]),
            "startup_s": startup[name],
            **side.finish(),
        }
    speeds = [result[name]["tokens_per_second"] for name in ("ours", "peer")]
    return {"ratio": round(speeds[0] / speeds[1], 2), **result}


def compare_losses(
    ours: Setting, peer: Setting, args: argparse.Namespace, work: Path
) -> dict[str, Any]:
    """Train both for `--loss-steps` with each seed; returns losses on the same masked tokens."""
    losses: dict[str, list[float]] = {"ours": [], "peer": []}
    trainers = {
        "ours": (contenders.train_ours, ours),
        "peer": (hugging_face.train, peer),
    }
    for seed in args.loss_seeds:
        for name, (train, setting) in trainers.items():
            output = work / f"{name}-{seed}"
            setting = dataclasses.replace(
                setting, max_steps=args.loss_steps, seed=seed, output=output,
                warmup_steps=max(1, args.loss_steps // 10),
            )  # fmt: skip
            contest.Contender(name, train, setting).train_to_the_end()
            losses[name].append(round(hugging_face.validation_loss(output, setting), 4))
            print(f"seed {seed} {name}: loss {losses[name][-1]:.4f}", file=sys.stderr)
    return losses


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    shape = Shape(args.layout, args.hidden_size, args.num_hidden_layers, args.max_length)
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        tokenizer, dataset = contenders.prepare_data(
            args.data, args.format, args.vocab_size, args.max_length, work
        )
        peer = Setting(
            shape, dataset, tokenizer, args.batch_size, args.learning_rate,
            contenders.USUAL_STEPS, 1000, 0, args.threads, "cpu",
        )  # fmt: skip
        ours = dataclasses.replace(peer, flags=tuple(args.flags))
        result = compare_speed(ours, peer, args)
        if args.loss_steps:
            compiled = "on" if result["ours"]["compute"]["compile"] else "off"
            # What a run of 200 steps would not repay is what is being checked.
            ours = dataclasses.replace(ours, flags=(*ours.flags, "--compile", compiled))
            result["losses"] = compare_losses(ours, peer, args, Path(temporary))
    setting = {**dataclasses.asdict(shape), "tokens_per_step": ours.tokens_per_step}
    measure.report({**result, "setting": {**setting, "threads": args.threads}})


if __name__ == "__main__":
    main()
