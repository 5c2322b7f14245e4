"""One local layer of ModernBERT against a global one, at several lengths.

A row of so many tokens goes forward and backward through one layer, in turn through a local and
a global one, each in a process of its own; the median of all passes but the first counts. Ends
with one JSON line: by length the milliseconds of each, the peak of memory above that of the
process before the first pass (MB), and what the global layer takes as a multiple of the local.

Try: python benchmarks/attention.py --lengths 512 2048
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import measure

KINDS = ("local", "global")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 2048, 8192])
    parser.add_argument("--hidden-size", type=int, default=768)
    parser.add_argument("--num-attention-heads", type=int, default=12)
    parser.add_argument("--intermediate-size", type=int, default=1152)
    parser.add_argument("--local-attention", type=int, default=128)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="processes of each kind and length")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--only", choices=KINDS, help="measure this kind in this process")
    return parser


def measured(args: argparse.Namespace) -> dict[str, float]:
    """Return milliseconds and MB of one kind at one length, in this process."""
    import torch

    from cloze.model.encoder import Encoder, EncoderConfig, PackedBatch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    (length,) = args.lengths
    kind = {"local": "sliding_attention", "global": "full_attention"}[args.only]
    encoder = Encoder(
        EncoderConfig(
            vocab_size=64,
            layout="modernbert",
            hidden_size=args.hidden_size,
            num_hidden_layers=1,
            num_attention_heads=args.num_attention_heads,
            intermediate_size=args.intermediate_size,
            max_position_embeddings=length,
            layer_types=(kind,),
            local_attention=args.local_attention,
        )
    )
    ids = torch.randint(0, 64, (1, length))
    batch = PackedBatch(ids, torch.arange(length)[None], torch.ones_like(ids))
    before = _peak_mb()
    seconds = []
    for _ in range(args.passes):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bf16"):
            loss = encoder(batch).float().square().mean()
        loss.backward()
        seconds.append(time.perf_counter() - started)
        encoder.zero_grad(set_to_none=True)
    milliseconds = 1000 * statistics.median(seconds[1:] or seconds)
    return {"ms": round(milliseconds, 2), "mb": round(_peak_mb() - before, 1)}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    if args.only is not None:
        sys.path.insert(0, str(measure.SCRIPTS))
        print(json.dumps(measured(args)))
        return
    found: dict[int, dict[str, list[dict[str, float]]]] = {}
    for length in args.lengths:
        found[length] = {kind: [] for kind in KINDS}
        for _ in range(args.repeats):
            for kind in KINDS:
                found[length][kind].append(_in_a_process(args, length, kind))
                print(f"{length}, {kind}: {found[length][kind][-1]}", file=sys.stderr, flush=True)
    medians = {
        length: {
            kind: {key: statistics.median(run[key] for run in runs) for key in ("ms", "mb")}
            for kind, runs in by_kind.items()
        }
        for length, by_kind in found.items()
    }
    ratios = {
        length: round(by_kind["global"]["ms"] / by_kind["local"]["ms"], 2)
        for length, by_kind in medians.items()
    }
    measure.report({"global_over_local": ratios, "by_length": medians})


def _in_a_process(args: argparse.Namespace, length: int, kind: str) -> dict[str, float]:
    flags = {
        name: getattr(args, name)
        for name in ("hidden_size", "num_attention_heads", "intermediate_size", "local_attention",
                     "passes", "threads", "precision")
    }  # fmt: skip
    words = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    command = [sys.executable, __file__, "--only", kind, "--lengths", str(length), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cost: dict[str, float] = json.loads(done.stdout)
    return cost


if __name__ == "__main__":
    main()
