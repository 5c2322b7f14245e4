"""Tell how long each encoder of a configuration takes to pretrain here, and on how much text.

Reads configuration files and a data set folder (segment_text.py or split_tokens.py), or the
sizes of one that is not made yet; trains each encoder for some seconds; prints a table and a
recommendation, and writes them as JSON where --output says so.

Try: python scripts/plan.py --dataset results/sample/uncased-4k/sentences-128 --budget 20m
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import (
    capped_threads,
    log,
    make_parser,
    positive_float,
    positive_int,
    progress,
    run_script,
)
from cloze.errors import ClozeError
from cloze.files import write_json
from cloze.machine import available_cores, watch_others
from cloze.settings.config import Config, load_config
from cloze.settings.entries import EncoderEntry
from cloze.settings.fields import add_flags, duration
from cloze.settings.machine import CompiledSettings
from cloze.show.plan_table import as_json, render_plans
from cloze.tokens.manifest import read_manifest
from cloze.train.planning import Corpus, Preset, make_plans, recommend
from pretrain import build_parser as build_pretrain_parser

# Arguments that pretrain.py requires and that no plan depends on.
_UNUSED = ["--dataset", "-", "--tokenizer", "-", "--output", "-", "--run-dir", "-"]

# Of the cores, in the hands of other programs.
_MUCH = 0.1


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--config", type=Path, nargs="+", default=[Path("config.yaml")], metavar="FILE",
        help="configuration files, each laid over the ones before it",
    )  # fmt: skip
    parser.add_argument("--encoders", nargs="+", help="only these of the configuration's encoders")
    parser.add_argument(
        "--budget",
        type=duration,
        help="time of a run, such as 20m; default: what each encoder's recipe says",
    )
    corpus = parser.add_argument_group("corpus")
    corpus.add_argument("--dataset", type=Path, help="data set folder")
    corpus.add_argument("--tokens", type=positive_int, help="training tokens, without a data set")
    corpus.add_argument(
        "--vocab-size", type=positive_int, default=16_384, help="without a data set"
    )
    corpus.add_argument("--row-length", type=positive_int, default=128, help="without a data set")
    machine = parser.add_argument_group("machine")
    add_flags(machine, CompiledSettings)
    machine.add_argument(
        "--seconds", type=positive_float, default=3.0, help="of steps to time with each encoder"
    )
    parser.add_argument("--output", type=Path, help="JSON file to write")
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure, print, write."""
    config = load_config(args.config)
    names = args.encoders or _pretrained_here(config)
    corpus, vocab_size = _corpus(args)
    presets = [_preset(config, name, vocab_size, args) for name in names]
    plans, others = [], watch_others()
    with progress(total=len(presets), unit="encoder", description="measure") as bar:
        for plan in make_plans(presets, corpus, args.seconds):
            log.info("%s: %.0f tokens/s", plan.preset.name, plan.measured.tokens_per_second)
            plans.append(plan)
            bar.update()
    if (taken := others()) > _MUCH * available_cores():
        log.warning(
            "warning: other programs kept %.1f of %d cores busy meanwhile, so these speeds are too "
            "low; plan again when the machine is quiet",
            taken, available_cores(),
        )  # fmt: skip
    advice = recommend(plans)
    sys.stdout.write(f"{render_plans(plans)}Recommended: {advice}.\n")
    if args.output is not None:
        write_json(args.output, {"plans": [as_json(plan) for plan in plans], "advice": advice})


def _corpus(args: argparse.Namespace) -> tuple[Corpus, int]:
    if (args.dataset is None) == (args.tokens is None):
        raise ClozeError("give either --dataset, a data set folder, or --tokens, their number")
    if args.dataset is None:
        rows = max(1, round(args.tokens / args.row_length))
        return Corpus(args.tokens, rows, args.row_length), args.vocab_size
    manifest = read_manifest(args.dataset)
    train = manifest.splits["train"]
    if train.rows == 0:
        raise ClozeError(f"{args.dataset}: the training split has no rows; give it more text")
    return Corpus(train.tokens, train.rows, manifest.row_length), manifest.vocab_size


def _pretrained_here(config: Config) -> list[str]:
    """Return the encoders that do not come from elsewhere."""
    encoders = config.settings.encoders.items()
    return [name for name, encoder in encoders if isinstance(encoder, EncoderEntry)]


def _preset(config: Config, name: str, vocab_size: int, args: argparse.Namespace) -> Preset:
    """Return an encoder of the configuration with what `pretrain.py` would make of its flags."""
    known = _pretrained_here(config)
    if name not in known:
        raise ClozeError(
            f"--encoders: {name!r} is none that the configuration pretrains; there are "
            f"{', '.join(known)}"
        )
    architecture = config.section("encoders", name)["architecture"]
    flags = config.flags("architectures", architecture) + config.flags("encoders", name)
    settings = build_pretrain_parser().parse_args([*_UNUSED, *flags])
    if args.budget is not None:
        settings.max_steps = settings.max_tokens = None
        settings.budget = args.budget
    for key in ("device", "precision", "compile"):
        setattr(settings, key, getattr(args, key))
    settings.threads, settings.next_sentence = capped_threads(args), False
    settings.init_from = None
    return Preset(name, settings, vocab_size)


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
