"""Measure the masked-LM loss of a model folder on held-out documents, by its own tokenizer.

Two encoders of different vocabularies are compared in bits a byte, with whole words masked. At
most a million bytes are read, evenly from the whole file.

Reads a model folder and DOCUMENTS/validation.parquet; writes a JSON file with loss (nats a token),
accuracy and masked_bits_per_byte, or without them where the model has no masked-language head.

Try: python scripts/evaluate_masked_lm.py --model results/sample/uncased-4k/sentences-128/tiny \\
         --documents results/sample/documents --output /tmp/masked_lm.json
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import capped_threads, log, make_parser, run_script
from cloze.metrics import Stopwatch, write_metrics
from cloze.model.device import resolve_compute
from cloze.model.weights import weight_files
from cloze.objectives.held_out import masked_lm_scores
from cloze.settings.fields import add_flags
from cloze.settings.machine import ComputeSettings
from cloze.tokens.tokenizer_folder import tokenizer_files
from cloze.tokens.training_text import open_training_text

_MAX_BYTES = 1_000_000


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--documents", type=Path, required=True, help="documents folder")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    add_flags(parser, ComputeSettings, precision="fp32")
    return parser


def run(args: argparse.Namespace) -> None:
    """Mask, predict, measure."""
    stopwatch = Stopwatch()
    compute = resolve_compute(
        args.device, args.precision, "off", capped_threads(args), 0.0, fastest_fp32=False
    )
    validation = args.documents / "validation.parquet"
    text = open_training_text(validation).capped(_MAX_BYTES)
    scores = masked_lm_scores(args.model, text.passages("predict masked words"), compute)
    if not scores:
        log.warning("warning: %s: has no masked-language head, so it has no loss", args.model)
    write_metrics(
        args.output,
        metrics=scores,
        args=args,
        inputs=[
            args.model / "config.json",
            *weight_files(args.model),
            *tokenizer_files(args.model),
            validation,
        ],
        script=Path(__file__),
        seconds=stopwatch.read(),
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
