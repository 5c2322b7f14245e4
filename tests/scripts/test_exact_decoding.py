"""Novels in Portuguese, from the file to samples and back: every character, case and accent.

Reads `eltec-por` in the folder that `CLOZE_DATA` names.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

import extract_documents
import segment_text
import split_tokens
import train_tokenizer
from cloze.corpus.documents import read_documents
from cloze.fetch.archives import open_members
from cloze.tokens.loading import iterate_rows
from cloze.tokens.tokenizer import load_tokenizer, special_ids
from tests.texts import without_space

pytestmark = pytest.mark.skipif("CLOZE_DATA" not in os.environ, reason="needs CLOZE_DATA")
METHODS = {"segment_text": segment_text.main, "split_tokens": split_tokens.main}
FLAGS = {
    "segment_text": ["--language", "pt"],
    "split_tokens": [],
    "split_tokens whole words": ["--whole-words"],
}
# The file with few novels, 442 KB, and the one with all others, 14 MB.
PARTS = [
    pytest.param("valid", id="few novels"),
    pytest.param("train", id="all novels", marks=pytest.mark.slow),
]
MODELS = [
    "wordpiece",
    "byte-level-bpe",
    pytest.param("bpe", marks=pytest.mark.slow),
    pytest.param("unigram", marks=pytest.mark.slow),
]
# GPT-2's characters for bytes: those that print are themselves, the others follow 255.
PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
OTHERS = [byte for byte in range(256) if byte not in PRINTABLE]
BYTES = {chr(byte): byte for byte in PRINTABLE} | {chr(256 + n): b for n, b in enumerate(OTHERS)}


def novels(path: Path) -> dict[str, str]:
    """Return the text of each novel by its title, which is its first paragraph.

    Read without the library: a title stands between ` = ` and ` = `, an empty line ends a novel.
    """
    found = {}
    for _, stream in open_members(path):
        for novel in stream.read().decode().strip("\n").split("\n\n"):
            head, _, body = novel.partition("\n")
            title = head.removeprefix(" = ").removesuffix(" = ")
            found[title] = f"{title}\n{body}"
    return found


@pytest.fixture(scope="module", params=PARTS)
def corpus(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, str]]:
    """The documents folder, and the novels as the source file has them."""
    folder = tmp_path_factory.mktemp(request.param)
    source = Path(os.environ["CLOZE_DATA"]) / "eltec-por"
    train, validation = source / f"{request.param}.txt.xz", source / "valid.txt.xz"
    files = ["--train", str(train), "--validation", str(validation), "--keep-duplicates"]
    arguments = ["--format", "wikitext", *files, "--output", str(folder)]
    assert extract_documents.main(arguments) == 0
    return folder, novels(train)


@pytest.fixture(scope="module", params=MODELS)
def tokenizer(
    request: pytest.FixtureRequest,
    corpus: tuple[Path, dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    """A model, and the tokenizer.json of one that keeps case and accents."""
    output = tmp_path_factory.mktemp(request.param)
    documents = str(corpus[0] / "train.parquet")
    flags = ["--model", request.param, "--vocab-size", "8192"]
    assert train_tokenizer.main(["--documents", documents, "--output", str(output), *flags]) == 0
    return request.param, output / "tokenizer.json"


def samples_of(folder: Path, tokenizer: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yield `(document_id, token ids without [CLS] and [SEP])` of each training sample."""
    for rows in iterate_rows(folder, "train", tokenizer):
        parts = np.split(rows.input_ids, rows.sample_offsets[1:-1])
        for document, part in zip(rows.documents.tolist(), parts, strict=True):
            yield document, part[1:-1]


def decoded(tokenizer: Tokenizer, model: str, ids: np.ndarray) -> bytes:
    """Return the text of a sample; white space only where the tokenizer keeps it."""
    tokens = [tokenizer.id_to_token(token) for token in ids.tolist()]
    if model == "byte-level-bpe":
        return bytes(BYTES[character] for token in tokens for character in token)
    if model == "wordpiece":
        tokens = [token.removeprefix("##") for token in tokens]
    elif model == "bpe":
        tokens = [token.removesuffix("</w>") for token in tokens]
    else:
        tokens = [token.replace("▁", "") for token in tokens]
    return "".join(tokens).encode()


def in_order(source: bytes, pieces: Counter[bytes]) -> bool:
    """Whether the pieces, each once, are the source from its start to its end."""
    at = 0
    while pieces:
        fitting = [piece for piece in pieces if source.startswith(piece, at)]
        if not fitting:
            return False
        piece = max(fitting, key=len)
        at += len(piece)
        pieces -= Counter([piece])
    return at == len(source)


@pytest.mark.parametrize("how", FLAGS)
def test_samples_decode_to_the_source_exactly(
    corpus: tuple[Path, dict[str, str]], tokenizer: tuple[str, Path], tmp_path: Path, how: str
) -> None:
    documents, sources = corpus
    model, path = tokenizer
    paths = ["--documents", documents, "--tokenizer", path, "--output", tmp_path]
    flags = ["--max-length", "128", "--threads", "1", *FLAGS[how]]
    assert METHODS[how.split()[0]]([*map(str, paths), *flags]) == 0

    library = load_tokenizer(path)
    unknown = special_ids(library).unk
    pieces: dict[int, Counter[bytes]] = {}
    for document, ids in samples_of(tmp_path, path):
        assert unknown not in ids
        pieces.setdefault(document, Counter())[decoded(library, model, ids)] += 1

    titles = {row.document_id: row.title for row in read_documents(documents / "train.parquet")}
    assert sorted(titles.values()) == sorted(sources)
    assert pieces.keys() == titles.keys()
    for document, title in titles.items():
        text = sources[title]
        # A line end separates texts and is no token of any vocabulary.
        expected = text.replace("\n", "") if model == "byte-level-bpe" else without_space(text)
        assert in_order(expected.encode(), pieces[document]), title
