"""Tokenising documents on disk into shards on disk, against `encode_batch_fast` alone.

The peer reads the same documents with Arrow, encodes them with the library's fastest call
in batches and writes the plain uint16 ids, uncompressed: no samples, no rows, no bounds.
Ours is split_tokens.py, which does all of that. Both run on one core, in turn. In between,
every document's ids are compared. Ends with one JSON line; `ratio` is MB of text per CPU
second, ours over the peer's, with WordPiece; BPE and Unigram stand beside it.

Try: python benchmarks/tokenization.py --documents corpus/train-*.txt.xz
"""

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

import measure
import numpy as np

sys.path.insert(0, str(measure.SCRIPTS))

from cloze.corpus.document_reader import read_batches
from cloze.tokens.text_encoder import TextEncoder
from cloze.tokens.tokenizer import load_tokenizer

KINDS = ("wordpiece", "byte-level-bpe", "unigram")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--format", default="wikitext", help="as in extract_documents.py")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--vocab-size", type=int, default=30522)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, help="folder to work in; unset: a temporary one")
    parser.add_argument("--peer", nargs=3, type=Path, help=argparse.SUPPRESS)
    return parser


def encode_with_the_library(documents: Path, tokenizer_file: Path, output: Path) -> None:
    """Do the peer's work: ids of all documents, one after the other, as uint16."""
    tokenizer = load_tokenizer(tokenizer_file)
    with open(output, "wb") as stream:
        for batch in read_batches(documents):
            texts = _lines(batch.text, batch.offsets)
            for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
                stream.write(np.array(encoding.ids, np.uint16).tobytes())


def _lines(text: np.ndarray, offsets: np.ndarray) -> list[str]:
    documents = (str(text[a:b].data, "utf-8") for a, b in itertools.pairwise(offsets.tolist()))
    return [line for document in documents for line in document.split("\n") if line.strip()]


def check_ids(documents: Path, tokenizer_file: Path, peer_ids: Path) -> int:
    """Compare our ids with the peer's, batch by batch; returns how many there are."""
    encoder = TextEncoder(load_tokenizer(tokenizer_file))
    expected = np.memmap(peer_ids, np.uint16, "r")
    start = 0
    for batch in read_batches(documents):
        ids = encoder.encode(batch.text, batch.offsets).input_ids
        if not np.array_equal(ids, expected[start : start + len(ids)]):
            sys.exit(f"ids differ between token {start} and {start + len(ids)} of {documents}")
        start += len(ids)
    if start != len(expected):
        sys.exit(f"{start} ids instead of {len(expected)}")
    return start


def compare(args: argparse.Namespace, work: Path, kind: str) -> dict[str, object]:
    """Measure both sides with one kind of tokenizer."""
    documents = work / "documents"
    measure.run(
        measure.python(
            "train_tokenizer.py",
            *("--documents", documents / "train.parquet", "--output", work / kind),
            *("--model", kind, "--vocab-size", str(args.vocab_size), "--lowercase"),
        )
    )
    tokenizer, peer_ids = work / kind / "tokenizer.json", work / f"{kind}.ids"
    peer_command: measure.Command = [sys.executable, __file__, "--documents", "-", "--peer"]
    peer_command += [str(documents / "train.parquet"), str(tokenizer), str(peer_ids)]
    ours, peer = [], []
    for _ in range(args.repeats):
        peer.append(measure.run(peer_command, TOKENIZERS_PARALLELISM="false"))
        flags: measure.Command = [
            "--documents",
            documents,
            "--tokenizer",
            tokenizer,
            "--threads",
            "1",
        ]
        flags += ["--output", measure.clean_folder(work / f"{kind}-shards")]
        ours.append(measure.run(measure.python("split_tokens.py", *flags, "--max-length", "128")))
    tokens = check_ids(documents / "train.parquet", tokenizer, peer_ids)
    ours_median, peer_median = measure.median(ours), measure.median(peer)
    return {
        "ratio": round(peer_median["cpu_s"] / ours_median["cpu_s"], 2),
        "ours": ours_median,
        "peer": peer_median,
        "equal_ids": tokens,
    }


def main() -> None:
    """Run the benchmark."""
    args = build_parser().parse_args()
    if args.peer:
        encode_with_the_library(*args.peer)
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        flags = ["--format", args.format, "--output", work / "documents"]
        # Next to nothing for validation, so that both sides read the same documents.
        flags += ["--validation-fraction", "1e-9", "--test-fraction", "0"]
        measure.run(measure.python("extract_documents.py", "--input", *args.documents, *flags))
        megabytes = sum(len(batch.text) for batch in read_batches(work / "documents/train.parquet"))
        kinds = {kind: compare(args, work, kind) for kind in args.kinds}
    first = kinds[args.kinds[0]]
    measure.report({"ratio": first["ratio"], "text_mb": round(megabytes / 1e6, 1), **kinds})


if __name__ == "__main__":
    main()
