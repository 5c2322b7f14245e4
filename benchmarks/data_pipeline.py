"""From text files to rows of tokens: the data half of the workflow against `run_mlm.py`'s steps.

Ours: `snakemake --cores N` up to the manifest of a split_tokens data set, with extraction,
deduplication and the training of a WordPiece tokenizer. The peer: Hugging Face `datasets`
does `load_dataset("text")`, `map(tokenize)`, `map(group_texts)` and `save_to_disk` with N
processes and a tokenizer that it finds ready. In turn, each from an empty folder and cache.
Ends with one JSON line; `ratio` is the peer's wall-clock time over ours, the shares of memory
are ours over the peer's.

Needs `pip install datasets transformers`, best in an environment of its own that
--peer-python names: `datasets` brings pandas, which Snakemake imports wherever it is
installed, 66 MB that our requirements do not ask for.
Try: python benchmarks/data_pipeline.py --documents corpus/train-*.txt.xz
"""

import argparse
import itertools
import json
import lzma
import shutil
import sys
import tempfile
from pathlib import Path

import measure

DATASET = "results/benchmark/uncased/rows"


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--format", default="wikitext", help="as in extract_documents.py")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--num-shards", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, help="folder to work in; unset: a temporary one")
    parser.add_argument("--only-ours", action="store_true", help="measure no peer")
    parser.add_argument(
        "--peer-python",
        type=Path,
        default=Path(sys.executable),
        metavar="PYTHON",
        help="the interpreter that has the peer's packages; unset: this one",
    )
    parser.add_argument("--peer", nargs=2, type=Path, help=argparse.SUPPRESS)
    return parser


def run_hugging_face(files: list[Path], tokenizer_folder: Path, output: Path, cores: int) -> None:
    """Do what run_mlm.py does with text files, up to rows of 128 tokens on disk."""
    from datasets import load_dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    raw = load_dataset(
        "text", data_files=[str(file) for file in files], split="train", cache_dir=str(output)
    )

    def tokenize(examples: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        lines = [line for line in examples["text"] if line and not line.isspace()]
        return tokenizer(lines, return_special_tokens_mask=True)

    def group_texts(examples: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        joined = {key: list(itertools.chain(*examples[key])) for key in examples}
        total = len(joined["input_ids"]) // 128 * 128
        return {
            key: [tokens[start : start + 128] for start in range(0, total, 128)]
            for key, tokens in joined.items()
        }

    tokenized = raw.map(tokenize, batched=True, num_proc=cores, remove_columns=["text"])
    grouped = tokenized.map(group_texts, batched=True, num_proc=cores)
    grouped.save_to_disk(str(output / "saved"))


def prepare_project(work: Path, args: argparse.Namespace) -> Path:
    """Copy the workflow to a folder of its own, with a configuration of its own."""
    project = work / "project"
    for name in ("Snakefile", "config.yaml", "scripts", "workflow", "profiles", "resources"):
        source = measure.ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        project.mkdir(parents=True, exist_ok=True)
        copy(source, project / name)
    overlay = {
        "corpus": "benchmark",
        "tokenizer": "uncased",
        "dataset": "rows",
        "corpora": {
            "benchmark": {
                "format": args.format,
                "files": [str(file.resolve()) for file in args.documents],
            }
        },
        "tokenizers": {
            "uncased": {
                "lowercase": True,
                "strip_accents": True,
                "vocab_size": 30522,
                "limit_alphabet": 1000,
            }
        },
        "datasets": {
            "rows": {"method": "split_tokens", "max_length": 128, "num_shards": args.num_shards}
        },
    }
    (project / "benchmark.yaml").write_text(json.dumps(overlay))
    return project


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    if args.peer:
        tokenizer, output = args.peer
        run_hugging_face(args.documents, tokenizer, output, args.cores)
        return
    ours, peer, disk = [], [], {}
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        project = prepare_project(work, args)
        command: measure.Command = [
            Path(sys.executable).with_name("snakemake"),
            "--cores",
            str(args.cores),
        ]
        command += [f"{DATASET}/manifest.json", "--configfile", "benchmark.yaml", "--quiet"]
        plain = work / "plain"
        for _ in range(args.repeats):
            measure.clean_folder(project / "results")
            shutil.rmtree(project / ".snakemake", ignore_errors=True)
            ours.append(measure.run(command, project))
            documents, shards = project / "results/benchmark/documents", project / DATASET
            disk["ours"] = measure.folder_mb(documents, shards)
            if args.only_ours:
                continue
            texts = _unpacked(args.documents, plain)  # the peer's clock does not count this
            output = measure.clean_folder(work / "hugging-face")
            tokenizer = project / "results/benchmark/uncased"
            flags: measure.Command = ["--documents", *texts, "--cores", str(args.cores)]
            peer_command: measure.Command = [
                args.peer_python,
                __file__,
                *flags,
                "--peer",
                tokenizer,
                output,
            ]
            peer.append(measure.run(peer_command, HF_HOME=str(output / "home"), HF_HUB_OFFLINE="1"))
            disk["peer"] = measure.folder_mb(output)
    medians = {"ours": measure.median(ours)}
    result: dict[str, object] = {}
    if peer:
        medians["peer"] = measure.median(peer)
        ratios = {key: medians["peer"][key] / medians["ours"][key] for key in medians["ours"]}
        result = {
            "ratio": round(ratios["wall_s"], 2),
            "ratio_cpu": round(ratios["cpu_s"], 2),
            "share_of_peak_memory": round(1 / ratios["peak_mb"], 3),
            "share_of_peak_proportional_memory": round(1 / ratios["peak_pss_mb"], 3),
            "share_of_disk": round(disk["ours"] / disk["peer"], 3),
        }
    measure.report({**result, **medians, "disk_mb": disk})


def _unpacked(files: list[Path], folder: Path) -> list[Path]:
    """Return the files without xz."""
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = []
    for file in files:
        target = folder / file.name.removesuffix(".xz")
        if not target.exists():
            opener = lzma.open if file.suffix == ".xz" else open
            with open(target, "wb") as stream, opener(file, "rb") as reader:
                shutil.copyfileobj(reader, stream, 1 << 20)
        unpacked.append(target)
    return unpacked


if __name__ == "__main__":
    main()
