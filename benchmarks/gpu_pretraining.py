"""Our pretraining step on one GPU against Hugging Face's, and against the card's own limit.

Ours is `scripts/pretrain.py` with everything on `auto`. The peer is `AutoModelForMaskedLM` with
SDPA, bf16, fused AdamW and loader processes in the step of `transformers.Trainer`, eager and
compiled, with each of `--peer-batch-sizes`; its fastest counts. They compute in turn.
Model FLOP are 6N + 12LdT a token with the vocabulary at predicted positions only, and their
share is of the bf16 matrix product that is measured first. The loader's share is the time
that steps take less when every step gets the same batch. Ends with one JSON line; `ratio` is
tokens/s, ours over the peer's fastest, or absent without `transformers`.

The data can be made elsewhere (`--prepare-only`) and carried in `--work`; there this needs
PyTorch, NumPy, pyarrow, tokenizers, matplotlib, psutil and, for the peer, transformers.
Try: python benchmarks/gpu_pretraining.py --work gpu-data
"""

import argparse
import dataclasses
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import contest
import hugging_face_trainer as hugging_face
import measure
import pretraining_contenders as contenders
import torch
from pretraining_contenders import Setting, Shape

sys.path.insert(0, str(measure.SCRIPTS))

from cloze.train.utilisation import matmul_peak, training_flop

SAMPLE = measure.ROOT / "resources" / "sample" / "corpus.txt"
MLM_PROBABILITY = 0.15


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden-size", type=int, default=768)
    parser.add_argument("--num-hidden-layers", type=int, default=12)
    parser.add_argument("--layout", choices=("bert", "modernbert"), default="bert")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=512, help="rows a step, ours")
    parser.add_argument("--peer-batch-sizes", type=int, nargs="*", default=[128, 256])
    parser.add_argument("--vocab-size", type=int, default=32_768)
    parser.add_argument("--repeats", type=int, default=3, help="blocks with each peer")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a block")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="for pretrain.py")
    data = parser.add_argument_group("data (default: the repository's sample)")
    data.add_argument("--data", type=Path, nargs="+", default=[SAMPLE], metavar="FILE")
    data.add_argument("--format", default="paragraphs", help="as in extract_documents.py")
    data.add_argument("--work", type=Path, help="folder to keep the data set in")
    data.add_argument("--prepare-only", action="store_true", help="make the data and stop")
    return parser


def peer_settings(ours: Setting, args: argparse.Namespace) -> dict[str, Setting]:
    """Return every way in which the peer is tried; none without `transformers`."""
    if importlib.util.find_spec("transformers") is None:
        print("transformers is not installed, so no peer is measured", file=sys.stderr)
        return {}
    precision = "bf16" if args.device == "cuda" else "fp32"
    return {
        f"{'compiled' if compiled else 'eager'}, {size} rows": dataclasses.replace(
            ours, batch_size=size, precision=precision, compile=compiled, flags=()
        )
        for compiled in (False, True)
        for size in args.peer_batch_sizes
    }


class OurSide:
    """Our trainer's blocks: with its loader, and with one batch over and over."""

    def __init__(self, setting: Setting, seconds: float) -> None:
        self._side = contest.Contender("ours", contenders.train_ours, setting)
        self._setting, self._seconds = setting, seconds
        started = time.perf_counter()
        self._side.block(seconds / 2)
        self.startup_s = round(time.perf_counter() - started, 1)
        self._blocks: dict[str, list[contest.Block]] = {"": [], contenders.SAME_BATCH: []}

    def measure(self) -> None:
        """Do a block of either kind."""
        for mode, blocks in self._blocks.items():
            blocks.append(self._side.block(self._seconds, mode))

    def finish(self) -> dict[str, Any]:
        """End it; returns speed, the loader's share and what the trainer says of itself."""
        step_seconds = {
            mode: statistics.median(block.seconds / block.steps for block in blocks)
            for mode, blocks in self._blocks.items()
        }
        whole, bare = step_seconds[""], step_seconds[contenders.SAME_BATCH]
        return {
            "tokens_per_second": round(self._setting.tokens_per_step / whole, 1),
            "step_ms": round(1e3 * whole, 3),
            "loader_share": round(max(0.0, 1 - bare / whole), 4),
            "startup_s": self.startup_s,
            **self._side.finish(),
        }


def measure_peer(name: str, setting: Setting, ours: OurSide, args: argparse.Namespace) -> Any:
    """Measure one way of running the peer, in turn with ours; None if it cannot run."""
    try:
        side = contest.Contender(name, hugging_face.train, setting)
        side.block(args.seconds / 2)
        blocks = []
        for _ in range(args.repeats):
            ours.measure()
            blocks.append(side.block(args.seconds))
        speed = contest.tokens_per_second(blocks, setting.tokens_per_step)
        print(f"peer, {name}: {speed:,.0f} tokens/s", file=sys.stderr)
        return {"tokens_per_second": speed, **side.finish()}
    except contest.ContenderError as error:
        print(f"peer, {error}", file=sys.stderr)
        return None


def compare(setting: Setting, args: argparse.Namespace) -> dict[str, Any]:
    """Measure everything; returns what the JSON line holds."""
    peak = matmul_peak(args.device, "bf16")
    side = OurSide(setting, args.seconds)
    peers = {
        name: measured
        for name, peer in peer_settings(setting, args).items()
        if (measured := measure_peer(name, peer, side, args))
    }
    if not peers:
        for _ in range(args.repeats):
            side.measure()
    ours = side.finish()
    model_flops = ours["tokens_per_second"] * training_flop(
        contenders.encoder_config(setting), 1, setting.shape.max_length, MLM_PROBABILITY
    )
    ours["model_tflops"] = round(model_flops / 1e12, 3)
    ours["share_of_matmul_peak"] = round(model_flops / peak, 4)
    result: dict[str, Any] = {}
    if peers:
        fastest = max(peers, key=lambda name: peers[name]["tokens_per_second"])
        speeds = [side["tokens_per_second"] for side in (ours, peers[fastest])]
        result = {"ratio": round(speeds[0] / speeds[1], 2), "fastest_peer": fastest}
    return {
        **result,
        "ours": ours,
        "peers": peers,
        "matmul_peak_tflops": round(peak / 1e12, 3),
        "setting": {**dataclasses.asdict(setting.shape), "batch_size": setting.batch_size},
    }


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    if args.device == "cuda" and not args.prepare_only and not torch.cuda.is_available():
        sys.exit("PyTorch sees no CUDA card here; --device cpu rehearses this on any machine")
    shape = Shape(args.layout, args.hidden_size, args.num_hidden_layers, args.max_length)
    with tempfile.TemporaryDirectory() as temporary:
        tokenizer, dataset = contenders.prepare_data(
            args.data, args.format, args.vocab_size, args.max_length, args.work or Path(temporary)
        )
        if args.prepare_only:
            return
        setting = Setting(
            shape, dataset, tokenizer, args.batch_size, 1e-4, contenders.USUAL_STEPS, 1000, 0,
            args.threads, args.device, flags=tuple(args.flags),
        )  # fmt: skip
        measure.report(compare(setting, args))


if __name__ == "__main__":
    main()
