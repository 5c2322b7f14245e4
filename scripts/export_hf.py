"""Export a model to Hugging Face: a folder that `transformers` loads with no code of ours.

Reads a model folder with any head. Writes a new folder: weights and configuration to the bit,
every tokenizer file, `parity.json` (the largest difference between our outputs and those of
the folder as `transformers` loads it, for texts drawn from the whole vocabulary) and a model
card, `README.md`, from the run's own metrics. With --onnx also `model.onnx`, whose outputs are
compared too. A model of vectors also loads with `SentenceTransformer`, and where that library is
installed its vectors are compared. If a difference is more than rounding, there is no folder.

Try: python scripts/export_hf.py --model MODEL_FOLDER --output /tmp/exported
"""

import argparse
import dataclasses
import importlib
import importlib.util
import platform
import sys
from pathlib import Path
from typing import Any

import torch

from cloze.cli import capped_threads, log, make_parser, run_script
from cloze.errors import ClozeError, require_module
from cloze.files import atomic_folder, sha256_file, write_json, write_text
from cloze.metrics import metrics_of_model, read_metrics
from cloze.model.device import resolve_compute
from cloze.model.hf_config import config_from_folder
from cloze.model.pooling import read_pooling
from cloze.settings.fields import add_flags
from cloze.settings.machine import ThreadSettings
from cloze.show.model_card import model_card, parse_metadata
from cloze.use.hf_export import (
    Outputs,
    TransformersModel,
    export_onnx,
    measure_parity,
    onnx_outputs,
    our_outputs,
    parity_texts,
    require_onnx,
    vectors,
    vectors_of_sentence_transformers,
    write_folder,
)
from cloze.use.predictors import tasks_of

# The graph must not know the shape of the texts that it was traced with.
_TRACED_TEXTS = 2
_SENTENCE_TRANSFORMERS = "sentence_transformers"


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    parser.add_argument("--name", help="title of the model card; unset: the output folder's name")
    parser.add_argument(
        "--evaluation",
        type=Path,
        nargs="*",
        default=[],
        metavar="FOLDER",
        help="what evaluate.py wrote, for the model card",
    )
    parser.add_argument(
        "--metadata",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="what the card tells a hub: language=pt license=apache-2.0 datasets=[owner/name] "
        "base_model=owner/name tags=[legal]",
    )
    parser.add_argument("--onnx", action="store_true", help="write model.onnx too")
    add_flags(parser, ThreadSettings)
    return parser


def run(args: argparse.Namespace) -> None:
    """Write the folder, load it back, compare, and publish it if it is the same model."""
    if args.output.exists():
        raise ClozeError(f"--output {args.output}: exists already; remove it or name another")
    transformers = require_module("transformers", "export", "export", "transformers")
    transformers.utils.logging.disable_progress_bar()
    # It reports the pooler that an encoder without a head does not have.
    transformers.utils.logging.set_verbosity_error()
    if args.onnx:
        require_onnx()
    metadata = parse_metadata(args.metadata)
    evaluations = [read_metrics(folder / "metrics.json") for folder in args.evaluation]
    torch.set_num_threads(capped_threads(args))
    with atomic_folder(args.output) as folder:
        write_folder(args.model, folder)
        certificate = _certify(args.model, folder, transformers, with_onnx=args.onnx)
        write_json(folder / "parity.json", certificate)
        card = model_card(
            args.name or args.output.name,
            config_from_folder(folder),
            tasks_of(folder)[0],
            certificate,
            metrics_of_model(args.model) or None,
            evaluations,
            metadata,
        )
        write_text(folder / "README.md", card)


def _certify(model: Path, folder: Path, transformers: Any, *, with_onnx: bool) -> dict[str, Any]:
    """Compare what was read with what was written; return what `parity.json` holds."""
    texts = parity_texts(model)
    peer = TransformersModel(folder, transformers)
    inputs = peer.tokenise(texts)
    ours = our_outputs(model, texts)
    compared = _compared(ours, peer.outputs(inputs), "transformers")
    compared["class"] = type(peer.model).__name__
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if (pooling := read_pooling(folder)) is not None:
        compared["pooling"] = dataclasses.asdict(pooling)
        name, library = _SENTENCE_TRANSFORMERS, importlib.util.find_spec(_SENTENCE_TRANSFORMERS)
        if library is None:
            log.warning("warning: %s is not installed, so its vectors were not compared", name)
        else:
            compared[name] = _compared_vectors(model, folder, [first for first, _ in texts])
            versions[name] = importlib.import_module(name).__version__
    if with_onnx:
        path = folder / "model.onnx"
        export_onnx(peer, {key: value[:_TRACED_TEXTS] for key, value in inputs.items()}, path)
        compared["onnx"] = _compared(ours, onnx_outputs(path, inputs), "onnxruntime")
        for name in ("onnx", "onnxruntime"):
            versions[name] = require_module(name, "--onnx", "onnx", name).__version__
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {
        "output": ", ".join(peer.output_names),
        **compared,
        "versions": versions,
        "texts": texts,
        "sha256": {path.name: sha256_file(path) for path in files},
    }


def _compared_vectors(model: Path, folder: Path, texts: list[str]) -> dict[str, Any]:
    library = importlib.import_module(_SENTENCE_TRANSFORMERS)
    compute = resolve_compute(
        "cpu", "fp32", "off", torch.get_num_threads(), 0.0, fastest_fp32=False
    )
    theirs = vectors_of_sentence_transformers(folder, texts, library)
    return _compared(vectors(model, texts, compute), theirs, _SENTENCE_TRANSFORMERS)


def _compared(ours: Outputs, theirs: Outputs, what: str) -> dict[str, Any]:
    parity = measure_parity(ours, theirs, what)
    log.info("%s: largest difference %.2g", what, parity.max_abs_difference)
    return dict(parity._asdict())


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
