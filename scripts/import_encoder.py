"""Make an encoder from elsewhere the encoder of a run: no pretraining, its own tokenizer.

Reads a folder that `transformers` wrote: `config.json` of a BERT, RoBERTa, XLM-R, CamemBERT,
DistilBERT, ELECTRA or ModernBERT; `model.safetensors`, in one file or several; `tokenizer.json`
or the files that it is made of. Writes a model folder as `pretrain.py` does, with a
masked-language head if the model has one and the pooling of sentence-transformers if the folder
has it, and `metrics.json`. Nothing is unpickled unless --unpickle asks for it, and no code is run.

Try: python scripts/import_encoder.py --pretrained bert-base-uncased --output /tmp/imported
"""

import argparse
import sys
from pathlib import Path

from cloze.cli import log, make_parser, run_script
from cloze.errors import ClozeError
from cloze.files import sha256_file
from cloze.metrics import Stopwatch, write_metrics
from cloze.model.encoder import Encoder, EncoderConfig
from cloze.model.hf import import_model, save_model
from cloze.model.hf_config import require_folder
from cloze.model.pooling import read_pooling, write_pooling
from cloze.settings.encoders import ImportSettings
from cloze.settings.fields import add_flags
from cloze.tokens.tokenizer_folder import import_tokenizer

_READ = ("*.safetensors", "pytorch_model*.bin", "*.json", "vocab.txt", "merges.txt", "*.model")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--pretrained", type=Path, required=True, help="folder to read")
    parser.add_argument("--output", type=Path, required=True, help="model folder to write")
    add_flags(parser, ImportSettings)
    return parser


def run(args: argparse.Namespace) -> None:
    """Read, check and write."""
    stopwatch = Stopwatch()
    require_folder(args.pretrained)
    if args.output.resolve() == args.pretrained.resolve():
        raise ClozeError(f"--output {args.output}: is --pretrained itself; name another folder")
    model, unused = import_model(args.pretrained, unpickle=args.unpickle)
    import_tokenizer(args.pretrained, args.output, model.config.vocab_size)
    save_model(args.output, model, args.output)
    _take_over_pooling(args.pretrained, args.output, model.config)
    if unused:
        log.info("left out, as no part of the encoder: %s", ", ".join(unused))
    files = sorted({path for pattern in _READ for path in args.pretrained.glob(pattern)})
    write_metrics(
        args.output / "metrics.json",
        metrics={
            "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
            "layout": model.config.layout,
            "masked_lm_head": not isinstance(model, Encoder),
            "weights_left_out": unused,
        },
        args=args,
        inputs={path.name: sha256_file(path) for path in files},
        script=Path(__file__),
        seconds=stopwatch.read(),
    )


def _take_over_pooling(pretrained: Path, output: Path, config: EncoderConfig) -> None:
    """Write how the folder's vectors are made, where it is one of sentence-transformers."""
    try:
        pooling = read_pooling(pretrained)
    except ClozeError as error:
        log.warning("warning: its vectors are left out: %s", error)
        return
    if pooling is not None:
        write_pooling(output, pooling, config)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
