"""Show what a pretraining came to: its loss curve, its guesses, and how it went.

Reads a model folder that pretrain.py wrote (the model and its records, metrics.json,
metrics.jsonl and masked_examples.jsonl) and the data set that it was trained on. Writes
loss_curve.svg, masked_examples.html and diagnosis.json: the doctor's sentences, the loss by
position, and what it brings to have seen a word far before.

Try: python scripts/show_pretraining.py --model MODEL --dataset DATASET
--tokenizer tokenizer.json --output /tmp/shown
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import capped_threads, make_parser, run_script
from cloze.errors import ClozeError
from cloze.files import read_json_lines, write_text
from cloze.metrics import Stopwatch, read_metrics, write_metrics
from cloze.model.device import resolve_compute
from cloze.model.hf import load_masked_lm
from cloze.objectives.mlm import PretrainingData
from cloze.objectives.prediction_history import MASKED_EXAMPLES
from cloze.settings.fields import add_flags
from cloze.settings.machine import ComputeSettings
from cloze.show.doctor import diagnose, run_facts
from cloze.show.figures import for_a_file, loss_curve
from cloze.show.long_texts import loss_by_position, repeated_words
from cloze.show.masked_examples import masked_examples_page
from cloze.tokens.manifest import MANIFEST
from cloze.tokens.tokenizer import load_tokenizer


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder of pretrain.py")
    parser.add_argument("--dataset", type=Path, required=True, help="data set folder")
    parser.add_argument("--tokenizer", type=Path, required=True, help="its tokenizer.json")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    add_flags(parser.add_argument_group("compute"), ComputeSettings, precision="fp32")
    return parser


def run(args: argparse.Namespace) -> None:
    """Read the records, ask the model once more, draw and write."""
    stopwatch = Stopwatch()
    compute = resolve_compute(args.device, args.precision, "off", capped_threads(args), 0.0)
    path = args.model / "metrics.json"
    record = read_metrics(path)
    measured = record["metrics"]
    if "recipe" not in measured or "unigram_entropy" not in measured:
        raise ClozeError(f"{path}: tells of no pretraining; give a folder that pretrain.py wrote")
    records = read_json_lines(args.model / "metrics.jsonl")
    history = read_json_lines(args.model / MASKED_EXAMPLES)
    floor, recipe = measured["unigram_entropy"], measured["recipe"]
    # The run's own flags decide the masks; its files are where they are named now.
    named = {"dataset": args.dataset, "tokenizer": args.tokenizer}
    data = PretrainingData.load(argparse.Namespace(**record["args"] | named))
    model = load_masked_lm(args.model)
    facts = run_facts(data, model.config, recipe, floor)
    validation = data.validation.with_mlm_probability(recipe["mlm_probability"][-1])
    tokenizer = load_tokenizer(args.tokenizer)
    page = masked_examples_page(
        model.to(compute.torch_device), validation, tokenizer, compute, history
    )
    write_text(args.output / "loss_curve.svg", for_a_file(loss_curve(records, floor)))
    write_text(args.output / "masked_examples.html", page)
    write_metrics(
        args.output / "diagnosis.json",
        metrics={
            "diagnosis": diagnose(records, facts),
            "loss_by_position": loss_by_position(
                model, validation, data.validation_rows.max_length, compute
            ),
            "repeated_words": repeated_words(model, data, compute),
        },
        args=args,
        inputs=[path, args.model / "metrics.jsonl", args.tokenizer, args.dataset / MANIFEST],
        script=Path(__file__),
        seconds=stopwatch.read(),
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
