"""From a text file to a file of samples, against how it was done before fast tokenizers.

The peer is one process that holds the whole text, tokenises it line by line in Python with
BERT's own WordPiece code (`BertTokenizerLegacy` of `transformers` 5), cuts the tokens every
126, and writes all samples as lists of integers with one gzip-msgpack writer. Ours is
extract_documents.py and split_tokens.py on the same file and vocabulary, on one core too.
Python is slow, so both take the beginning of the documents. Ends with one JSON line; `ratio`
is MB of text per CPU second, ours over the peer's.

Needs `pip install transformers`.
Try: python benchmarks/older_pipeline.py --documents corpus/train-00.txt.xz
"""

import argparse
import gzip
import sys
import tempfile
from pathlib import Path

import measure
import msgpack

_SAMPLE_LENGTH = 128


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--format", default="wikitext", help="as in extract_documents.py")
    parser.add_argument("--megabytes", type=float, default=20, help="how much text to take")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, help="folder to work in; unset: a temporary one")
    parser.add_argument("--peer", nargs=2, type=Path, help=argparse.SUPPRESS)
    return parser


def run_older_generation(text_file: Path, vocab: Path, output: Path) -> None:
    """Do the peer's work: everything in memory, then one file."""
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    tokenizer = BertTokenizerLegacy(str(vocab), do_lower_case=True)
    text = text_file.read_text(encoding="utf-8")
    ids: list[int] = []
    for line in text.split("\n"):
        ids += tokenizer.encode(line, add_special_tokens=False)
    step = _SAMPLE_LENGTH - 2
    samples = [
        {"input_ids": [tokenizer.cls_token_id, *ids[start : start + step], tokenizer.sep_token_id]}
        for start in range(0, len(ids), step)
    ]
    with gzip.open(output, "wb") as stream:
        stream.write(msgpack.packb(samples))


def write_beginning(files: list[Path], size: float, output: Path) -> None:
    """Write whole lines of the files until there are `size` bytes."""
    written = 0
    with open(output, "wb") as stream:
        for line in measure.read_text(files):
            if written >= size:
                return
            written += stream.write(line.encode())


def our_commands(text_file: Path, text_format: str, work: Path) -> list[measure.Command]:
    """Return what makes a data set of the text."""
    documents, tokenizer = work / "documents", work / "tokenizer" / "tokenizer.json"
    # Next to nothing for validation, so that both sides tokenise the same text.
    splits = ["--validation-fraction", "1e-9", "--test-fraction", "0"]
    extract: measure.Command
    extract = ["--format", text_format, "--input", text_file, "--output", documents, *splits]
    split: measure.Command
    split = ["--documents", documents, "--tokenizer", tokenizer, "--output", work / "shards"]
    split += ["--max-length", str(_SAMPLE_LENGTH), "--threads", "1"]
    return [
        measure.python("extract_documents.py", *extract),
        measure.python("split_tokens.py", *split),
    ]


def compare(args: argparse.Namespace, work: Path) -> dict[str, object]:
    """Measure both sides in turn."""
    text_file = work / "text.txt"
    write_beginning(args.documents, args.megabytes * measure.MEGABYTE, text_file)
    extract, split = our_commands(text_file, args.format, work)
    measure.run(extract)
    tokenizer = work / "tokenizer"
    flags: measure.Command
    flags = ["--documents", work / "documents" / "train.parquet", "--output", tokenizer]
    flags += ["--vocab-size", "30522", "--limit-alphabet", "1000", "--lowercase"]
    measure.run(measure.python("train_tokenizer.py", *flags, "--strip-accents"))
    peer_command: measure.Command = [sys.executable, __file__, "--documents", text_file]
    peer_command += ["--peer", tokenizer / "vocab.txt", work / "samples.msgpack.gz"]
    ours, peer = [], []
    for _ in range(args.repeats):
        peer.append(measure.run(peer_command))
        measure.clean_folder(work / "documents")
        measure.clean_folder(work / "shards")
        ours.append(measure.run_all([extract, split]))
    megabytes = text_file.stat().st_size / measure.MEGABYTE
    sides = {"ours": measure.median(ours), "peer": measure.median(peer)}
    rates = {side: megabytes / costs["cpu_s"] for side, costs in sides.items()}
    return {
        "ratio": round(rates["ours"] / rates["peer"], 2),
        "share_of_peak_memory": round(sides["ours"]["peak_mb"] / sides["peer"]["peak_mb"], 3),
        "text_mb": round(megabytes, 1),
        **{side: {"mb_per_cpu_s": round(rates[side], 3), **sides[side]} for side in sides},
    }


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    if args.peer:
        run_older_generation(*args.documents, *args.peer)
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        measure.report(compare(args, work))


if __name__ == "__main__":
    main()
