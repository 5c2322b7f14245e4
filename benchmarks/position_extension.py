"""Ways to give a trained encoder positions for longer texts: before and after training on them.

Every way starts from the same model folder and trains the same steps on a data set of longer
samples, with `pretrain.py`. Of an encoder with rotary positions the base stays, is stretched (what
`--trained-length` does) or is sixteen times as high; of one with learned positions the longer ones
are drawn at random, interpolated between the trained ones, or repeat them (what it does). Losses
are in nats a token: `start` over a few validation rows before the first step, `first` and `beyond`
at its end over the positions up to the trained length and those after it.

Try: python benchmarks/position_extension.py --model MODEL --trained-length 128
--dataset DATASET --tokenizer tokenizer.json --max-steps 200
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import measure
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file
from torch import Tensor

_POSITIONS = "bert.embeddings.position_embeddings.weight"


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of pretrain.py")
    parser.add_argument("--trained-length", type=int, required=True, help="tokens it has seen")
    parser.add_argument("--dataset", type=Path, required=True, help="of longer samples")
    parser.add_argument("--tokenizer", type=Path, required=True, help="its tokenizer.json")
    parser.add_argument("--max-steps", default="200")
    parser.add_argument("--train-batch-size", default="8", help="rows a step")
    parser.add_argument("--learning-rate", default="1e-3")
    parser.add_argument("--seeds", nargs="+", default=["0"])
    return parser


def variants(model: Path, trained: int, length: int, folder: Path) -> dict[str, tuple[Path, int]]:
    """Return name of each way to the folder to start from and what it is said to have seen."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    weights = load_file(model / "model.safetensors")
    ways: dict[str, tuple[dict[str, Any], dict[str, Tensor]]] = {}
    if config["model_type"] == "modernbert":
        base = config["global_rope_theta"]
        ways = {
            "base as it was": ({}, {}),
            "base 16 times as high": ({"global_rope_theta": 16 * base}, {}),
        }
        default = "base stretched"
    else:
        seen = weights[_POSITIONS][:trained]
        drawn = config["initializer_range"] * torch.randn(length - trained, seen.shape[1])
        between = F.interpolate(seen.T[None], size=length, mode="linear", align_corners=True)
        ways = {
            "drawn at random": ({}, {_POSITIONS: torch.cat((seen, drawn))}),
            "interpolated": ({}, {_POSITIONS: between[0].T.contiguous()}),
        }
        default = "repeated"
    found = {default: (model, trained)}
    for name, (keys, tensors) in ways.items():
        start = shutil.copytree(
            model, folder / name, ignore=shutil.ignore_patterns(".runs", "best")
        )
        longer = config | {"max_position_embeddings": length} | keys
        (start / "config.json").write_text(json.dumps(longer), encoding="utf-8")
        save_file(weights | tensors, start / "model.safetensors")
        found[name] = (start, length)
    return found


def train(
    args: argparse.Namespace, start: tuple[Path, int], seed: str, output: Path
) -> dict[str, float]:
    """Train from a folder; returns the losses."""
    files = ("--dataset", args.dataset, "--tokenizer", args.tokenizer)
    measure.run(
        measure.python(
            "pretrain.py",
            *(*files, "--output", output, "--run-dir", output / ".runs"),
            *("--init-from", start[0], "--trained-length", str(start[1])),
            *("--max-steps", args.max_steps, "--train-batch-size", args.train_batch_size),
            *("--learning-rate", args.learning_rate, "--mlm-probability", "0.2", "--seed", seed),
            *("--threads", "1", "--compile", "off", "--eval-steps", args.max_steps),
        )
    )
    measure.run(
        measure.python(
            "show_pretraining.py",
            *(*files, "--model", output, "--output", output, "--threads", "1"),
        )
    )
    with open(output / "metrics.jsonl", encoding="utf-8") as stream:
        started = json.loads(next(stream))["initial_loss"]
    shown = json.loads((output / "diagnosis.json").read_text(encoding="utf-8"))["metrics"]
    bins = [part for part in shown["loss_by_position"] if part["predictions"]]
    return {
        "start": started,
        "first": _mean([part for part in bins if part["last"] < args.trained_length]),
        "beyond": _mean([part for part in bins if part["last"] >= args.trained_length]),
    }


def _mean(bins: list[dict[str, Any]]) -> float:
    predictions = sum(part["predictions"] for part in bins)
    return float(sum(part["loss"] * part["predictions"] for part in bins) / predictions)


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    manifest = json.loads((args.dataset / "manifest.json").read_text(encoding="utf-8"))
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        starts = variants(args.model, args.trained_length, manifest["max_length"], folder)
        result: dict[str, object] = {}
        for name, start in starts.items():
            losses = [train(args, start, seed, folder / f"{name} {seed}") for seed in args.seeds]
            print(f"{name}: {losses}", file=sys.stderr, flush=True)
            result[name] = losses
    measure.report(result)


if __name__ == "__main__":
    main()
